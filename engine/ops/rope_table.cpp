#include "engine/ops/rope_table.h"

#include <cmath>

namespace gs {

std::vector<double> rope_frequencies(const ModelSpec& spec, const Weight& freq_divisors) {
    const int n_pairs = spec.n_rot / 2;
    std::vector<float> divisors(static_cast<size_t>(n_pairs), 1.0f);
    if (freq_divisors) {
        const TensorTypeInfo& info = tensor_type_info(freq_divisors.type);
        info.dequantize(freq_divisors.row(0), divisors.size() / info.block_values, divisors.data());
    }
    std::vector<double> frequencies(divisors.size());
    for (size_t i = 0; i < frequencies.size(); ++i)
        frequencies[i] = std::pow(static_cast<double>(spec.rope_base), -2.0 * static_cast<double>(i) / spec.n_rot) / divisors[i] /
                         static_cast<double>(spec.rope_linear_factor);
    return frequencies;
}

}  // namespace gs
