// The AVX-512 VNNI product of one token with super-blocks, read in place.
#include "engine/ops/cpu/vnni_input.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/model/block_scales.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_sums.h"
#include "engine/ops/cpu/vnni_unpack.h"
#include "engine/ops/cpu/vnni_unpack_super.h"

namespace gs::cpu {
namespace {

/// The scale of every lane of a quarter, from the scales of the block.
template <int kRun, int kQuarter>
inline __m512 quarter_scales(__m512 scales) {
    constexpr int k = 64 / kRun * kQuarter, s = kRun == 16 ? 1 : 0;  // run of lane 0; runs advance every 4 or 8 lanes
    return _mm512_permutexvar_ps(_mm512_setr_epi32(k, k, k, k, k + s, k + s, k + s, k + s, k + 1 + s, k + 1 + s, k + 1 + s, k + 1 + s, k + 1 + 2 * s,
                                                   k + 1 + 2 * s, k + 1 + 2 * s, k + 1 + 2 * s),
                                 scales);
}

/// The sums of a row so far. Quarters take turns, because each addition waits for the one before.
struct Totals {
    __m512 turns[2], minima;
    __m512 all() const { return _mm512_add_ps(_mm512_add_ps(turns[0], turns[1]), minima); }
};

/// Adds the quarters of a block of some rows, from kQuarter on.
template <TensorType kType, int kRows, int kQuarter>
inline void add_quarters(const PairInput* pairs, const PairLanes* lanes, const OpenSuper<kType>* blocks, const __m512* scales, Totals* totals) {
    using S = Super<kType>;
    const __m512i high = _mm512_load_si512(pairs[kQuarter].high), low = _mm512_load_si512(pairs[kQuarter].low);
    const __m512i start = S::kRaised != 0 ? _mm512_load_si512(lanes[kQuarter].start) : _mm512_setzero_si512();
    for (int r = 0; r < kRows; ++r) {
        __m512 sum = _mm512_cvtepi32_ps(pair_sums(blocks[r].template quarter<kQuarter>(), high, low, start));
        if constexpr (S::kValues != kSuper) sum = _mm512_mul_ps(sum, _mm512_load_ps(lanes[kQuarter].scale));
        __m512& total = totals[r].turns[kQuarter % 2];
        total = _mm512_fmadd_ps(sum, quarter_scales<S::kRun, kQuarter>(scales[r]), total);
    }
    if constexpr (kQuarter + 1 < S::kQuarters) add_quarters<kType, kRows, kQuarter + 1>(pairs, lanes, blocks, scales, totals);
}

/// Adds the products of eight values of each run. The sums of the two halves of an input stay apart until all are there: shorter chains.
template <TensorType kType, int kVector>
inline void add_vectors(const SpreadInput& x, const uint8_t* block, __m512i& high, __m512i& low) {
    const __m512i weights = spread_values<kType, kVector>(block);
    high = _mm512_dpbusd_epi32(high, weights, _mm512_load_si512(x.high[kVector]));
    low = _mm512_dpbusd_epi32(low, weights, _mm512_load_si512(x.low[kVector]));
    if constexpr (kVector < 3) add_vectors<kType, kVector + 1>(x, block, high, low);
}

/// Adds a block whose lanes meet one run each, so that only its sums meet scales.
template <TensorType kType>
inline void add_spread(const SpreadInput& x, const uint8_t* block, __m512 scales, Totals& totals) {
    __m512i high = _mm512_setzero_si512(), low = high;
    add_vectors<kType, 0>(x, block, high, low);
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
    const __m512 lane_scales = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), scales);
    totals.turns[0] = _mm512_fmadd_ps(sum, lane_scales, totals.turns[0]);
}

/// Adds one super-block of some rows. The scales of a whole one take those of the input in.
template <TensorType kType, int kRows>
inline void add_super(const InputView& x, int b, const uint8_t* blocks, size_t row_bytes, Totals* totals) {
    using S = Super<kType>;
    const SuperInput& super = x.supers[b * S::kValues / kSuper];
    OpenSuper<kType> open[kRows];
    __m512 scales[kRows];
    for (int r = 0; r < kRows; ++r) {
        const uint8_t* block = blocks + row_bytes * static_cast<size_t>(r);
        open[r].open(block);
        scales[r] = super_scales<kType>(block);
        if constexpr (kType == TensorType::kQ2_K) totals[r].minima = _mm512_fmadd_ps(q2_minima(block), _mm512_load_ps(super.sum16), totals[r].minima);
        if constexpr (kMinimaBehindScales<kType>)
            totals[r].minima = _mm512_fmadd_ps(scales[r], _mm512_load_ps(super.sum32), totals[r].minima);
        const float* input_scales = kType == TensorType::kQ4_K ? super.scale_nibbles : S::kRun == 16 ? super.scale16 : super.scale32;
        if constexpr (S::kValues == kSuper) scales[r] = _mm512_mul_ps(scales[r], _mm512_load_ps(input_scales));
        if constexpr (kHasSpread<kType>) add_spread<kType>(x.spreads[b], block, scales[r], totals[r]);
    }
    if constexpr (!kHasSpread<kType>)
        add_quarters<kType, kRows, 0>(x.pairs + S::kQuarters * b, x.lanes + S::kQuarters * b, open, scales, totals);
}

/// K types and IQ4_XS come as fast as memory does, and one stream is faster than several; the others are bound by what is done to them, and so
/// little of a row is met at a time that its steps wait for one another.
template <TensorType kType>
constexpr int kRowsAtOnce = 4;
template <> constexpr int kRowsAtOnce<TensorType::kQ2_K> = 1;
template <> constexpr int kRowsAtOnce<TensorType::kQ3_K> = 1;
template <> constexpr int kRowsAtOnce<TensorType::kQ4_K> = 1;
template <> constexpr int kRowsAtOnce<TensorType::kQ5_K> = 1;
template <> constexpr int kRowsAtOnce<TensorType::kQ6_K> = 1;
template <> constexpr int kRowsAtOnce<TensorType::kIQ4_XS> = 1;

/// The lanes' sums of some rows side by side.
template <TensorType kType, int kRows>
inline void add_rows(const uint8_t* first_row, size_t row_bytes, int n_blocks, const InputView& x, __m512* sums) {
    using S = Super<kType>;
    Totals totals[kRows];
    for (Totals& t : totals) t.turns[0] = t.turns[1] = t.minima = _mm512_setzero_ps();
    constexpr int kStepBytes = S::kBytes * kRows, kNear = kRows == 1 ? 2048 : 4096;
    const uint8_t *blocks = first_row, *stream = first_row + (kRows == 1 ? 0 : kRows * row_bytes);
    for (int b = 0; b < n_blocks; ++b, blocks += S::kBytes, stream += kStepBytes) {
        ask_ahead<kType, kStepBytes, kNear>(stream);
        add_super<kType, kRows>(x, b, blocks, row_bytes, totals);
    }
    for (int r = 0; r < kRows; ++r) sums[r] = totals[r].all();
}

/// The lanes of four rows added up at once: one after the other they would take as long as two blocks each.
inline __m128 sum_lanes_of_four(const __m512* sums) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(sums[0], sums[1]), _mm512_unpackhi_ps(sums[0], sums[1]));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(sums[2], sums[3]), _mm512_unpackhi_ps(sums[2], sums[3]));
    const __m512 parts = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(parts), _mm512_extractf32x8_ps(parts, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

template <TensorType kType>
void multiply(const uint8_t* rows, size_t row_bytes, int n_rows, int n_in, const InputView& x, float* out) {
    constexpr int kGroup = 4;
    const int n_blocks = n_in / Super<kType>::kValues;
    __m512 sums[kGroup] = {};
    for (; n_rows > 0; n_rows -= kGroup, rows += kGroup * row_bytes, out += kGroup) {
        const int n = std::min(n_rows, kGroup);
        if (kRowsAtOnce<kType> == kGroup && n == kGroup) {
            add_rows<kType, kRowsAtOnce<kType>>(rows, row_bytes, n_blocks, x, sums);
        } else {
            for (int r = 0; r < n; ++r) add_rows<kType, 1>(rows + row_bytes * static_cast<size_t>(r), row_bytes, n_blocks, x, sums + r);
        }
        _mm_mask_storeu_ps(out, static_cast<__mmask8>((1 << n) - 1), sum_lanes_of_four(sums));
    }
}

}  // namespace

bool is_super(TensorType type) { return tensor_type_info(type).block_values > kBlock; }

void vnni_super_gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const InputView x(input, w.n_in);
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    for_super(w.type, [&]<TensorType kType>() {
        multiply<kType>(rows + w.row_bytes * static_cast<size_t>(row_begin), w.row_bytes, row_end - row_begin, w.n_in, x, out);
    });
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
