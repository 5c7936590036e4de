// Blocks of 32 to unsigned bytes (value + 128) in AVX-512 registers (spec/gguf.md section 4.2). Private to vnni*.cpp, inside their target pragma.
#pragma once

namespace gs::cpu {
namespace {

template <TensorType kType>
constexpr int kBytes = 0;
template <> constexpr int kBytes<TensorType::kQ4_0> = 18;
template <> constexpr int kBytes<TensorType::kQ4_1> = 20;
template <> constexpr int kBytes<TensorType::kQ5_0> = 22;
template <> constexpr int kBytes<TensorType::kQ5_1> = 24;
template <> constexpr int kBytes<TensorType::kQ8_0> = 34;
template <> constexpr int kBytes<TensorType::kIQ4_NL> = 18;
template <> constexpr int kBytes<TensorType::kMXFP4> = 17;

template <TensorType kType>
constexpr bool kHasMin = kType == TensorType::kQ4_1 || kType == TensorType::kQ5_1;
template <TensorType kType>
constexpr bool kHasFifth = kType == TensorType::kQ5_0 || kType == TensorType::kQ5_1;

inline float half_at(const uint8_t* p) {
    uint16_t h;
    std::memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

/// 16 bytes to all four 128-bit parts: value + 128 for a nibble n.
template <TensorType kType>
inline __m512i nibble_table() {
    if constexpr (kType == TensorType::kIQ4_NL)
        return _mm512_broadcast_i32x4(_mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
                                                    static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
                                                    static_cast<char>(197), static_cast<char>(217), static_cast<char>(241)));
    if constexpr (kType == TensorType::kMXFP4)
        return _mm512_broadcast_i32x4(_mm_xor_si128(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12),
                                                    _mm_set1_epi8(static_cast<char>(128))));
    constexpr int kZero = kType == TensorType::kQ4_0 ? 120 : kType == TensorType::kQ5_0 ? 112 : 128;
    const __m128i steps = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_broadcast_i32x4(_mm_add_epi8(steps, _mm_set1_epi8(static_cast<char>(kZero))));
}

/// `bytes` holds a block's 16 bytes twice, then another's twice: low nibbles in parts 0 and 2, high ones in 1 and 3, as the values go.
template <TensorType kType>
inline __m512i widen_nibbles(__m512i bytes, uint64_t fifth) {
    const __m512i shifts = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0, 0x0004000400040004, 0x0004000400040004, 0, 0);
    const __m512i n = _mm512_and_si512(_mm512_srlv_epi16(bytes, shifts), _mm512_set1_epi8(15));
    const __m512i values = _mm512_shuffle_epi8(nibble_table<kType>(), n);
    if constexpr (kHasFifth<kType>) return _mm512_mask_add_epi8(values, _cvtu64_mask64(fifth), values, _mm512_set1_epi8(16));
    return values;
}

inline uint64_t bits_at(const uint8_t* p) {
    uint32_t bits;
    std::memcpy(&bits, p, sizeof bits);
    return bits;
}

/// One block in the lower half; the upper half is 0 or anything, its input is 0.
template <TensorType kType>
inline __m512i load_single(const uint8_t* block) {
    if constexpr (kType == TensorType::kQ8_0) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
        return _mm512_zextsi256_si512(_mm256_xor_si256(bytes, _mm256_set1_epi8(static_cast<char>(128))));
    } else {
        constexpr int kValues = kBytes<kType> - 16;
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kValues));
        return widen_nibbles<kType>(_mm512_broadcast_i32x4(bytes), kHasFifth<kType> ? bits_at(block + kValues - 4) : 0);
    }
}

/// Two neighbouring blocks.
template <TensorType kType>
inline __m512i load_pair(const uint8_t* block) {
    if constexpr (kType == TensorType::kQ8_0) {
        const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
        const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2 + kBytes<kType>));
        return _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1), _mm512_set1_epi8(static_cast<char>(128)));
    } else {
        constexpr int kValues = kBytes<kType> - 16;
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kValues));
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kValues + kBytes<kType>));
        const __m512i bytes = _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(a), 0xff00, b);
        const uint64_t fifth = kHasFifth<kType> ? bits_at(block + kValues - 4) | bits_at(block + kValues - 4 + kBytes<kType>) << 32 : 0;
        return widen_nibbles<kType>(bytes, fifth);
    }
}

/// The scale of a block.
template <TensorType kType>
inline float block_scale(const uint8_t* block) {
    if constexpr (kType == TensorType::kMXFP4) return e8m0_half(block[0]);
    else return half_at(block);
}

/// The f16 fields of a number (0: scale, 1: minimum) of two neighbouring blocks: [a × 8, b × 8].
template <TensorType kType>
inline __m512 pair_halves(const uint8_t* block, int field) {
    // All of the 32 (64) bytes read lie inside the pair.
    constexpr short kSecond = kBytes<kType> / 2;
    if constexpr (kType == TensorType::kMXFP4) {
        return _mm512_mask_broadcastss_ps(_mm512_set1_ps(block_scale<kType>(block)), 0xff00, _mm_set_ss(block_scale<kType>(block + kBytes<kType>)));
    } else if constexpr (kType == TensorType::kQ8_0) {
        const __m512i index = _mm512_maskz_set1_epi16(0x0000ff00, kSecond);
        const __m512i words = _mm512_permutexvar_epi16(index, _mm512_loadu_si512(block));
        return _mm512_cvtph_ps(_mm512_castsi512_si256(words));
    } else {
        const auto a = static_cast<short>(field), b = static_cast<short>(kSecond + field);
        const __m256i index = _mm256_setr_epi16(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b);
        return _mm512_cvtph_ps(_mm256_permutexvar_epi16(index, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block))));
    }
}

}  // namespace
}  // namespace gs::cpu
