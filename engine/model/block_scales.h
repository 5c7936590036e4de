// What decoders of quantized blocks and the inner loops share (spec/gguf.md sections 4.2 and 4.3): what four bits stand for, and packed scales, read
// four bytes at a time as they were packed for.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gs {

/// A field of a block: these are not aligned to anything.
template <class T>
inline T load_as(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

/// The values that four bits of IQ4_NL and IQ4_XS stand for, and those of MXFP4 and NVFP4 (twice E2M1).
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// Q4_K, Q5_K: twelve bytes to eight scales (out[0..7]) and eight minima (out[8..15]) of six bits.
inline void unpack_scales_and_minima(const void* packed, uint8_t* out) {
    uint32_t in[3];
    std::memcpy(in, packed, sizeof in);
    const uint32_t words[4] = {in[0] & 0x3f3f3f3fu, (in[2] & 0x0f0f0f0fu) | (in[0] >> 6 & 0x03030303u) << 4, in[1] & 0x3f3f3f3fu,
                               (in[2] >> 4 & 0x0f0f0f0fu) | (in[1] >> 6 & 0x03030303u) << 4};
    std::memcpy(out, words, sizeof words);
}

/// Q3_K: twelve bytes to sixteen scales of six bits, not yet lowered by 32.
inline void unpack_six_bit_scales(const void* packed, uint8_t* out) {
    uint32_t in[3];
    std::memcpy(in, packed, sizeof in);
    uint32_t words[4];
    for (int s = 0; s < 4; ++s) words[s] = (in[s % 2] >> s / 2 * 4 & 0x0f0f0f0fu) | (in[2] >> 2 * s & 0x03030303u) << 4;
    std::memcpy(out, words, sizeof words);
}

/// Scale g of the eight in IQ4_XS: four bits of `low`, two of `high`.
inline int iq4_xs_scale(uint16_t high, uint32_t low, int g) { return static_cast<int>((low >> 4 * g & 15u) | (high >> 2 * g & 3u) << 4) - 32; }

/// MXFP4: 2^(e - 128), half of the OCP scale because its values are stored doubled. The two smallest are subnormal.
inline float e8m0_half(uint8_t e) { return std::bit_cast<float>(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23); }

/// NVFP4: half of the unsigned float of four exponent bits (bias 7) and three of mantissa; the code without a number is zero.
inline float e4m3_half(uint8_t code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    if (code == 0x7f) return 0;
    if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
    return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127 - 8) << 23 | static_cast<uint32_t>(mantissa) << 20);
}

/// IQ1_M: four words of four three-bit scales each; their upper four bits together are the half that multiplies all.
inline uint16_t iq1_m_half(uint64_t words) {
    return static_cast<uint16_t>((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
}
inline int iq1_m_scale(uint64_t words, int s) { return static_cast<int>(words >> (s / 4 * 16 + s % 4 * 3) & 7); }

}  // namespace gs
