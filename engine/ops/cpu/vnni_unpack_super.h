// Blocks of more than 32 values to unsigned bytes and scales in AVX-512 registers (spec/gguf.md section 4.3). Private to vnni*.cpp, inside their
// target pragma, after vnni_unpack.h.
//
// A quarter of a super-block, 64 values, fills a register: values 32 apart share bytes, so that the same 32 bytes, shifted by different counts in
// the lower and the upper half, give 64 values in order.
#pragma once

#include "engine/ops/cpu/vnni_unpack_bits.h"
#include "engine/ops/cpu/vnni_unpack_books.h"

namespace gs::cpu {
namespace {

/// Bytes; values per scale; whether values are stored 128 up (the others are not negative); values.
template <int kBytesOf, int kRunOf, int kRaisedOf, int kValuesOf = kSuper>
struct SuperTraits {
    static constexpr int kBytes = kBytesOf, kRun = kRunOf, kRaised = kRaisedOf, kValues = kValuesOf, kQuarters = kValues / 64;
};
template <TensorType kType>
struct Super;
template <> struct Super<TensorType::kQ2_K> : SuperTraits<84, 16, 0> {};
template <> struct Super<TensorType::kQ3_K> : SuperTraits<110, 16, 1> {};
template <> struct Super<TensorType::kQ4_K> : SuperTraits<144, 32, 0> {};
template <> struct Super<TensorType::kQ5_K> : SuperTraits<176, 32, 0> {};
template <> struct Super<TensorType::kQ6_K> : SuperTraits<210, 16, 1> {};
template <> struct Super<TensorType::kIQ4_XS> : SuperTraits<136, 32, 1> {};
template <> struct Super<TensorType::kIQ1_S> : SuperTraits<50, 32, 1> {};
template <> struct Super<TensorType::kIQ1_M> : SuperTraits<56, 16, 1> {};
template <> struct Super<TensorType::kIQ2_XXS> : SuperTraits<66, 32, 1> {};
template <> struct Super<TensorType::kIQ2_XS> : SuperTraits<74, 16, 1> {};
template <> struct Super<TensorType::kIQ2_S> : SuperTraits<82, 16, 1> {};
template <> struct Super<TensorType::kIQ3_XXS> : SuperTraits<98, 32, 1> {};
template <> struct Super<TensorType::kIQ3_S> : SuperTraits<110, 32, 1> {};
template <> struct Super<TensorType::kTQ1_0> : SuperTraits<54, 32, 1> {};
template <> struct Super<TensorType::kTQ2_0> : SuperTraits<66, 32, 1> {};
template <> struct Super<TensorType::kQ1_0> : SuperTraits<18, 32, 1, 128> {};
template <> struct Super<TensorType::kQ2_0> : SuperTraits<18, 32, 1, 64> {};
template <> struct Super<TensorType::kNVFP4> : SuperTraits<36, 16, 1, 64> {};
/// Minima come with the scales: of eight runs, in lanes 8..15 of super_scales.
template <TensorType kType>
constexpr bool kMinimaBehindScales = kType == TensorType::kQ4_K || kType == TensorType::kQ5_K;
template <TensorType kType>
constexpr bool kSuperHasMin = kMinimaBehindScales<kType> || kType == TensorType::kQ2_K;

inline __m512i twice(const uint8_t* p) { return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }

/// The bytes shifted right within 16 bits; what comes from a neighbour byte must be masked off.
template <int kLower, int kUpper>
inline __m512i shift_halves(__m512i bytes) {
    constexpr int64_t kOnes = 0x0001000100010001;
    const __m512i counts = _mm512_set_epi64(kUpper * kOnes, kUpper * kOnes, kUpper * kOnes, kUpper * kOnes, kLower * kOnes, kLower * kOnes,
                                            kLower * kOnes, kLower * kOnes);
    return _mm512_srlv_epi16(bytes, counts);
}

/// The bytes with one bit or two moved to another place, left by the count or right by minus the count.
template <int kLower, int kUpper>
inline __m512i move_bits(__m512i bytes) {
    constexpr int64_t kLeftLower = kLower & 63, kLeftUpper = kUpper & 63;
    return _mm512_rolv_epi64(bytes, _mm512_set_epi64(kLeftUpper, kLeftUpper, kLeftUpper, kLeftUpper, kLeftLower, kLeftLower, kLeftLower, kLeftLower));
}

/// a | (b & mask)
inline __m512i or_masked(__m512i a, __m512i b, int mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(mask)), 0xf8);
}

template <TensorType kType, int kQuarter>
inline __m512i load_quarter(const uint8_t* block) {
    const __m512i three = _mm512_set1_epi8(3), nibble = _mm512_set1_epi8(15);
    if constexpr (kType == TensorType::kQ2_K) {
        return _mm512_and_si512(shift_halves<kQuarter % 2 * 4, kQuarter % 2 * 4 + 2>(twice(block + 16 + kQuarter / 2 * 32)), three);
    } else if constexpr (kType == TensorType::kQ3_K) {
        const __m512i low = shift_halves<kQuarter % 2 * 4, kQuarter % 2 * 4 + 2>(twice(block + 32 + kQuarter / 2 * 32));
        const __m512i third = move_bits<2 - 2 * kQuarter, 1 - 2 * kQuarter>(twice(block));
        const __m512i seven = or_masked(_mm512_and_si512(low, three), third, 4);
        return _mm512_add_epi8(seven, _mm512_set1_epi8(128 - 4));
    } else if constexpr (kType == TensorType::kQ4_K) {
        return _mm512_and_si512(shift_halves<0, 4>(twice(block + 16 + kQuarter * 32)), nibble);
    } else if constexpr (kType == TensorType::kQ5_K) {
        const __m512i fifth = move_bits<4 - 2 * kQuarter, 3 - 2 * kQuarter>(twice(block + 16));
        return or_masked(_mm512_and_si512(shift_halves<0, 4>(twice(block + 48 + kQuarter * 32)), nibble), fifth, 16);
    } else if constexpr (kType == TensorType::kQ6_K) {
        const __m512i bytes = _mm512_loadu_si512(block + kQuarter / 2 * 64);
        const __m512i low = _mm512_and_si512(kQuarter % 2 == 0 ? bytes : _mm512_srli_epi16(bytes, 4), nibble);
        const __m512i high = move_bits<4 - kQuarter % 2 * 4, 2 - kQuarter % 2 * 4>(twice(block + 128 + kQuarter / 2 * 32));
        return _mm512_add_epi8(or_masked(low, high, 0x30), _mm512_set1_epi8(128 - 32));
    } else if constexpr (kType == TensorType::kTQ2_0) {
        const __m512i low = shift_halves<kQuarter % 2 * 4, kQuarter % 2 * 4 + 2>(twice(block + kQuarter / 2 * 32));
        return _mm512_add_epi8(_mm512_and_si512(low, three), _mm512_set1_epi8(128 - 1));
    } else if constexpr (kType == TensorType::kQ1_0) {
        return one_bits(block + 2 + 8 * kQuarter);
    } else if constexpr (kType == TensorType::kQ2_0) {
        return neighbours(block + 2);
    } else if constexpr (kType == TensorType::kNVFP4) {
        return fp4_nibbles(block + 4);
    } else {
        const __m512i bytes = _mm512_zextsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 8 + kQuarter * 32)));
        return widen_nibbles<TensorType::kIQ4_NL>(_mm512_permutexvar_epi64(_mm512_set_epi64(3, 2, 3, 2, 1, 0, 1, 0), bytes), 0);
    }
}

/// The types that spread_values() gives: a byte of theirs holds four bits of one run and four of the next.
template <TensorType kType>
constexpr bool kHasSpread = kType == TensorType::kQ4_K || kType == TensorType::kQ5_K;

/// Values 8 kVector .. 8 kVector + 7 of each of the eight runs, as SpreadInput has them: a byte holds a value of one run and one of the next, so each
/// eight bytes are taken twice. Q4_K leaves upper nibbles where they are: sixteen times their value.
template <TensorType kType, int kVector>
inline __m512i spread_values(const uint8_t* block) {
    constexpr int64_t kLower = 0x0f0f0f0f0f0f0f0f, kUpper = ~kLower;
    const uint8_t* nibbles = block + (kType == TensorType::kQ5_K ? 48 : 16);
    const __m512i places = _mm512_setr_epi64(kVector, kVector, kVector + 4, kVector + 4, kVector + 8, kVector + 8, kVector + 12, kVector + 12);
    const __m512i bytes = _mm512_permutex2var_epi64(_mm512_loadu_si512(nibbles), places, _mm512_loadu_si512(nibbles + 64));
    if constexpr (kType == TensorType::kQ4_K) {
        return _mm512_and_si512(bytes, _mm512_setr_epi64(kLower, kUpper, kLower, kUpper, kLower, kUpper, kLower, kUpper));
    } else {
        const __m512i low = _mm512_and_si512(_mm512_srlv_epi64(bytes, _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4)), _mm512_set1_epi64(kLower));
        int64_t fifth;   // of run r in bit r
        std::memcpy(&fifth, block + 16 + 8 * kVector, sizeof fifth);
        return or_masked(low, _mm512_rolv_epi64(_mm512_set1_epi64(fifth), _mm512_setr_epi64(4, 3, 2, 1, 0, 63, 62, 61)), 16);
    }
}

/// A block whose quarters are asked for one by one.
template <TensorType kType>
struct OpenSuper {
    const uint8_t* at;
    void open(const uint8_t* block) { at = block; }
    template <int kQuarter>
    __m512i quarter() const { return load_quarter<kType, kQuarter>(at); }
};
template <TensorType kType>
    requires(is_by_code_book(kType))
struct OpenSuper<kType> : OpenCodeBook<kType> {};
template <>
struct OpenSuper<TensorType::kTQ1_0> : OpenTernary {};

/// Eight scales and eight minima of six bits (block_scales.h says the same in plain words), as bytes.
inline __m128i scales_and_minima(const uint8_t* packed) {
    const __m128i in = _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed));  // the last four bytes are values
    const __m128i low = _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(in, 0x98), _mm_setr_epi32(0, 0, 0, 4)),
                                      _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
    const __m128i high = _mm_srli_epi32(_mm_shuffle_epi32(in, 0x40), 2);
    return _mm_ternarylogic_epi32(low, high, _mm_setr_epi32(0, 0x30303030, 0, 0x30303030), 0xf8);
}

/// Sixteen scales of six bits, minus 32, as bytes; `packed` is their place in the block.
inline __m128i six_bit_scales(const uint8_t* packed) {
    // Two bytes before, because there are only two behind.
    const __m128i in = _mm_srli_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(packed - 2)), 2);
    const __m128i low = _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(in, 0x44), _mm_setr_epi32(0, 0, 4, 4)), _mm_set1_epi8(15));
    const __m128i high = _mm_rolv_epi32(_mm_shuffle_epi32(in, 0xaa), _mm_setr_epi32(4, 2, 0, 30));
    return _mm_sub_epi8(_mm_ternarylogic_epi32(low, high, _mm_set1_epi8(0x30), 0xf8), _mm_set1_epi8(32));
}

inline __m128i eight_scales(const uint8_t* block) {  // IQ4_XS
    uint32_t low;
    uint16_t high;
    std::memcpy(&low, block + 4, sizeof low);
    std::memcpy(&high, block + 2, sizeof high);
    const __m256i four = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(low)), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)),
                                          _mm256_set1_epi32(15));
    const __m256i two = _mm256_rolv_epi32(_mm256_set1_epi32(high), _mm256_setr_epi32(4, 2, 0, 30, 28, 26, 24, 22));
    const __m256i six = _mm256_ternarylogic_epi32(four, two, _mm256_set1_epi32(0x30), 0xf8);
    return _mm256_cvtepi32_epi8(_mm256_sub_epi32(six, _mm256_set1_epi32(32)));
}

/// The scales of a block: lane s is run s. Q4_K and Q5_K: of eight runs, and in lanes 8..15 minus their minima.
template <TensorType kType>
inline __m512 super_scales(const uint8_t* block) {
    const auto times = [](__m128i bytes, float d) { return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), _mm512_set1_ps(d)); };
    if constexpr (kType == TensorType::kQ2_K) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
        return times(_mm_and_si128(bytes, _mm_set1_epi8(15)), half_at(block + 80));
    } else if constexpr (kType == TensorType::kQ3_K) {
        return times(six_bit_scales(block + 96), half_at(block + 108));
    } else if constexpr (kType == TensorType::kQ6_K) {
        return times(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 192)), half_at(block + 208));
    } else if constexpr (kType == TensorType::kIQ4_XS) {
        return times(eight_scales(block), half_at(block));
    } else if constexpr (is_by_code_book(kType)) {
        return code_book_scales<kType>(block);
    } else if constexpr (kType == TensorType::kNVFP4) {
        return fp4_scales(block);
    } else if constexpr (kType != TensorType::kQ4_K && kType != TensorType::kQ5_K) {  // one for all
        return _mm512_set1_ps(half_at(block + (kType == TensorType::kTQ1_0 ? 52 : kType == TensorType::kTQ2_0 ? 64 : 0)));
    } else {
        uint32_t halves;
        std::memcpy(&halves, block, sizeof halves);
        const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(halves ^ 0x80000000u)));
        const __m512 both = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), _mm512_castps128_ps512(d));
        return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(scales_and_minima(block + 4))), both);
    }
}

/// Minus the sixteen minima of Q2_K.
inline __m512 q2_minima(const uint8_t* block) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block));
    const __m128i four = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(four)), _mm512_set1_ps(-half_at(block + 82)));
}

}  // namespace
}  // namespace gs::cpu
