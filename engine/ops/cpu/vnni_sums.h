// Sums of the AVX-512 VNNI product. Private to vnni*.cpp, inside their target pragma.
#pragma once

namespace gs::cpu {
namespace {

/// Sums of the 16 lanes of four vectors.
inline __m128 sum_lanes(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 parts = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(parts), _mm512_extractf32x8_ps(parts, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

/// The exact integer sums of one pair of blocks, four values a lane. `start`: PairInput's where weights are stored 128 up, else 0.
inline __m512i pair_sums(__m512i weights, __m512i high, __m512i low, __m512i start) {
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(_mm512_dpbusd_epi32(start, weights, high), 7), weights, low);
}

}  // namespace
}  // namespace gs::cpu
