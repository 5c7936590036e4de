// Blocks of 32, 64 and 128 values with one or a few scales (spec/gguf.md section 4.2).
#include "engine/model/block_scales.h"
#include "engine/model/tensor_type_decoders.h"

namespace gs {
namespace {

// Nibble order shared by all 32-value types: value i < 16 is the low nibble of byte i, value 16 + i its high nibble.

/// Bit i of qh is the fifth bit of value i.
int fifth_bit(uint32_t qh, int i) { return static_cast<int>((qh >> i) & 1u) << 4; }

}  // namespace

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

void dequantize_mxfp4(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 17, out += 32) {
        const float d = e8m0_half(std::to_integer<uint8_t>(in[0]));
        for (int i = 0; i < 16; ++i) {
            out[i] = d * static_cast<float>(kFp4Values[low_nibble(in[1 + i])]);
            out[16 + i] = d * static_cast<float>(kFp4Values[high_nibble(in[1 + i])]);
        }
    }
}

// Four scales, then the values they belong to: sixteen each, in the nibble order of the types of 32 values.
void dequantize_nvfp4(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 36)
        for (int s = 0; s < 4; ++s, out += 16) {
            const float d = e4m3_half(std::to_integer<uint8_t>(in[s]));
            for (int i = 0; i < 8; ++i) {
                out[i] = d * static_cast<float>(kFp4Values[low_nibble(in[4 + 8 * s + i])]);
                out[8 + i] = d * static_cast<float>(kFp4Values[high_nibble(in[4 + 8 * s + i])]);
            }
        }
}

// One bit a value: -d or d.
void dequantize_q1_0(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 18, out += 128) {
        const float d = load_half(in);
        for (int i = 0; i < 128; ++i) out[i] = load_byte(in + 2 + i / 8) >> i % 8 & 1 ? d : -d;
    }
}

// Two bits a value, four neighbours a byte.
void dequantize_q2_0(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 18, out += 64) {
        const float d = load_half(in);
        for (int i = 0; i < 64; ++i) out[i] = d * static_cast<float>((load_byte(in + 2 + i / 4) >> i % 4 * 2 & 3) - 1);
    }
}

}  // namespace gs
