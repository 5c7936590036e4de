// Sums of the AVX-512 VNNI product. Private to vnni*.cpp, inside their target pragma.
#pragma once

namespace gs::cpu {
namespace {

inline float sum_lanes(__m512 v) { return _mm512_reduce_add_ps(v); }

/// The exact integer sums of one pair of blocks, four values a lane. `start`: PairInput's where weights are stored 128 up, else 0.
inline __m512i pair_sums(__m512i weights, __m512i high, __m512i low, __m512i start) {
    return _mm512_dpbusd_epi32(_mm512_slli_epi32(_mm512_dpbusd_epi32(start, weights, high), 7), weights, low);
}

/// Types whose product keeps up with memory: what they read is asked for far ahead and into the second cache, which leaves the first cache's few
/// requests to what is read now. The others are bound by arithmetic and are better off with it near.
template <TensorType kType>
constexpr bool kKeepsUpWithMemory = kType == TensorType::kQ8_0 || kType == TensorType::kQ4_K || kType == TensorType::kQ5_K || kType == TensorType::kQ6_K;

/// Asks for kBytes of the one stream in which rows come, kAhead behind those at `now`: as many as a step takes, so that all are asked for once.
template <int kBytes, int kAhead>
inline void ask_near(const uint8_t* now) {
    for (int i = 0; i < kBytes; i += 64) _mm_prefetch(now + kAhead + i, _MM_HINT_T0);
}
template <int kBytes>
inline void ask_far(const uint8_t* now) {
    constexpr int kAhead = 8192;
    for (int i = 0; i < kBytes; i += 64) _mm_prefetch(now + kAhead + i, _MM_HINT_T1);
}
template <TensorType kType, int kBytes, int kNear>
inline void ask_ahead(const uint8_t* now) {
    if constexpr (kKeepsUpWithMemory<kType>) ask_far<kBytes>(now);
    else ask_near<kBytes, kNear>(now);
}

/// Four bytes of an input to every lane.
inline __m512i broadcast4(const int8_t* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

}  // namespace
}  // namespace gs::cpu
