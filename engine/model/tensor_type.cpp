#include "engine/model/tensor_type.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/core/check.h"

namespace gs {
namespace {

// Blocks of 17 to 36 bytes are not aligned to anything: every field goes through memcpy (spec/gguf.md section 4).
uint16_t load_u16(const std::byte* p) {
    uint16_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

uint32_t load_u32(const std::byte* p) {
    uint32_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

float load_half(const std::byte* p) { return half_to_float(load_u16(p)); }

/// Nibble order shared by all 32-value types: value i < 16 is the low nibble of byte i, value 16 + i its high nibble.
int low_nibble(std::byte b) { return std::to_integer<int>(b) & 15; }
int high_nibble(std::byte b) { return std::to_integer<int>(b) >> 4; }

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void dequantize_f32(const std::byte* in, size_t n, float* out) { std::memcpy(out, in, n * sizeof(float)); }

void dequantize_f16(const std::byte* in, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = load_half(in + 2 * i);
}

void dequantize_bf16(const std::byte* in, size_t n, float* out) {
    for (size_t i = 0; i < n; ++i) out[i] = bfloat16_to_float(load_u16(in + 2 * i));
}

void dequantize_q4_0(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 18, out += 32) {
        const float d = load_half(in);
        for (int i = 0; i < 16; ++i) {
            out[i] = d * static_cast<float>(low_nibble(in[2 + i]) - 8);
            out[16 + i] = d * static_cast<float>(high_nibble(in[2 + i]) - 8);
        }
    }
}

void dequantize_q4_1(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 20, out += 32) {
        const float d = load_half(in), m = load_half(in + 2);
        for (int i = 0; i < 16; ++i) {
            out[i] = d * static_cast<float>(low_nibble(in[4 + i])) + m;
            out[16 + i] = d * static_cast<float>(high_nibble(in[4 + i])) + m;
        }
    }
}

/// Bit i of qh is the fifth bit of value i.
int fifth_bit(uint32_t qh, int i) { return static_cast<int>((qh >> i) & 1u) << 4; }

void dequantize_q5_0(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 22, out += 32) {
        const float d = load_half(in);
        const uint32_t qh = load_u32(in + 2);
        for (int i = 0; i < 16; ++i) {
            out[i] = d * static_cast<float>((low_nibble(in[6 + i]) | fifth_bit(qh, i)) - 16);
            out[16 + i] = d * static_cast<float>((high_nibble(in[6 + i]) | fifth_bit(qh, 16 + i)) - 16);
        }
    }
}

void dequantize_q5_1(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 24, out += 32) {
        const float d = load_half(in), m = load_half(in + 2);
        const uint32_t qh = load_u32(in + 4);
        for (int i = 0; i < 16; ++i) {
            out[i] = d * static_cast<float>(low_nibble(in[8 + i]) | fifth_bit(qh, i)) + m;
            out[16 + i] = d * static_cast<float>(high_nibble(in[8 + i]) | fifth_bit(qh, 16 + i)) + m;
        }
    }
}

void dequantize_q8_0(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 34, out += 32) {
        const float d = load_half(in);
        for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
    }
}

void dequantize_iq4_nl(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 18, out += 32) {
        const float d = load_half(in);
        for (int i = 0; i < 16; ++i) {
            out[i] = d * static_cast<float>(kIq4Values[low_nibble(in[2 + i])]);
            out[16 + i] = d * static_cast<float>(kIq4Values[high_nibble(in[2 + i])]);
        }
    }
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
    {TensorType::kQ2_K, "q2_K", 256, 84, nullptr},
    {TensorType::kQ3_K, "q3_K", 256, 110, nullptr},
    {TensorType::kQ4_K, "q4_K", 256, 144, nullptr},
    {TensorType::kQ5_K, "q5_K", 256, 176, nullptr},
    {TensorType::kQ6_K, "q6_K", 256, 210, nullptr},
    {TensorType::kQ8_K, "q8_K", 256, 292, nullptr},
    {TensorType::kIQ2_XXS, "iq2_xxs", 256, 66, nullptr},
    {TensorType::kIQ2_XS, "iq2_xs", 256, 74, nullptr},
    {TensorType::kIQ3_XXS, "iq3_xxs", 256, 98, nullptr},
    {TensorType::kIQ1_S, "iq1_s", 256, 50, nullptr},
    {TensorType::kIQ4_NL, "iq4_nl", 32, 18, dequantize_iq4_nl},
    {TensorType::kIQ3_S, "iq3_s", 256, 110, nullptr},
    {TensorType::kIQ2_S, "iq2_s", 256, 82, nullptr},
    {TensorType::kIQ4_XS, "iq4_xs", 256, 136, nullptr},
    {TensorType::kI8, "i8", 1, 1, nullptr},
    {TensorType::kI16, "i16", 1, 2, nullptr},
    {TensorType::kI32, "i32", 1, 4, nullptr},
    {TensorType::kI64, "i64", 1, 8, nullptr},
    {TensorType::kF64, "f64", 1, 8, nullptr},
    {TensorType::kIQ1_M, "iq1_m", 256, 56, nullptr},
    {TensorType::kBF16, "bf16", 1, 2, dequantize_bf16},
    {TensorType::kTQ1_0, "tq1_0", 256, 54, nullptr},
    {TensorType::kTQ2_0, "tq2_0", 256, 66, nullptr},
    {TensorType::kMXFP4, "mxfp4", 32, 17, nullptr},
    {TensorType::kNVFP4, "nvfp4", 64, 36, nullptr},
    {TensorType::kQ1_0, "q1_0", 128, 18, nullptr},
    {TensorType::kQ2_0, "q2_0", 64, 18, nullptr},
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
