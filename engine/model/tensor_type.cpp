#include "engine/model/tensor_type.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/core/check.h"
#include "engine/model/tensor_type_decoders.h"

namespace gs {
namespace {

void dequantize_f32(const std::byte* in, size_t n, float* out) { std::memcpy(out, in, n * sizeof(float)); }

void dequantize_f16(const std::byte* in, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = load_half(in + 2 * i);
}

void dequantize_bf16(const std::byte* in, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = bfloat16_to_float(load_u16(in + 2 * i));
}

// spec/gguf.md section 3, ascending by id. Rows without a decoder have known sizes only.
constexpr TensorTypeInfo kTypes[] = {
    {TensorType::kF32, "f32", 1, 4, dequantize_f32},
    {TensorType::kF16, "f16", 1, 2, dequantize_f16},
    {TensorType::kQ4_0, "q4_0", 32, 18, dequantize_q4_0},
    {TensorType::kQ4_1, "q4_1", 32, 20, dequantize_q4_1},
    {TensorType::kQ5_0, "q5_0", 32, 22, dequantize_q5_0},
    {TensorType::kQ5_1, "q5_1", 32, 24, dequantize_q5_1},
    {TensorType::kQ8_0, "q8_0", 32, 34, dequantize_q8_0},
    {TensorType::kQ8_1, "q8_1", 32, 36, nullptr},
    {TensorType::kQ2_K, "q2_K", 256, 84, dequantize_q2_k},
    {TensorType::kQ3_K, "q3_K", 256, 110, dequantize_q3_k},
    {TensorType::kQ4_K, "q4_K", 256, 144, dequantize_q4_k},
    {TensorType::kQ5_K, "q5_K", 256, 176, dequantize_q5_k},
    {TensorType::kQ6_K, "q6_K", 256, 210, dequantize_q6_k},
    {TensorType::kQ8_K, "q8_K", 256, 292, nullptr},
    {TensorType::kIQ2_XXS, "iq2_xxs", 256, 66, dequantize_iq2_xxs},
    {TensorType::kIQ2_XS, "iq2_xs", 256, 74, dequantize_iq2_xs},
    {TensorType::kIQ3_XXS, "iq3_xxs", 256, 98, dequantize_iq3_xxs},
    {TensorType::kIQ1_S, "iq1_s", 256, 50, dequantize_iq1_s},
    {TensorType::kIQ4_NL, "iq4_nl", 32, 18, dequantize_iq4_nl},
    {TensorType::kIQ3_S, "iq3_s", 256, 110, dequantize_iq3_s},
    {TensorType::kIQ2_S, "iq2_s", 256, 82, dequantize_iq2_s},
    {TensorType::kIQ4_XS, "iq4_xs", 256, 136, dequantize_iq4_xs},
    {TensorType::kI8, "i8", 1, 1, nullptr},
    {TensorType::kI16, "i16", 1, 2, nullptr},
    {TensorType::kI32, "i32", 1, 4, nullptr},
    {TensorType::kI64, "i64", 1, 8, nullptr},
    {TensorType::kF64, "f64", 1, 8, nullptr},
    {TensorType::kIQ1_M, "iq1_m", 256, 56, dequantize_iq1_m},
    {TensorType::kBF16, "bf16", 1, 2, dequantize_bf16},
    {TensorType::kTQ1_0, "tq1_0", 256, 54, dequantize_tq1_0},
    {TensorType::kTQ2_0, "tq2_0", 256, 66, dequantize_tq2_0},
    {TensorType::kMXFP4, "mxfp4", 32, 17, dequantize_mxfp4},
    {TensorType::kNVFP4, "nvfp4", 64, 36, dequantize_nvfp4},
    {TensorType::kQ1_0, "q1_0", 128, 18, dequantize_q1_0},
    {TensorType::kQ2_0, "q2_0", 64, 18, dequantize_q2_0},
};

}  // namespace

const TensorTypeInfo* find_tensor_type(uint32_t id) {
    const auto* found = std::lower_bound(std::begin(kTypes), std::end(kTypes), id,
                                         [](const TensorTypeInfo& row, uint32_t wanted) { return static_cast<uint32_t>(row.type) < wanted; });
    return found != std::end(kTypes) && static_cast<uint32_t>(found->type) == id ? found : nullptr;
}

const TensorTypeInfo& tensor_type_info(TensorType type) {
    const TensorTypeInfo* info = find_tensor_type(static_cast<uint32_t>(type));
    GS_CHECK(info, "tensor type without a row");
    return *info;
}

std::span<const TensorTypeInfo> all_tensor_types() { return kTypes; }

float half_to_float(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 31u, mantissa = h & 0x3ffu;
    if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in f32
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
    }
    const uint32_t wide = exponent == 31 ? 255u : exponent + (127 - 15);
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

uint16_t float_to_half(float f) {
    const uint32_t bits = std::bit_cast<uint32_t>(f);
    const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));  // NaN stays one
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u;                        // 65520 and above round to infinity
    if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves f * 2^24, rounded to nearest even, in the low mantissa bits
        const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)));
    }
    const uint32_t odd = (magnitude >> 13) & 1u;  // round half to even
    return static_cast<uint16_t>(sign | ((magnitude - ((127 - 15) << 23) + 0xfffu + odd) >> 13));
}

float bfloat16_to_float(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

}  // namespace gs
