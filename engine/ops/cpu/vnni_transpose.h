// Rows to columns in AVX-512 registers. Private to vnni*.cpp, inside their target pragma.
#pragma once

namespace gs::cpu {
namespace {

/// 16 x 16 words of 32 bits: word c of v[r] becomes word r of v[c]. Pairs of words, then of double words, then 128-bit parts change places.
inline void transpose(__m512i* v) {
    __m512i t[16];
    for (int i = 0; i < 8; ++i) {
        t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    // u[4 i + c], part p: column 4 p + c of rows 4 i .. 4 i + 3.
    __m512i u[16];
    for (int i = 0; i < 16; i += 4)
        for (int c = 0; c < 2; ++c) {
            u[i + 2 * c] = _mm512_unpacklo_epi64(t[i + c], t[i + 2 + c]);
            u[i + 2 * c + 1] = _mm512_unpackhi_epi64(t[i + c], t[i + 2 + c]);
        }
    for (int c = 0; c < 4; ++c) {
        const __m512i even_a = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88), even_b = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
        const __m512i odd_a = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd), odd_b = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
        v[c] = _mm512_shuffle_i32x4(even_a, even_b, 0x88);
        v[4 + c] = _mm512_shuffle_i32x4(odd_a, odd_b, 0x88);
        v[8 + c] = _mm512_shuffle_i32x4(even_a, even_b, 0xdd);
        v[12 + c] = _mm512_shuffle_i32x4(odd_a, odd_b, 0xdd);
    }
}

}  // namespace
}  // namespace gs::cpu
