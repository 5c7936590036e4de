// Panels times tokens with AVX-512 VNNI. The values of a row are met in parts that fit the innermost cache together with what a few tokens have of
// them, so that a panel comes from the next cache once for all tokens and not once for every four.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/model/block_scales.h"
#include "engine/ops/cpu/vnni_panel.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_sums.h"
#include "engine/ops/cpu/vnni_unpack.h"
#include "engine/ops/cpu/vnni_unpack_super.h"

namespace gs::cpu {
namespace {

constexpr int kPartValues = 256;
constexpr int kTokensAtOnce = 4;    // times two halves, each with a sum of low and one of high products: half of the registers

/// Adds runs begin..end-1 to tile[t][32]. Both halves share each broadcast of an input, all tokens each vector of weights.
template <int kTokens, int kHalves, int kRun, bool kMin>
inline void add_runs(const PanelRun<kRun>* panel, int begin, int end, const InputView* inputs, float (*tile)[kVnniPanelRows]) {
    __m512 totals[kTokens][kHalves];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
        for (int h = 0; h < kHalves; ++h) totals[t][h] = _mm512_load_ps(tile[t] + h * kHalf);
    for (int run = begin; run < end; ++run) {
        __m512i low[kTokens][kHalves], high[kTokens][kHalves];
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
            const RunInput& x = inputs[t].runs<kRun>()[run];
#pragma GCC unroll 2
            for (int h = 0; h < kHalves; ++h) {
                low[t][h] = _mm512_set1_epi32(x.start);
                high[t][h] = _mm512_setzero_si512();
            }
        }
        const int pair = run * kRun / 64, first = run * kRun % 64;
#pragma GCC unroll 8
        for (int g = 0; g < kRun / 4; ++g) {
            __m512i w[kHalves];
#pragma GCC unroll 2
            for (int h = 0; h < kHalves; ++h) w[h] = _mm512_load_si512(panel[run].values[h][g]);
#pragma GCC unroll 4
            for (int t = 0; t < kTokens; ++t) {
                const __m512i xh = broadcast4(inputs[t].pairs[pair].high + first + 4 * g);
#pragma GCC unroll 2
                for (int h = 0; h < kHalves; ++h) high[t][h] = _mm512_dpbusd_epi32(high[t][h], w[h], xh);
                const __m512i xl = broadcast4(inputs[t].pairs[pair].low + first + 4 * g);
#pragma GCC unroll 2
                for (int h = 0; h < kHalves; ++h) low[t][h] = _mm512_dpbusd_epi32(low[t][h], w[h], xl);
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
            const RunInput& x = inputs[t].runs<kRun>()[run];
            const __m512 scale = _mm512_set1_ps(x.scale);
#pragma GCC unroll 2
            for (int h = 0; h < kHalves; ++h) {
                const __m512i sum = _mm512_add_epi32(low[t][h], _mm512_slli_epi32(high[t][h], 7));
                totals[t][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(_mm512_load_ps(panel[run].scale[h]), scale), totals[t][h]);
                if constexpr (kMin) totals[t][h] = _mm512_fmadd_ps(_mm512_load_ps(panel[run].min[h]), _mm512_set1_ps(x.sum), totals[t][h]);
            }
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
        for (int h = 0; h < kHalves; ++h) _mm512_store_ps(tile[t] + h * kHalf, totals[t][h]);
}

template <int kHalves, int kRun, bool kMin>
void multiply_tokens(const std::byte* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    constexpr int kTokens = 32;      // per pass over the panel
    const auto* runs = reinterpret_cast<const PanelRun<kRun>*>(panel);
    alignas(64) float tile[kTokens][kVnniPanelRows];
    for (int first = 0; first < n_tokens; first += kTokens) {
        const int n = std::min(kTokens, n_tokens - first), n_runs = n_in / kRun;
        InputView views[kTokens];
        for (int t = 0; t < n; ++t) views[t] = InputView(inputs[first + t], n_in);
        std::memset(tile, 0, sizeof(tile[0]) * static_cast<size_t>(n));
        for (int begin = 0; begin < n_runs; begin += kPartValues / kRun) {
            const int end = std::min(begin + kPartValues / kRun, n_runs);
            int t = 0;
            for (; t + kTokensAtOnce <= n; t += kTokensAtOnce) add_runs<kTokensAtOnce, kHalves, kRun, kMin>(runs, begin, end, views + t, tile + t);
            for (; t < n; ++t) add_runs<1, kHalves, kRun, kMin>(runs, begin, end, views + t, tile + t);
        }
        for (int t = 0; t < n; ++t) std::memcpy(out + (first + t) * stride, tile[t], sizeof(float) * static_cast<size_t>(n_rows));
    }
}

/// Rows that fill half a panel skip the other half.
template <int kRun, bool kMin>
void multiply_rows(const std::byte* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    const auto multiply = n_rows > kHalf ? multiply_tokens<2, kRun, kMin> : multiply_tokens<1, kRun, kMin>;
    multiply(panel, n_in, n_rows, inputs, n_tokens, out, stride);
}

}  // namespace

void vnni_gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    if (is_super(w.type))
        for_super(w.type, [&]<TensorType kType>() {
            multiply_rows<Super<kType>::kRun, kSuperHasMin<kType>>(panel, w.n_in, n_rows, inputs, n_tokens, out, stride);
        });
    else
        for_small(w.type, [&]<TensorType kType>() { multiply_rows<32, kHasMin<kType>>(panel, w.n_in, n_rows, inputs, n_tokens, out, stride); });
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
