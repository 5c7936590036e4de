// Blocks of 256 values with a scale for every 16 or 32 of them (spec/gguf.md section 4.3), and the ternary types.
#include "engine/model/block_scales.h"
#include "engine/model/tensor_type_decoders.h"

namespace gs {
namespace {

/// Two bits of each of the 32 values of run v: 32 bytes hold 128 values, those 32 apart in one byte (Q2_K, Q3_K, TQ2_0).
int two_bits(const std::byte* qs, int v, int i) { return load_byte(qs + v / 4 * 32 + i) >> v % 4 * 2 & 3; }

/// Four bits: 32 bytes hold 64 values, those 32 apart in one byte (Q4_K, Q5_K).
int four_bits(const std::byte* qs, int v, int i) { return load_byte(qs + v / 2 * 32 + i) >> v % 2 * 4 & 15; }

}  // namespace

void dequantize_q2_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 84) {
        const float d = load_half(in + 80), dmin = load_half(in + 82);
        for (int s = 0; s < 16; ++s, out += 16) {
            const float scale = d * static_cast<float>(low_nibble(in[s])), min = dmin * static_cast<float>(high_nibble(in[s]));
            for (int i = 0; i < 16; ++i) out[i] = scale * static_cast<float>(two_bits(in + 16, s / 2, s % 2 * 16 + i)) - min;
        }
    }
}

void dequantize_q3_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 110) {
        const float d = load_half(in + 108);
        uint8_t scales[16];
        unpack_six_bit_scales(in + 96, scales);
        for (int s = 0; s < 16; ++s, out += 16) {
            const float scale = d * static_cast<float>(scales[s] - 32);
            for (int i = 0; i < 16; ++i) {
                const int l = s % 2 * 16 + i, third = load_byte(in + l) >> s / 2 & 1;
                out[i] = scale * static_cast<float>(two_bits(in + 32, s / 2, l) + 4 * third - 4);
            }
        }
    }
}

void dequantize_q4_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 144) {
        const float d = load_half(in), dmin = load_half(in + 2);
        uint8_t six_bits[16];
        unpack_scales_and_minima(in + 4, six_bits);
        for (int s = 0; s < 8; ++s, out += 32) {
            const float scale = d * static_cast<float>(six_bits[s]), min = dmin * static_cast<float>(six_bits[8 + s]);
            for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(four_bits(in + 16, s, i)) - min;
        }
    }
}

void dequantize_q5_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 176) {
        const float d = load_half(in), dmin = load_half(in + 2);
        uint8_t six_bits[16];
        unpack_scales_and_minima(in + 4, six_bits);
        for (int s = 0; s < 8; ++s, out += 32) {
            const float scale = d * static_cast<float>(six_bits[s]), min = dmin * static_cast<float>(six_bits[8 + s]);
            for (int i = 0; i < 32; ++i) {
                const int fifth = (load_byte(in + 16 + i) >> s & 1) << 4;
                out[i] = scale * static_cast<float>(four_bits(in + 48, s, i) | fifth) - min;
            }
        }
    }
}

void dequantize_q6_k(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 210) {
        const float d = load_half(in + 208);
        for (int s = 0; s < 16; ++s, out += 16) {
            const int half = s / 8, quarter = s % 8 / 2;  // of 128 values, of 32
            const std::byte *low = in + 64 * half + 32 * (quarter & 1), *high = in + 128 + 32 * half;
            const float scale = d * static_cast<float>(static_cast<int8_t>(in[192 + s]));
            for (int i = 0; i < 16; ++i) {
                const int l = s % 2 * 16 + i, nibble = load_byte(low + l) >> quarter / 2 * 4 & 15, upper = load_byte(high + l) >> 2 * quarter & 3;
                out[i] = scale * static_cast<float>((nibble | upper << 4) - 32);
            }
        }
    }
}

void dequantize_iq4_xs(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 136) {
        const float d = load_half(in);
        uint8_t scales[8];
        unpack_eight_scales(load_u16(in + 2), load_u32(in + 4), scales);
        for (int g = 0; g < 8; ++g, out += 32) {
            const float scale = d * static_cast<float>(scales[g] - 32);
            for (int i = 0; i < 16; ++i) {
                out[i] = scale * static_cast<float>(kIq4Values[low_nibble(in[8 + 16 * g + i])]);
                out[16 + i] = scale * static_cast<float>(kIq4Values[high_nibble(in[8 + 16 * g + i])]);
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
    for (size_t b = 0; b < n; ++b, in += 66) {
        const float d = load_half(in + 64);
        for (int v = 0; v < 8; ++v, out += 32)
            for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(two_bits(in, v, i) - 1);
    }
}

}  // namespace gs
