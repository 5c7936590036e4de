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
    const auto low = load_as<uint64_t>(packed), high = load_as<uint32_t>(static_cast<const std::byte*>(packed) + 8) * (uint64_t{1} << 32 | 1);
    constexpr uint64_t kLow = 0x0f0f0f0f0f0f0f0fu, kFirst = 0x03030303, kSecond = kFirst << 32;
    const uint64_t words[2] = {(low & kLow) | ((high & kFirst) | (high >> 2 & kSecond)) << 4,
                               (low >> 4 & kLow) | ((high >> 4 & kFirst) | (high >> 6 & kSecond)) << 4};
    std::memcpy(out, words, sizeof words);
}

/// IQ4_XS: eight scales of six bits, not yet lowered by 32: four bits each in `low`, two in `high`, spread to bytes by halves.
inline void unpack_eight_scales(uint16_t high, uint32_t low, uint8_t* out) {
    uint64_t four = (low | static_cast<uint64_t>(low) << 16) & 0x0000ffff0000ffffu;
    four = (four | four << 8) & 0x00ff00ff00ff00ffu;
    four = (four | four << 4) & 0x0f0f0f0f0f0f0f0fu;
    uint64_t two = (high | static_cast<uint64_t>(high) << 24) & 0x000000ff000000ffu;
    two = (two | two << 12) & 0x000f000f000f000fu;
    two = (two | two << 6) & 0x0303030303030303u;
    const uint64_t six = four | two << 4;
    std::memcpy(out, &six, sizeof six);
}

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
