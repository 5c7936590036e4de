// Sums of the AVX-512 VNNI product. Private to vnni*.cpp, inside their target pragma.
#pragma once

namespace gs::cpu {
namespace {

inline float sum_lanes(__m512 v) { return _mm512_reduce_add_ps(v); }

/// The exact integer sums of one pair of blocks, four values a lane. `start`: PairInput's where weights are stored 128 up, else 0.
inline __m512i pair_sums(__m512i weights, __m512i high, __m512i low, __m512i start) {
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(_mm512_dpbusd_epi32(start, weights, high), 7), weights, low);
}

/// Four bytes of an input to every lane.
inline __m512i broadcast4(const int8_t* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

}  // namespace
}  // namespace gs::cpu
