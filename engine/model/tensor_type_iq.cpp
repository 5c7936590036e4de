// Blocks of 256 values by code book: runs of eight (IQ1, IQ2) or four (IQ3) values are an entry, with signs (IQ2, IQ3) or a shift (IQ1) beside it.
// A scale belongs to 16 or 32 values. The specification gives their sizes only; the layouts are those of ggml-common.h.
#include <bit>

#include "engine/model/block_scales.h"
#include "engine/model/tensor_type_decoders.h"
#include "engine/model/tensor_type_grids.h"

namespace gs {
namespace {

constexpr int kSuper = 256;  // values per block

/// Seven sign bits and the eighth that makes their number even.
uint32_t even_signs(uint32_t seven) { return (seven & 127u) | (static_cast<uint32_t>(std::popcount(seven & 127u)) & 1u) << 7; }

float signed_value(float value, uint32_t signs, int j) { return signs >> j & 1u ? -value : value; }

/// Eight values by one entry of two-bit levels.
void put_eight(float scale, uint16_t entry, uint32_t signs, float* out) {
    for (int j = 0; j < 8; ++j) out[j] = signed_value(scale * static_cast<float>(kLevelsIq2[entry >> 2 * j & 3]), signs, j);
}

/// Eight values by two entries of three-bit levels.
void put_four_and_four(float scale, const int8_t* levels, uint16_t first, uint16_t second, uint32_t signs, float* out) {
    for (int j = 0; j < 8; ++j) out[j] = signed_value(scale * static_cast<float>(levels[(j < 4 ? first >> 4 * j : second >> 4 * (j - 4)) & 7]), signs, j);
}

/// Eight values -1, 0, 1, all shifted by an eighth up or down.
void put_shifted(float scale, uint16_t entry, bool down, float* out) {
    const float shift = down ? -0.125f : 0.125f;
    for (int j = 0; j < 8; ++j) out[j] = scale * (static_cast<float>((entry >> 2 * j & 3) - 1) + shift);
}

}  // namespace

void dequantize_iq2_xxs(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 66) {
        const float d = load_half(in);
        for (int g = 0; g < 8; ++g) {  // of 32 values: four entries, then four times seven sign bits and the scale
            const std::byte* group = in + 2 + 8 * g;
            const uint32_t rest = load_u32(group + 4);
            const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.25f;
            for (int l = 0; l < 4; ++l, out += 8) put_eight(scale, kGridIq2Xxs[static_cast<size_t>(load_byte(group + l))], even_signs(rest >> 7 * l), out);
        }
    }
}

void dequantize_iq2_xs(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 74) {
        const float d = load_half(in);
        for (int e = 0; e < kSuper / 8; ++e, out += 8) {  // nine bits of entry, seven of sign; a scale for two
            const uint32_t code = load_u16(in + 2 + 2 * e);
            const int four = load_byte(in + 66 + e / 4) >> e / 2 % 2 * 4 & 15;
            put_eight(d * (0.5f + static_cast<float>(four)) * 0.25f, kGridIq2Xs[code & 511u], even_signs(code >> 9), out);
        }
    }
}

void dequantize_iq2_s(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 82) {
        const float d = load_half(in);
        for (int e = 0; e < kSuper / 8; ++e, out += 8) {  // eight bits of entry, two more, eight signs; a scale for two
            const int high = load_byte(in + 66 + e / 4) >> e % 4 * 2 & 3;
            const int four = load_byte(in + 74 + e / 4) >> e / 2 % 2 * 4 & 15;
            const auto entry = static_cast<size_t>(load_byte(in + 2 + e) | high << 8);
            put_eight(d * (0.5f + static_cast<float>(four)) * 0.25f, kGridIq2S[entry], static_cast<uint32_t>(load_byte(in + 34 + e)), out);
        }
    }
}

void dequantize_iq3_xxs(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 98) {
        const float d = load_half(in);
        for (int g = 0; g < 8; ++g) {  // of 32 values: eight entries; four times seven sign bits and the scale are behind all entries
            const uint32_t rest = load_u32(in + 66 + 4 * g);
            const float scale = d * (0.5f + static_cast<float>(rest >> 28)) * 0.5f;
            for (int l = 0; l < 4; ++l, out += 8) {
                const std::byte* pair = in + 2 + 8 * g + 2 * l;
                put_four_and_four(scale, kLevelsIq3Xxs, kGridIq3Xxs[static_cast<size_t>(load_byte(pair))], kGridIq3Xxs[static_cast<size_t>(load_byte(pair + 1))],
                                  even_signs(rest >> 7 * l), out);
            }
        }
    }
}

void dequantize_iq3_s(const std::byte* in, size_t n, float* out) {
    // Entry e has eight bits here and its ninth in a bit field behind.
    const auto entry = [](const std::byte* block, int e) {
        const int ninth = load_byte(block + 66 + e / 8) >> e % 8 & 1;
        return kGridIq3S[static_cast<size_t>(load_byte(block + 2 + e) | ninth << 8)];
    };
    for (size_t b = 0; b < n; ++b, in += 110) {
        const float d = load_half(in);
        for (int e = 0; e < kSuper / 8; ++e, out += 8) {  // two entries and eight signs; a scale for four of these
            const int four = load_byte(in + 106 + e / 8) >> e / 4 % 2 * 4 & 15;
            put_four_and_four(d * static_cast<float>(1 + 2 * four), kLevelsIq3S, entry(in, 2 * e), entry(in, 2 * e + 1),
                              static_cast<uint32_t>(load_byte(in + 74 + e)), out);
        }
    }
}

void dequantize_iq1_s(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 50) {
        const float d = load_half(in);
        for (int g = 0; g < 8; ++g) {  // of 32 values: four times three high bits of entries, three of scale, the shift's sign
            const int rest = load_u16(in + 34 + 2 * g);
            const float scale = d * static_cast<float>(2 * (rest >> 12 & 7) + 1);
            for (int l = 0; l < 4; ++l, out += 8)
                put_shifted(scale, kGridIq1[static_cast<size_t>(load_byte(in + 2 + 4 * g + l) | (rest >> 3 * l & 7) << 8)], rest >> 15 != 0, out);
        }
    }
}

void dequantize_iq1_m(const std::byte* in, size_t n, float* out) {
    for (size_t b = 0; b < n; ++b, in += 56) {
        const uint64_t scales = load_as<uint64_t>(in + 48);
        const float d = half_to_float(iq1_m_half(scales));
        for (int e = 0; e < kSuper / 8; ++e, out += 8) {  // three high bits and the shift's sign in half a byte; a scale for two
            const int high = load_byte(in + 32 + e / 2) >> e % 2 * 4 & 15;
            const float scale = d * static_cast<float>(2 * iq1_m_scale(scales, e / 2) + 1);
            put_shifted(scale, kGridIq1[static_cast<size_t>(load_byte(in + e) | (high & 7) << 8)], (high & 8) != 0, out);
        }
    }
}

}  // namespace gs
