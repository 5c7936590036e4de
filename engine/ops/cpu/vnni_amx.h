// Panels times prompts with AMX tiles (EmulatedTiles or those of vnni_amx.cpp). Private to vnni_amx*.cpp, inside their target pragma.
//
// 16 tokens are the rows of an input tile; 4-byte groups of 16 panel rows are, as panels hold them, a weight tile. A run (the values with one
// scale) takes two products, with the high and the low bytes of the inputs, whose sums go through memory into vectors: there the arithmetic and
// its order are those of vnni_gemm.cpp, and so are the results, to the bit.
#pragma once

#include "engine/ops/cpu/amx_tiles.h"
#include "engine/ops/cpu/vnni_panel.h"
#include "engine/ops/cpu/vnni_unpack.h"
#include "engine/ops/cpu/vnni_unpack_super.h"

namespace gs::cpu {
namespace {

constexpr int kTokens = kTileRows;
/// Fewer are multiplied sooner by vnni_gemm: a product takes as long with rows of zeros.
constexpr int kFewestTokens = 5;
/// Of 16 tokens and 32 rows about what the innermost cache holds, and enough runs that filling and draining the pipeline is a small part.
constexpr int kPartValues = 512;

// Tiles: sums of high and of low products, of even runs and of odd ones; inputs, high and low; weights of even runs and of odd ones.
constexpr int kSumTile = 0, kInputTile = 4, kWeightTile = 6;
template <int kRun>
constexpr TileConfig kConfig{{{{kTokens, 64}, {kTokens, 64}, {kTokens, 64}, {kTokens, 64}, {kTokens, kRun}, {kTokens, kRun}, {kRun / 4, 64}, {kRun / 4, 64}}}};

/// A part of the values of 16 tokens.
struct InputPart {
    PairInput pairs[kPartValues / 64][kTokens];
    RunInput runs[kTokens][kPartValues / 16];
};

/// Products of one run, [high, low][tokens][rows].
struct alignas(64) RunSums {
    int32_t values[2][kTokens][kHalf];
};

/// Copies what some tokens have of runs begin..begin+n-1, so that a tile's rows are at one distance whichever tokens an expert has. Of the other
/// tokens the part stays as it is.
template <int kRun>
inline void copy_part(const InputView* inputs, int n_tokens, int begin, int n_runs, InputPart& part) {
    const int first = begin * kRun / 64, n_pairs = (n_runs * kRun + 63) / 64;
    for (int t = 0; t < n_tokens; ++t) {
        for (int p = 0; p < n_pairs; ++p) {
            const PairInput& from = inputs[t].pairs[first + p];
            _mm512_store_si512(part.pairs[p][t].high, _mm512_load_si512(from.high));
            _mm512_store_si512(part.pairs[p][t].low, _mm512_load_si512(from.low));
        }
        std::memcpy(part.runs[t], inputs[t].runs<kRun>() + begin, sizeof(RunInput) * static_cast<size_t>(n_runs));
    }
}

template <int kTurn, class Tiles, int kRun>
inline void multiply_run(Tiles& tiles, const PanelRun<kRun>& weights, int half, const InputPart& part, int run) {
    constexpr int kHigh = kSumTile + 2 * kTurn, kLow = kHigh + 1, kWeights = kWeightTile + kTurn;
    const PairInput* pairs = part.pairs[run * kRun / 64];
    const int first = run * kRun % 64;
    tiles.template load<kWeights>(weights.values[half], sizeof(weights.values[half][0]));
    tiles.template load<kInputTile>(pairs->high + first, sizeof(PairInput));
    tiles.template zero<kHigh>();
    tiles.template multiply<kHigh, kInputTile, kWeights>();
    tiles.template load<kInputTile + 1>(pairs->low + first, sizeof(PairInput));
    tiles.template zero<kLow>();
    tiles.template multiply<kLow, kInputTile + 1, kWeights>();
}

template <int kTurn, class Tiles>
inline void store_sums(Tiles& tiles, RunSums& sums) {
    tiles.template store<kSumTile + 2 * kTurn>(sums.values[0], sizeof(sums.values[0][0]));
    tiles.template store<kSumTile + 2 * kTurn + 1>(sums.values[1], sizeof(sums.values[1][0]));
}

/// Scales a run's sums and adds them.
template <bool kMin, int kRun>
inline void add_sums(const RunSums& sums, const PanelRun<kRun>& weights, int half, const InputPart& part, int run, __m512* totals) {
    const __m512 scale = _mm512_load_ps(weights.scale[half]), min = kMin ? _mm512_load_ps(weights.min[half]) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
        const RunInput& x = part.runs[t][run];
        const __m512i low = _mm512_add_epi32(_mm512_load_si512(sums.values[1][t]), _mm512_set1_epi32(x.start));
        const __m512i sum = _mm512_add_epi32(low, _mm512_slli_epi32(_mm512_load_si512(sums.values[0][t]), 7));
        totals[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale, _mm512_set1_ps(x.scale)), totals[t]);
        if constexpr (kMin) totals[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(x.sum), totals[t]);
    }
}

/// One step of the pipeline: products of a run are begun, those of the run before stored, and the ones before that, by then in memory, added.
template <int kTurn, bool kMin, class Tiles, int kRun>
inline void step(Tiles& tiles, const PanelRun<kRun>* panel, int half, const InputPart& part, int run, int n_runs, RunSums* sums, __m512* totals) {
    if (run < n_runs) multiply_run<kTurn>(tiles, panel[run], half, part, run);
    if (run >= 1 && run <= n_runs) store_sums<1 - kTurn>(tiles, sums[1 - kTurn]);
    if (run >= 2 && run < n_runs + 2) add_sums<kMin>(sums[kTurn], panel[run - 2], half, part, run - 2, totals);
}

/// Adds the runs of a part to tile[t][16 of 32].
template <bool kMin, class Tiles, int kRun>
void add_part(Tiles& tiles, const PanelRun<kRun>* panel, int half, const InputPart& part, int n_runs, float (*tile)[kVnniPanelRows]) {
    RunSums sums[2];
    __m512 totals[kTokens];
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) totals[t] = _mm512_load_ps(tile[t] + half * kHalf);
    for (int run = 0; run < n_runs + 2; run += 2) {
        step<0, kMin>(tiles, panel, half, part, run, n_runs, sums, totals);
        step<1, kMin>(tiles, panel, half, part, run + 1, n_runs, sums, totals);
    }
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) _mm512_store_ps(tile[t] + half * kHalf, totals[t]);
}

/// Tiles are configured for a call: about 200 cycles, of thousands that it takes. When it ends they are given back, so that the system need not
/// save them.
template <class Tiles, int kRun, bool kMin>
void multiply_tokens(const std::byte* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    constexpr int kPartRuns = kPartValues / kRun;
    const auto* runs = reinterpret_cast<const PanelRun<kRun>*>(panel);
    const int n_runs = n_in / kRun, n_halves = n_rows > kHalf ? 2 : 1;
    Tiles tiles(kConfig<kRun>);
    InputPart part;
    alignas(64) float tile[kTokens][kVnniPanelRows];
    for (int first = 0; first < n_tokens; first += kTokens) {
        const int n = std::min(kTokens, n_tokens - first);
        InputView views[kTokens];
        for (int t = 0; t < n; ++t) views[t] = InputView(inputs[first + t], n_in);
        if (n < kTokens) std::memset(static_cast<void*>(&part), 0, sizeof part);
        std::memset(tile, 0, sizeof tile);
        for (int begin = 0; begin < n_runs; begin += kPartRuns) {
            const int n_part = std::min(kPartRuns, n_runs - begin);
            copy_part<kRun>(views, n, begin, n_part, part);
            for (int half = 0; half < n_halves; ++half) add_part<kMin>(tiles, runs + begin, half, part, n_part, tile);
        }
        for (int t = 0; t < n; ++t) std::memcpy(out + (first + t) * stride, tile[t], sizeof(float) * static_cast<size_t>(n_rows));
    }
}

/// MatmulKernels::gemm, for panels of vnni_pack and vnni_pack_tiles.
template <class Tiles>
void multiply(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    const int n = n_tokens % kTokens < kFewestTokens ? n_tokens / kTokens * kTokens : n_tokens;
    if (n > 0 && is_super(w.type))
        for_super(w.type, [&]<TensorType kType>() {
            multiply_tokens<Tiles, Super<kType>::kRun, kSuperHasMin<kType>>(panel, w.n_in, n_rows, inputs, n, out, stride);
        });
    else if (n > 0)
        for_small(w.type, [&]<TensorType kType>() { multiply_tokens<Tiles, 32, kHasMin<kType>>(panel, w.n_in, n_rows, inputs, n, out, stride); });
    if (n < n_tokens) vnni_gemm(panel, w, n_rows, inputs + n, n_tokens - n, out + n * stride, stride);
}

}  // namespace
}  // namespace gs::cpu
