// The integer product without VNNI of many tokens: rows side by side in a panel, two values of a row a lane, so that one input pair serves a whole
// vector of rows.
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/fast_panel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "engine/ops/cpu/fast_input-inl.h"
#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kPanelRows = 16;

/// Values that share a scale, of all rows of a panel.
template <int kRun>
struct PanelRun {
    alignas(64) int16_t values[kRun / 2][kPanelRows][2];
    float scale[kPanelRows], min[kPanelRows];
};

/// Enough for the short runs, which have more scales.
size_t PanelBytes(int n_in) { return static_cast<size_t>(n_in / 16) * sizeof(PanelRun<16>); }

/// Four rows of int8, `stride` apart, to columns first_row..first_row+3 of a run: four pairs of each row are a 4 x 4 matrix of 32-bit units.
template <int kRun>
HWY_INLINE void TransposeRun(const int8_t* HWY_RESTRICT rows, int stride, int first_row, PanelRun<kRun>& run) {
    const hn::Full128<int16_t> d16;
    const hn::Full128<int32_t> d32;
    const hn::Full128<int64_t> d64;
    const hn::Rebind<int8_t, decltype(d16)> d8;
#pragma GCC unroll 4
    for (int i = 0; i < kRun; i += 8) {
        const auto pairs = [&](int r) HWY_ATTR { return hn::BitCast(d32, hn::PromoteTo(d16, hn::LoadU(d8, rows + r * stride + i))); };
        const auto a = pairs(0), b = pairs(1), c = pairs(2), d = pairs(3);
        const auto ab_low = hn::BitCast(d64, hn::InterleaveLower(d32, a, b)), ab_high = hn::BitCast(d64, hn::InterleaveUpper(d32, a, b));
        const auto cd_low = hn::BitCast(d64, hn::InterleaveLower(d32, c, d)), cd_high = hn::BitCast(d64, hn::InterleaveUpper(d32, c, d));
        const auto put = [&](int pair, hn::Vec<decltype(d64)> v) HWY_ATTR { hn::Store(hn::BitCast(d16, v), d16, run.values[i / 2 + pair][first_row]); };
        put(0, hn::InterleaveLower(d64, ab_low, cd_low));
        put(1, hn::InterleaveUpper(d64, ab_low, cd_low));
        put(2, hn::InterleaveLower(d64, ab_high, cd_high));
        put(3, hn::InterleaveUpper(d64, ab_high, cd_high));
    }
}

/// A block each of four rows to columns first_row..first_row+3; a null row gives zeros.
template <TensorType kType>
HWY_INLINE void PackFour(const uint8_t* const* blocks, int first_row, PanelRun<BlockTraits<kType>::kRun>* runs) {
    using T = BlockTraits<kType>;
    constexpr int kRuns = T::kValues / T::kRun;
    alignas(32) int8_t w[4][T::kValues];
    alignas(32) float scales[4][kRuns], minima[4][kRuns];
    for (int r = 0; r < 4; ++r) {
        if (blocks[r]) {
            UnpackBlock<kType>(blocks[r], w[r]);
            ReadScales<kType>(blocks[r], scales[r], minima[r]);
        } else {
            std::fill_n(w[r], T::kValues, int8_t{0});
            std::fill_n(scales[r], kRuns, 0.0f);
            std::fill_n(minima[r], kRuns, 0.0f);
        }
    }
    for (int s = 0; s < kRuns; ++s) {
        TransposeRun<T::kRun>(w[0] + s * T::kRun, T::kValues, first_row, runs[s]);
        for (int r = 0; r < 4; ++r) {
            runs[s].scale[first_row + r] = scales[r][s];
            if constexpr (T::kMin != 0) runs[s].min[first_row + r] = minima[r][s];
        }
    }
}

/// Block after block, so that what is written of the panel is in the nearest cache while its columns come together.
template <TensorType kType>
HWY_INLINE void PackRows(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    using T = BlockTraits<kType>;
    auto* runs = reinterpret_cast<PanelRun<T::kRun>*>(panel);
    const auto* row = reinterpret_cast<const uint8_t*>(w.row(row_begin));
    const size_t next = kPanelRows * w.row_bytes;
    for (int b = 0; b < w.n_in / T::kValues; ++b, row += T::kBytes, runs += T::kValues / T::kRun)
        for (int first = 0; first < kPanelRows; first += 4) {
            const uint8_t* blocks[4];
            for (int r = 0; r < 4; ++r) {
                blocks[r] = row_begin + first + r < row_end ? row + static_cast<size_t>(first + r) * w.row_bytes : nullptr;
                if (!blocks[r]) continue;
                for (int i = 0; i < T::kBytes; i += 64) hwy::Prefetch(blocks[r] + next + i);  // of the next panel
            }
            PackFour<kType>(blocks, first, runs);
        }
}

void Pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    for_quantized(w.type, [&]<TensorType kType>() { PackRows<kType>(w, row_begin, row_end, panel); });
}

template <class V>
HWY_INLINE V Added(V sum, V products) {
#if HWY_TARGET == HWY_AVX2 && HWY_COMPILER_GCC
    // Left to itself, GCC 12 adds into the register of the products and copies back, or keeps sums in memory: down to two thirds of the speed.
    auto raw = sum.raw;
    asm("vpaddd %1, %0, %0" : "+x"(raw) : "x"(products.raw));
    return V{raw};
#else
    return hn::Add(sum, products);
#endif
}

constexpr int kTokensAtOnce = 4;
constexpr int kPartValues = 256;        // of a panel, which stays in the nearest cache while all tokens pass it

/// Adds runs begin..end-1 of kVectors vectors of rows from `first_row` on to tile[t]. Vectors share each broadcast of an input, tokens each load
/// of weights: as many sums as half of 16 registers hold.
template <int kTokens, int kVectors, int kRun, bool kMin>
HWY_INLINE void AddRuns(const PanelRun<kRun>* panel, int begin, int end, int first_row, const Input* inputs, float (*HWY_RESTRICT tile)[kPanelRows]) {
    const hn::CappedTag<int32_t, kPanelRows> d32;
    const hn::Repartition<int16_t, decltype(d32)> d16;
    const hn::RebindToFloat<decltype(d32)> df;
    const int lanes = static_cast<int>(hn::Lanes(d32));
    for (int run = begin; run < end; ++run) {
        hn::Vec<decltype(d32)> sums[kTokens][kVectors];
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) sums[t][v] = hn::Zero(d32);
        auto odd = hn::Zero(d32);  // stays zero on these instruction sets
        const int16_t* weights = panel[run].values[0][first_row];
#pragma GCC unroll 4
        for (int i = 0; i < kRun / 2; ++i) {
            hn::Vec<decltype(d16)> w[kVectors];
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) w[v] = hn::Load(d16, weights + i * kPanelRows * 2 + 2 * v * lanes);
#pragma GCC unroll 4
            for (int t = 0; t < kTokens; ++t) {
                const auto x = hn::BitCast(d16, hn::Set(d32, load_as<int32_t>(inputs[t].q + run * kRun + 2 * i)));
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) sums[t][v] = Added(sums[t][v], hn::ReorderWidenMulAccumulate(d32, w[v], x, hn::Zero(d32), odd));
            }
        }
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
            const auto scale = hn::Set(df, inputs[t].template scales<kRun>()[run]);
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const int row = first_row + v * lanes;
                auto total = hn::MulAdd(hn::ConvertTo(df, sums[t][v]), hn::Mul(hn::Load(df, panel[run].scale + row), scale), hn::Load(df, tile[t] + row));
                if constexpr (kMin)
                    total = hn::MulAdd(hn::Load(df, panel[run].min + row), hn::Set(df, inputs[t].template sums<kRun>()[run]), total);
                hn::Store(total, df, tile[t] + row);
            }
        }
    }
}

template <int kTokens, int kRun, bool kMin>
HWY_INLINE void AddPart(const PanelRun<kRun>* panel, int begin, int end, const Input* inputs, float (*HWY_RESTRICT tile)[kPanelRows]) {
    const hn::CappedTag<int32_t, kPanelRows> d32;
    constexpr int kVectors = hn::MaxLanes(d32) >= kPanelRows ? 1 : 2;
    for (int row = 0; row < kPanelRows; row += kVectors * static_cast<int>(hn::Lanes(d32)))
        AddRuns<kTokens, kVectors, kRun, kMin>(panel, begin, end, row, inputs, tile);
}

template <int kRun, bool kMin>
void MultiplyPanel(const std::byte* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    constexpr int kTokens = 32;         // per pass over the panel
    const auto* runs = reinterpret_cast<const PanelRun<kRun>*>(panel);
    const int n_runs = n_in / kRun;
    alignas(64) float tile[kTokens][kPanelRows];
    for (int first = 0; first < n_tokens; first += kTokens) {
        const int n = std::min(kTokens, n_tokens - first);
        Input views[kTokens];
        for (int t = 0; t < n; ++t) views[t] = Input(inputs[first + t], n_in);
        std::fill_n(tile[0], n * kPanelRows, 0.0f);
        for (int begin = 0; begin < n_runs; begin += kPartValues / kRun) {
            const int end = std::min(begin + kPartValues / kRun, n_runs);
            int t = 0;
            for (; t + kTokensAtOnce <= n; t += kTokensAtOnce) AddPart<kTokensAtOnce, kRun, kMin>(runs, begin, end, views + t, tile + t);
            for (; t + 2 <= n; t += 2) AddPart<2, kRun, kMin>(runs, begin, end, views + t, tile + t);
            if (t < n) AddPart<1, kRun, kMin>(runs, begin, end, views + t, tile + t);
        }
        for (int t = 0; t < n; ++t) std::copy_n(tile[t], n_rows, out + (first + t) * stride);
    }
}

void Gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    for_quantized(w.type, [&]<TensorType kType>() {
        using T = BlockTraits<kType>;
        MultiplyPanel<T::kRun, T::kMin != 0>(panel, w.n_in, n_rows, inputs, n_tokens, out, stride);
    });
}

void FillFastPanelKernels(Kernels& k) {
    k.fast.panel_rows = kPanelRows;
    k.fast.panel_bytes = PanelBytes;
    k.fast.pack = Pack;
    k.fast.gemm = Gemm;
}

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gs::cpu {
HWY_EXPORT(FillFastPanelKernels);
void add_fast_panel_kernels(Kernels& kernels, int64_t target) { GS_CALL_TARGET(FillFastPanelKernels, target, kernels); }
}  // namespace gs::cpu
#endif
