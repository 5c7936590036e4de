#include "engine/ops/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gs {
namespace {

/// YaRN: which share of each pair keeps its frequency: all of those that turn quickly, none of the slow ones, a ramp between.
class YarnRamp {
public:
    explicit YarnRamp(const RopeSpec& rope) : m_extrapolation(static_cast<double>(rope.extrapolation)) {
        // The pair that turns `beta` times within the original context.
        const auto border = [&](float beta) {
            const double turns = rope.original_context / (2 * std::numbers::pi * static_cast<double>(beta));
            return rope.n_rot * std::log(turns) / (2 * std::log(static_cast<double>(rope.base)));
        };
        m_low = border(rope.beta_fast);
        m_high = border(rope.beta_slow);
        if (rope.whole_borders) {
            m_low = std::floor(m_low);
            m_high = std::ceil(m_high);
        }
        m_low = std::max(0.0, m_low);
        m_high = std::min(rope.n_rot - 1.0, m_high);
    }
    double kept(size_t pair) const {
        return (1 - std::clamp((static_cast<double>(pair) - m_low) / std::max(0.001, m_high - m_low), 0.0, 1.0)) * m_extrapolation;
    }

private:
    double m_low = 0, m_high = 0, m_extrapolation;
};

}  // namespace

std::vector<double> rope_frequencies(const RopeSpec& rope, const Weight& freq_divisors) {
    std::vector<float> divisors(static_cast<size_t>(rope.n_rot / 2), 1.0f);
    if (freq_divisors) {
        const TensorTypeInfo& info = tensor_type_info(freq_divisors.type);
        info.dequantize(freq_divisors.row(0), divisors.size() / info.block_values, divisors.data());
    }
    const auto factor = static_cast<double>(rope.factor);
    const YarnRamp ramp(rope);
    std::vector<double> frequencies(divisors.size());
    for (size_t i = 0; i < frequencies.size(); ++i) {
        const double own = std::pow(static_cast<double>(rope.base), -2.0 * static_cast<double>(i) / rope.n_rot) / divisors[i];
        const double kept = rope.yarn ? ramp.kept(i) : 0;
        frequencies[i] = kept == 0 ? own / factor : own / factor * (1 - kept) + own * kept;
    }
    return frequencies;
}

}  // namespace gs
