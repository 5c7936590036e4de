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

template <TensorType kType, int kQuarter>
inline __m512 add_quarter(__m512 total, const PairInput& x, const PairLanes& lanes, const uint8_t* block, __m512 scales) {
    const __m512i start = Super<kType>::kRaised != 0 ? _mm512_load_si512(lanes.start) : _mm512_setzero_si512();
    const __m512i sum = pair_sums(load_quarter<kType, kQuarter>(block), _mm512_load_si512(x.high), _mm512_load_si512(x.low), start);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), quarter_scales<Super<kType>::kRun, kQuarter>(scales), total);
}

/// Adds one super-block of a row.
template <TensorType kType>
inline __m512 add_super(__m512 total, const PairInput* x, const PairLanes* lanes, const SuperInput& super, const uint8_t* block) {
    __m512 scales = super_scales<kType>(block);
    if constexpr (kType == TensorType::kQ2_K) total = _mm512_fmadd_ps(q2_minima(block), _mm512_load_ps(super.sum16), total);
    if constexpr (kType == TensorType::kQ4_K || kType == TensorType::kQ5_K) total = _mm512_fmadd_ps(scales, _mm512_load_ps(super.sum32), total);
    scales = _mm512_mul_ps(scales, _mm512_load_ps(Super<kType>::kRun == 16 ? super.scale16 : super.scale32));
    total = add_quarter<kType, 0>(total, x[0], lanes[0], block, scales);
    total = add_quarter<kType, 1>(total, x[1], lanes[1], block, scales);
    total = add_quarter<kType, 2>(total, x[2], lanes[2], block, scales);
    return add_quarter<kType, 3>(total, x[3], lanes[3], block, scales);
}

/// One row at a time: the work of a super-block is such that reusing the input in registers gains less than one stream from memory does.
template <TensorType kType>
inline float multiply_row(const uint8_t* block, int n_blocks, const InputView& x) {
    constexpr int kBytesAhead = 2048;
    __m512 total = _mm512_setzero_ps();
    for (int b = 0; b < n_blocks; ++b, block += Super<kType>::kBytes) {
        for (int i = 0; i < Super<kType>::kBytes; i += 64) _mm_prefetch(block + kBytesAhead + i, _MM_HINT_T0);
        total = add_super<kType>(total, x.pairs + 4 * b, x.lanes + 4 * b, x.supers[b], block);
    }
    return sum_lanes(total);
}

}  // namespace

bool is_super(TensorType type) { return tensor_type_info(type).block_values == kSuper; }

void vnni_super_gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const InputView x(input, w.n_in);
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    for_super(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o, ++out) *out = multiply_row<kType>(rows + w.row_bytes * static_cast<size_t>(o), w.n_in / kSuper, x);
    });
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
