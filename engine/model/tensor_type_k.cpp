// Blocks of 256 values with a scale for every 16 or 32 of them (spec/gguf.md section 4.3), and the ternary types.
#include "engine/model/block_scales.h"
#include "engine/model/tensor_type_decoders.h"

namespace gs {
namespace {

constexpr int kSuper = 256;  // values per block

/// Two bits of value i: 32 bytes hold 128 values, those 32 apart in one byte (Q2_K, Q3_K, TQ2_0).
int two_bits(const std::byte* qs, int i) { return load_byte(qs + i / 128 * 32 + i % 32) >> i % 128 / 32 * 2 & 3; }

/// Four bits of value i: 32 bytes hold 64 values, those 32 apart in one byte (Q4_K, Q5_K).
int four_bits(const std::byte* qs, int i) { return load_byte(qs + i / 64 * 32 + i % 32) >> i % 64 / 32 * 4 & 15; }

}  // namespace

void dequantize_q2_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 84, out += kSuper) {
        const float d = load_half(in + 80), dmin = load_half(in + 82);
        for (int i = 0; i < kSuper; ++i) {
            const float scale = d * static_cast<float>(low_nibble(in[i / 16])), min = dmin * static_cast<float>(high_nibble(in[i / 16]));
            out[i] = scale * static_cast<float>(two_bits(in + 16, i)) - min;
        }
    }
}

void dequantize_q3_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 110, out += kSuper) {
        const float d = load_half(in + 108);
        uint8_t scales[16];
        unpack_six_bit_scales(in + 96, scales);
        for (int i = 0; i < kSuper; ++i) {
            const int third = load_byte(in + i % 32) >> i / 32 & 1;
            const float scale = d * static_cast<float>(scales[i / 16] - 32);
            out[i] = scale * static_cast<float>(two_bits(in + 32, i) + 4 * third - 4);
        }
    }
}

void dequantize_q4_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 144, out += kSuper) {
        const float d = load_half(in), dmin = load_half(in + 2);
        uint8_t six_bits[16];
        unpack_scales_and_minima(in + 4, six_bits);
        for (int s = 0; s < 8; ++s) {
            const float scale = d * static_cast<float>(six_bits[s]), min = dmin * static_cast<float>(six_bits[8 + s]);
            for (int i = 32 * s; i < 32 * s + 32; ++i) out[i] = scale * static_cast<float>(four_bits(in + 16, i)) - min;
        }
    }
}

void dequantize_q5_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 176, out += kSuper) {
        const float d = load_half(in), dmin = load_half(in + 2);
        uint8_t six_bits[16];
        unpack_scales_and_minima(in + 4, six_bits);
        for (int s = 0; s < 8; ++s) {
            const float scale = d * static_cast<float>(six_bits[s]), min = dmin * static_cast<float>(six_bits[8 + s]);
            for (int i = 32 * s; i < 32 * s + 32; ++i) {
                const int fifth = (load_byte(in + 16 + i % 32) >> s & 1) << 4;
                out[i] = scale * static_cast<float>(four_bits(in + 48, i) | fifth) - min;
            }
        }
    }
}

void dequantize_q6_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 210, out += kSuper) {
        const float d = load_half(in + 208);
        for (int i = 0; i < kSuper; ++i) {
            const int half = i / 128, quarter = i % 128 / 32, l = i % 32;
            const std::byte low = in[64 * half + 32 * (quarter & 1) + l];
            const int nibble = quarter < 2 ? low_nibble(low) : high_nibble(low);
            const int high = load_byte(in + 128 + 32 * half + l) >> 2 * quarter & 3;
            const float scale = d * static_cast<float>(static_cast<int8_t>(in[192 + i / 16]));
            out[i] = scale * static_cast<float>((nibble | high << 4) - 32);
        }
    }
}

void dequantize_iq4_xs(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 136, out += kSuper) {
        const float d = load_half(in);
        for (int g = 0; g < 8; ++g) {
            const float scale = d * static_cast<float>(iq4_xs_scale(load_u16(in + 2), load_u32(in + 4), g));
            for (int i = 0; i < 16; ++i) {
                out[32 * g + i] = scale * static_cast<float>(kIq4Values[low_nibble(in[8 + 16 * g + i])]);
                out[32 * g + 16 + i] = scale * static_cast<float>(kIq4Values[high_nibble(in[8 + 16 * g + i])]);
            }
        }
    }
}

// Five values of -1, 0, 1 a byte, as a fraction of 256 in base 3: the leading digit of the byte times 3^k is value k. The values of 32, then 16 bytes
// are that many apart; the last four bytes hold four values each.
void dequantize_tq1_0(const std::byte* in, size_t n, float* out) {
    struct Run {
        int first_byte, n_bytes, n_digits;
    };
    constexpr Run kRuns[] = {{0, 32, 5}, {32, 16, 5}, {48, 4, 4}};
    for (size_t b = 0; b < n; ++b, in += 54) {
        const float d = load_half(in + 52);
        for (const Run& run : kRuns)
            for (int k = 0, power = 1; k < run.n_digits; ++k, power *= 3)
                for (int i = 0; i < run.n_bytes; ++i) {
                    const int rest = load_byte(in + run.first_byte + i) * power & 255;
                    *out++ = d * static_cast<float>((rest * 3 >> 8) - 1);
                }
    }
}

void dequantize_tq2_0(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 66, out += kSuper) {
        const float d = load_half(in + 64);
        for (int i = 0; i < kSuper; ++i) out[i] = d * static_cast<float>(two_bits(in, i) - 1);
    }
}

}  // namespace gs
