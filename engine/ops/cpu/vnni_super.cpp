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

/// Adds one super-block of some rows. The scales of a whole one take those of the input in.
template <TensorType kType, int kRows>
inline void add_super(const PairInput* x, const PairLanes* lanes, const SuperInput& super, const uint8_t* blocks, size_t row_bytes, Totals* totals) {
    using S = Super<kType>;
    OpenSuper<kType> open[kRows];
    __m512 scales[kRows];
    for (int r = 0; r < kRows; ++r) {
        const uint8_t* block = blocks + row_bytes * static_cast<size_t>(r);
        open[r].open(block);
        scales[r] = super_scales<kType>(block);
        if constexpr (kType == TensorType::kQ2_K) totals[r].minima = _mm512_fmadd_ps(q2_minima(block), _mm512_load_ps(super.sum16), totals[r].minima);
        if constexpr (kMinimaBehindScales<kType>)
            totals[r].minima = _mm512_fmadd_ps(scales[r], _mm512_load_ps(super.sum32), totals[r].minima);
        if constexpr (S::kValues == kSuper) scales[r] = _mm512_mul_ps(scales[r], _mm512_load_ps(S::kRun == 16 ? super.scale16 : super.scale32));
    }
    add_quarters<kType, kRows, 0>(x, lanes, open, scales, totals);
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

template <TensorType kType, int kRows>
inline void multiply_rows(const uint8_t* first_row, size_t row_bytes, int n_blocks, const InputView& x, float* out) {
    using S = Super<kType>;
    Totals totals[kRows];
    for (Totals& t : totals) t.turns[0] = t.turns[1] = t.minima = _mm512_setzero_ps();
    constexpr int kStepBytes = S::kBytes * kRows, kBytesAhead = 2048;
    const uint8_t* ahead = first_row + (kRows == 1 ? kBytesAhead : std::max<size_t>(2 * kRows * row_bytes, 2 * kBytesAhead));
    const uint8_t* blocks = first_row;
    for (int b = 0; b < n_blocks; ++b, blocks += S::kBytes, ahead += kStepBytes) {
        for (int i = 0; i < kStepBytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T0);
        add_super<kType, kRows>(x.pairs + S::kQuarters * b, x.lanes + S::kQuarters * b, x.supers[b * S::kValues / kSuper], blocks, row_bytes, totals);
    }
    for (int r = 0; r < kRows; ++r) out[r] = sum_lanes(totals[r].all());
}

}  // namespace

bool is_super(TensorType type) { return tensor_type_info(type).block_values > kBlock; }

void vnni_super_gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const InputView x(input, w.n_in);
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    for_super(w.type, [&]<TensorType kType>() {
        constexpr int kRows = kRowsAtOnce<kType>;
        const int n_blocks = w.n_in / Super<kType>::kValues;
        int o = row_begin;
        for (; o + kRows <= row_end; o += kRows, out += kRows)
            multiply_rows<kType, kRows>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, n_blocks, x, out);
        for (; o < row_end; ++o, ++out) multiply_rows<kType, 1>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, n_blocks, x, out);
    });
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
