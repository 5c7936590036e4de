// Compiled for any processor: templates of the library that are instantiated here serve the whole program.
#if defined(__x86_64__)
#include <cstring>
#include <vector>

#include "engine/ops/cpu/scratch.h"
#include "engine/ops/cpu/vnni_input.h"

namespace gs::cpu {

bool agrees_with_vnni_gemm(decltype(MatmulKernels::gemm) gemm) {
    constexpr int kIn = 1024, kTokens = 21;
    Kernels kernels;
    add_vnni_kernels(kernels);
    const MatmulKernels& product = kernels.fast;
    for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ6_K, TensorType::kQ2_K}) {
        const TensorTypeInfo& info = tensor_type_info(type);
        const size_t row_bytes = kIn / info.block_values * info.block_bytes, input_bytes = product.input_bytes(kIn);
        std::vector<std::byte> weights(row_bytes * kVnniPanelRows);
        for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<std::byte>(i * i * 37 % 64);   // no scale of 0x3fff or less is infinite
        const Weight w{.type = type, .data = weights.data(), .n_in = kIn, .n_out = kVnniPanelRows, .row_bytes = row_bytes};
        Scratch input_memory, panel_memory;
        std::byte *inputs = input_memory.reserve(input_bytes * kTokens), *panel = panel_memory.reserve(product.panel_bytes(kIn));
        std::vector<const std::byte*> tokens;
        std::vector<float> x(kIn);
        for (size_t t = 0; t < kTokens; ++t) {
            for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * i + 7 * t) % 61) - 30;
            product.prepare(x.data(), kIn, inputs + input_bytes * t);
            tokens.push_back(inputs + input_bytes * t);
        }
        product.pack(w, 0, kVnniPanelRows, panel);
        std::vector<float> theirs(kTokens * kVnniPanelRows), ours = theirs;
        gemm(panel, w, kVnniPanelRows, tokens.data(), kTokens, theirs.data(), kVnniPanelRows);
        vnni_gemm(panel, w, kVnniPanelRows, tokens.data(), kTokens, ours.data(), kVnniPanelRows);
        if (std::memcmp(theirs.data(), ours.data(), ours.size() * sizeof(float)) != 0) return false;
    }
    return true;
}

}  // namespace gs::cpu
#endif
