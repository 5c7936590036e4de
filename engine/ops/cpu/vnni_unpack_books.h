// Blocks by code book (IQ1 to IQ3) to unsigned bytes (value + 128) and scales in AVX-512 registers. Included by vnni_unpack_super.h.
//
// A register holds 32 indices. Of short books it then holds the 32 entries they refer to, looked up in registers too: a permutation and shifts
// spread the levels of eight (four) entries over 64 bytes, one more look-up makes values of them. Entries of long books are read one by one.
#pragma once

namespace gs::cpu {
namespace {

/// Words of a table by 32 indices below kEntries.
template <size_t kEntries>
inline __m512i look_up(const uint16_t* table, __m512i index) {
    if constexpr (kEntries == 64) {
        return _mm512_permutex2var_epi16(_mm512_load_si512(table), index, _mm512_load_si512(table + 32));
    } else {
        const __m512i low = look_up<kEntries / 2>(table, index), high = look_up<kEntries / 2>(table + kEntries / 2, index);
        return _mm512_mask_mov_epi16(low, _mm512_test_epi16_mask(index, _mm512_set1_epi16(kEntries / 2)), high);
    }
}

/// Eight entries of eight bytes.
inline __m512i read_entries(const uint64_t* table, const uint16_t* index) {
    const auto two = [&](int i) {
        const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(table + index[i]));
        return _mm_castps_si128(_mm_loadh_pi(_mm_castsi128_ps(low), reinterpret_cast<const __m64*>(table + index[i + 1])));
    };
    const auto four = [&](int i) { return _mm256_set_m128i(two(i + 2), two(i)); };
    return _mm512_inserti64x4(_mm512_castsi256_si512(four(0)), four(4), 1);
}

inline __m256i load_32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m128i load_16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline __m128i load_8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }

/// Sixteen bytes to 32 nibbles, a byte each.
inline __m256i widen_to_bytes(__m128i bytes) {
    const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15)), high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
    return _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
}

/// Bytes of seven bits to eight, of which an even number is set.
inline __m256i even(__m256i seven) {
    const __m128i odd = _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0);
    const __m256i parity = _mm256_broadcastsi128_si256(odd), nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(parity, _mm256_and_si256(seven, nibble));
    const __m256i high = _mm256_shuffle_epi8(parity, _mm256_and_si256(_mm256_srli_epi16(seven, 4), nibble));
    return _mm256_ternarylogic_epi32(seven, low, high, 0x96);
}

/// Eight words of four times seven bits to 32 bytes of signs.
inline __m256i even_signs(__m256i words) {
    const auto take = [](__m256i to, __m256i from, int mask) { return _mm256_ternarylogic_epi32(to, from, _mm256_set1_epi32(mask), 0xf8); };
    __m256i seven = _mm256_and_si256(words, _mm256_set1_epi32(0x7f));
    seven = take(seven, _mm256_slli_epi32(words, 1), 0x7f00);
    seven = take(seven, _mm256_slli_epi32(words, 2), 0x7f0000);
    return even(take(seven, _mm256_slli_epi32(words, 3), 0x7f000000));
}

/// Word 0 of every four to all four of them, shifted right by 0, s, 2 s, 3 s.
inline __m512i spread_words(__m512i words, int64_t s) {
    const __m512i first = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 8, 9, 8, 9, 8, 9, 8, 9));
    return _mm512_srlv_epi16(_mm512_shuffle_epi8(words, first), _mm512_set1_epi64(s << 16 | 2 * s << 32 | 3 * s << 48));
}

template <TensorType kType>
struct OpenCodeBook {
    static constexpr bool kIq1 = kType == TensorType::kIQ1_S || kType == TensorType::kIQ1_M;
    static constexpr bool kIq3 = kType == TensorType::kIQ3_XXS || kType == TensorType::kIQ3_S;
    // From 1024 entries on, as many permutations take longer than 32 reads.
    static constexpr bool kRead = kIq1 || kType == TensorType::kIQ2_S;
    __m512i entries[kIq3 ? 2 : 1];     ///< but where they are read
    alignas(64) uint16_t indices[32];  ///< where they are read
    __m512i shifts;                    ///< IQ1: 128 + 1 or 128 - 1 in both bytes of a word for each entry
    alignas(32) uint64_t signs[4];     ///< IQ2, IQ3

    void open(const uint8_t* block) {
        if constexpr (kType == TensorType::kIQ2_XXS) {
            const __m512i codes = _mm512_loadu_si512(block + 2);
            take(0, _mm512_cvtepu8_epi16(_mm512_cvtepi64_epi32(codes)));
            set_signs(even_signs(_mm512_cvtepi64_epi32(_mm512_srli_epi64(codes, 32))));
        } else if constexpr (kType == TensorType::kIQ2_XS) {
            const __m512i codes = _mm512_loadu_si512(block + 2);
            take(0, _mm512_and_si512(codes, _mm512_set1_epi16(511)));
            set_signs(even(_mm512_cvtepi16_epi8(_mm512_srli_epi16(codes, 9))));
        } else if constexpr (kType == TensorType::kIQ2_S) {
            const __m512i high = _mm512_and_si512(spread_words(_mm512_cvtepu8_epi64(load_8(block + 66)), 2), _mm512_set1_epi16(3));
            take(0, _mm512_or_si512(_mm512_cvtepu8_epi16(load_32(block + 2)), _mm512_slli_epi16(high, 8)));
            set_signs(load_32(block + 34));
        } else if constexpr (kType == TensorType::kIQ3_XXS) {
            for (int h = 0; h < 2; ++h) take(h, _mm512_cvtepu8_epi16(load_32(block + 2 + 32 * h)));
            set_signs(even_signs(load_32(block + 66)));
        } else if constexpr (kType == TensorType::kIQ3_S) {
            for (int h = 0; h < 2; ++h) {
                const __m512i ninth = _mm512_maskz_set1_epi16(_cvtu32_mask32(load_as<uint32_t>(block + 66 + 4 * h)), 256);
                take(h, _mm512_or_si512(_mm512_cvtepu8_epi16(load_32(block + 2 + 32 * h)), ninth));
            }
            set_signs(load_32(block + 74));
        } else if constexpr (kType == TensorType::kIQ1_S) {
            const __m512i rest = _mm512_cvtepu16_epi64(load_16(block + 34));
            const __m512i high = _mm512_and_si512(spread_words(rest, 3), _mm512_set1_epi16(7));
            take(0, _mm512_or_si512(_mm512_cvtepu8_epi16(load_32(block + 2)), _mm512_slli_epi16(high, 8)));
            shifts = shifts_of(spread_words(rest, 0));
        } else {
            const __m512i four = _mm512_cvtepu8_epi16(widen_to_bytes(load_16(block + 32)));
            const __m512i high = _mm512_and_si512(four, _mm512_set1_epi16(7));
            take(0, _mm512_or_si512(_mm512_cvtepu8_epi16(load_32(block)), _mm512_slli_epi16(high, 8)));
            shifts = shifts_of(_mm512_slli_epi16(four, 12));
        }
    }

    template <int kQuarter>
    __m512i quarter() const {
        // Word i of a quarter is of entry i / 4, or i / 2 of half as long ones.
        constexpr int kWords = kIq3 ? 2 : 4, kFirst = kIq3 ? kQuarter % 2 * 16 : kQuarter * 8;
        alignas(64) static constexpr auto kEntry = [] {
            std::array<uint16_t, 32> entry{};
            for (int i = 0; i < 32; ++i) entry[static_cast<size_t>(i)] = static_cast<uint16_t>(kFirst + i / kWords);
            return entry;
        }();
        const __m512i entry = _mm512_load_si512(kEntry.data());
        const auto& book = code_book<kType>();
        if constexpr (kIq1) {
            const __m512i values = read_entries(book.bytes.data(), indices + 8 * kQuarter);
            return _mm512_add_epi8(values, _mm512_permutexvar_epi16(entry, shifts));
        } else {
            __m512i values;
            if constexpr (kRead) {
                values = _mm512_xor_si512(read_entries(book.bytes.data(), indices + 8 * kQuarter), _mm512_set1_epi8(-128));
            } else {
                const __m512i spread = _mm512_permutexvar_epi16(entry, entries[kIq3 ? kQuarter / 2 : 0]);
                const __m512i moved = _mm512_srlv_epi16(spread, kIq3 ? _mm512_set1_epi32(0x00040000) : _mm512_set1_epi64(0x0006000400020000));
                const __m512i levels = _mm512_and_si512(moved, _mm512_set1_epi8(kIq3 ? 7 : 3));
                const __m128i raised = _mm_load_si128(reinterpret_cast<const __m128i*>(book.raised.data()));
                values = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(raised), levels);
            }
            // 256 - (128 + v) is 128 - v.
            return _mm512_mask_sub_epi8(values, _cvtu64_mask64(signs[kQuarter]), _mm512_setzero_si512(), values);
        }
    }

private:
    /// 129, or 127 in words whose highest bit is set.
    static __m512i shifts_of(__m512i words) {
        return _mm512_ternarylogic_epi32(_mm512_set1_epi8(-127), _mm512_srai_epi16(words, 15), _mm512_set1_epi8(-2), 0x78);
    }
    void take(int i, __m512i index) {
        const auto& words = code_book<kType>().words;
        if constexpr (kRead) _mm512_store_si512(indices, index);
        else entries[i] = look_up<std::tuple_size_v<std::remove_cvref_t<decltype(words)>>>(words.data(), index);
    }
    void set_signs(__m256i bytes) { _mm256_store_si256(reinterpret_cast<__m256i*>(signs), bytes); }
};

/// Lane s is the scale of run s.
template <TensorType kType>
inline __m512 code_book_scales(const uint8_t* block) {
    // step (s + 1/2), exact in f32: all of these have a half of eleven bits and s of at most four.
    const auto half_up = [](__m512i s, float step) { return _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_set1_ps(step), _mm512_set1_ps(step * 0.5f)); };
    const auto nibbles = [](__m128i bytes) { return _mm512_cvtepu8_epi32(_mm256_castsi256_si128(widen_to_bytes(bytes))); };
    if constexpr (kType == TensorType::kIQ2_XXS) {
        const __m256i s = _mm512_cvtepi64_epi32(_mm512_srli_epi64(_mm512_loadu_si512(block + 2), 60));
        return half_up(_mm512_castsi256_si512(s), half_at(block) * 0.25f);
    } else if constexpr (kType == TensorType::kIQ3_XXS) {
        return half_up(_mm512_castsi256_si512(_mm256_srli_epi32(load_32(block + 66), 28)), half_at(block) * 0.5f);
    } else if constexpr (kType == TensorType::kIQ2_XS || kType == TensorType::kIQ2_S) {
        return half_up(nibbles(load_8(block + (kType == TensorType::kIQ2_XS ? 66 : 74))), half_at(block) * 0.25f);
    } else if constexpr (kType == TensorType::kIQ3_S) {
        return half_up(nibbles(_mm_cvtsi32_si128(static_cast<int>(load_as<uint32_t>(block + 106)))), half_at(block) * 2);
    } else if constexpr (kType == TensorType::kIQ1_S) {
        const __m256i s = _mm256_and_si256(_mm256_srli_epi32(_mm256_cvtepu16_epi32(load_16(block + 34)), 12), _mm256_set1_epi32(7));
        return half_up(_mm512_castsi256_si512(s), half_at(block) * 0.25f);
    } else {
        const auto words = load_as<uint64_t>(block + 48);
        const __m512i four = _mm512_cvtepu16_epi64(_mm_cvtsi64_si128(static_cast<long long>(words)));
        const __m512i lanes = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(spread_words(four, 3)));
        return half_up(_mm512_and_si512(lanes, _mm512_set1_epi32(7)), _cvtsh_ss(iq1_m_half(words)) * 0.25f);
    }
}

}  // namespace
}  // namespace gs::cpu
