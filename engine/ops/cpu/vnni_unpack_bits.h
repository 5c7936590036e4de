// The types of one and two bits, ternary ones and NVFP4 to unsigned bytes (value + 128), 64 values a register. Included by vnni_unpack_super.h.
#pragma once

namespace gs::cpu {
namespace {

/// Q1_0: -1 or 1.
inline __m512i one_bits(const uint8_t* bits) {
    return _mm512_mask_blend_epi8(_cvtu64_mask64(load_as<uint64_t>(bits)), _mm512_set1_epi8(127), _mm512_set1_epi8(static_cast<char>(129)));
}

/// Q2_0: four neighbours a byte, less 1.
inline __m512i neighbours(const uint8_t* bytes) {
    const __m512i all = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
    const __m512i spread = _mm512_set_epi32(0x0f0f0f0f, 0x0e0e0e0e, 0x0d0d0d0d, 0x0c0c0c0c, 0x0b0b0b0b, 0x0a0a0a0a, 0x09090909, 0x08080808, 0x07070707,
                                            0x06060606, 0x05050505, 0x04040404, 0x03030303, 0x02020202, 0x01010101, 0);
    // Each byte four times; the lower nibble for two of them and the upper one for two, of which one takes each pair of bits, in place.
    const __m512i nibbles = _mm512_srlv_epi16(_mm512_shuffle_epi8(all, spread), _mm512_set1_epi32(0x00040000));
    const __m512i pairs = _mm512_and_si512(nibbles, _mm512_set1_epi16(0x0c03));
    const __m128i values = _mm_setr_epi8(0, 1, 2, 3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_add_epi8(values, _mm_set1_epi8(127))), pairs);
}

/// NVFP4: eight low nibbles and the eight high ones of the same bytes, four times.
inline __m512i fp4_nibbles(const uint8_t* nibbles) {
    const __m512i bytes = _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(nibbles)));
    const __m512i twice = _mm512_permutexvar_epi64(_mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0), bytes);
    const __m512i n = _mm512_and_si512(_mm512_srlv_epi64(twice, _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0)), _mm512_set1_epi8(15));
    return _mm512_shuffle_epi8(nibble_table<TensorType::kMXFP4>(), n);
}

/// Its four scales (block_scales.h says the same in plain words): the bits are those of a float 2^120 times too small.
inline __m512 fp4_scales(const uint8_t* block) {
    const __m128i codes = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(load_as<uint32_t>(block))));
    const __mmask8 number = _mm_cmpneq_epi32_mask(codes, _mm_set1_epi32(0x7f));
    const __m128i bits = _mm_slli_epi32(_mm_and_si128(codes, _mm_set1_epi32(0x7f)), 20);
    return _mm512_castps128_ps512(_mm_maskz_mul_ps(number, _mm_castsi128_ps(bits), _mm_set1_ps(0x1p119f)));
}

/// TQ1_0: digits in base 3, five a byte. A register holds digit k of all bytes: 32, then 16, then four, whose values are not neighbours.
struct OpenTernary {
    __m512i values[4];

    void open(const uint8_t* block) {
        __m512i digit[5], rest = _mm512_maskz_loadu_epi32(0x1fff, block);
        for (__m512i& d : digit) {
            // The whole part of 3 rest / 256: 1 from 86, 2 from 171 on.
            const __m512i minus_one = _mm512_set1_epi8(127);
            d = _mm512_mask_mov_epi8(minus_one, _mm512_cmpge_epu8_mask(rest, _mm512_set1_epi8(86)), _mm512_set1_epi8(static_cast<char>(128)));
            d = _mm512_mask_mov_epi8(d, _mm512_cmpge_epu8_mask(rest, _mm512_set1_epi8(static_cast<char>(171))), _mm512_set1_epi8(static_cast<char>(129)));
            rest = _mm512_add_epi8(rest, _mm512_add_epi8(rest, rest));
        }
        values[0] = _mm512_shuffle_i64x2(digit[0], digit[1], 0x44);
        values[1] = _mm512_shuffle_i64x2(digit[2], digit[3], 0x44);
        values[2] = _mm512_shuffle_i64x2(digit[4], _mm512_shuffle_i64x2(digit[0], digit[1], 0xaa), 0x84);
        const __m512i last = _mm512_unpacklo_epi64(_mm512_unpacklo_epi32(digit[0], digit[1]), _mm512_unpacklo_epi32(digit[2], digit[3]));
        values[3] = _mm512_shuffle_i64x2(_mm512_shuffle_i64x2(digit[2], digit[3], 0xaa), _mm512_shuffle_i64x2(digit[4], last, 0xfa), 0x88);
    }
    template <int kQuarter>
    __m512i quarter() const { return values[kQuarter]; }
};

}  // namespace
}  // namespace gs::cpu
