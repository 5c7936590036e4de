// The integer product without VNNI: inputs rounded to 15 bits per block of 32, weights as int8 widened to int16, pairs multiplied and added.
// A sum over a block is an exact integer; scaling and sums over blocks are f32.
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/fast.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/rounding.h"
#include "engine/ops/cpu/unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kPanelRows = 16;
/// Panel bytes of a run of values that share a scale: int16 [kRun / 2 pairs][16 rows][2], scales [16], minima [16].
template <int kRun>
constexpr int kPanelRunBytes = kRun * kPanelRows * 2 + 2 * kPanelRows * 4;

/// One token: int16 q[n], then per block the scale, then scale * Σ q (what a minimum multiplies) of every 32 values and of every 16.
struct Input {
    const int16_t* q;
    const float* scale;
    const float* sum;
    const float* sum16;
    Input(const std::byte* p, int n_in)
        : q(reinterpret_cast<const int16_t*>(p)), scale(reinterpret_cast<const float*>(p + 2 * static_cast<size_t>(n_in))),
          sum(scale + n_in / kBlock), sum16(sum + n_in / kBlock) {}
    template <int kRun>
    const float* sums() const { return kRun == 16 ? sum16 : sum; }
};

size_t InputBytes(int n_in) { return (static_cast<size_t>(n_in) * 2 + static_cast<size_t>(n_in / kBlock) * 16 + 63) / 64 * 64; }

void Prepare(const float* x, int n_in, std::byte* input) {
    const hn::CappedTag<float, kBlock / 2> d;
    const hn::RebindToSigned<decltype(d)> d32;
    const hn::Rebind<int16_t, decltype(d)> d16;
    auto* q = reinterpret_cast<int16_t*>(input);
    auto* scale = reinterpret_cast<float*>(input + 2 * static_cast<size_t>(n_in));
    float* sum = scale + n_in / kBlock;
    float* sum16 = sum + n_in / kBlock;
    for (int b = 0; b < n_in / kBlock; ++b, x += kBlock, q += kBlock) {
        auto top = hn::Zero(d), probe = hn::Zero(d);
        for (size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
            const auto v = hn::LoadU(d, x + i);
            top = hn::Max(top, hn::Abs(v));
            probe = hn::MulAdd(v, hn::Zero(d), probe);  // 0 times infinity or NaN: neither may be lost in the rounding
        }
        const float largest = hn::GetLane(hn::MaxOfLanes(d, top));
        scale[b] = largest / kLargestRounded + hn::GetLane(hn::SumOfLanes(d, probe));
        int32_t halves[2];
        for (size_t h = 0; h < 2; ++h) {
            auto total = hn::Zero(d32);
            for (size_t i = h * (kBlock / 2); i < (h + 1) * (kBlock / 2); i += hn::Lanes(d)) {
                // Infinity and NaN become the largest integers there are: held back, or their sum would overflow.
                const auto limit = hn::Set(d32, int32_t{32767});
                const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, rounding_inverse(largest))));
                const auto v = hn::Max(hn::Min(rounded, limit), hn::Neg(limit));
                total = hn::Add(total, v);
                hn::StoreU(hn::DemoteTo(d16, v), d16, q + i);
            }
            halves[h] = hn::GetLane(hn::SumOfLanes(d32, total));
            sum16[2 * static_cast<size_t>(b) + h] = scale[b] * static_cast<float>(halves[h]);
        }
        sum[b] = scale[b] * static_cast<float>(halves[0] + halves[1]);
    }
}

template <TensorType kType>
HWY_INLINE float RowProduct(const uint8_t* row, int n_blocks, const Input& x) {
    using T = BlockTraits<kType>;
    const hn::CappedTag<int16_t, T::kRun> d16;
    const hn::Rebind<int8_t, decltype(d16)> d8;
    const hn::Repartition<int32_t, decltype(d16)> d32;
    const hn::RebindToFloat<decltype(d32)> df;
    alignas(32) int8_t w[T::kValues];
    constexpr int kRuns = T::kValues / T::kRun;
    float scales[kRuns], min[kRuns];
    // Runs take turns, because each addition waits for the one before.
    hn::Vec<decltype(df)> totals[2] = {hn::Zero(df), hn::Zero(df)};
    const hn::CappedTag<float, kRuns> dr;
    auto minima = hn::Zero(dr);
    int at = 0;
    for (int b = 0; b < n_blocks; ++b, row += T::kBytes) {
        constexpr int kBytesAhead = 2048;
        for (int i = 0; i < T::kBytes; i += 64) hwy::Prefetch(row + kBytesAhead + i);
        UnpackBlock<kType>(row, w);
        ReadScales<kType>(row, scales, min);
        if constexpr (T::kMin != 0)
            for (size_t r = 0; r < kRuns; r += hn::Lanes(dr))
                minima = hn::MulAdd(hn::LoadU(dr, min + r), hn::LoadU(dr, x.sums<T::kRun>() + at / T::kRun + static_cast<int>(r)), minima);
        for (int r = 0; r < kRuns; ++r, at += T::kRun) {
            auto sum = hn::Zero(d32), odd = hn::Zero(d32);
            for (size_t i = 0; i < T::kRun; i += hn::Lanes(d16))
                sum = hn::ReorderWidenMulAccumulate(d32, hn::PromoteTo(d16, hn::Load(d8, w + r * T::kRun + i)), hn::LoadU(d16, x.q + at + i), sum, odd);
            totals[r % 2] = hn::MulAdd(hn::ConvertTo(df, sum), hn::Set(df, scales[r] * x.scale[at / kBlock]), totals[r % 2]);
        }
    }
    return hn::GetLane(hn::SumOfLanes(df, hn::Add(totals[0], totals[1]))) + hn::GetLane(hn::SumOfLanes(dr, minima));
}

void Gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const Input x(input, w.n_in);
    for_quantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o)
            out[o - row_begin] = RowProduct<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / BlockTraits<kType>::kValues, x);
    });
}

/// Enough for the short runs, which have more scales.
size_t PanelBytes(int n_in) { return static_cast<size_t>(n_in / kBlock) * 2 * kPanelRunBytes<16>; }

template <TensorType kType>
HWY_INLINE void PackRow(const uint8_t* row, int n_blocks, int row_in_panel, std::byte* panel) {
    using T = BlockTraits<kType>;
    alignas(32) int8_t w[T::kValues];
    float scales[T::kValues / T::kRun], minima[T::kValues / T::kRun] = {};
    for (int b = 0; b < n_blocks; ++b, row += T::kBytes) {
        UnpackBlock<kType>(row, w);
        ReadScales<kType>(row, scales, minima);
        for (int r = 0; r < T::kValues / T::kRun; ++r, panel += kPanelRunBytes<T::kRun>) {
            auto* pairs = reinterpret_cast<int16_t*>(panel);
            for (int i = 0; i < T::kRun; ++i) pairs[(i / 2 * kPanelRows + row_in_panel) * 2 + i % 2] = w[r * T::kRun + i];
            auto* tail = reinterpret_cast<float*>(panel + T::kRun * kPanelRows * 2);
            tail[row_in_panel] = scales[r];
            tail[kPanelRows + row_in_panel] = minima[r];
        }
    }
}

void Pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    if (row_end - row_begin < kPanelRows) std::fill_n(panel, PanelBytes(w.n_in), std::byte{0});
    for_quantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o)
            PackRow<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / BlockTraits<kType>::kValues, o - row_begin, panel);
    });
}

template <int kTokens, int kRun>
HWY_INLINE void PanelProduct(const std::byte* panel, int n_in, const std::byte* const* inputs, float* HWY_RESTRICT tile) {
    const hn::CappedTag<int32_t, kPanelRows> d32;
    const hn::Repartition<int16_t, decltype(d32)> d16;
    const hn::RebindToFloat<decltype(d32)> df;
    const int lanes = static_cast<int>(hn::Lanes(d32));
    for (int v = 0; v < kPanelRows; v += lanes) {
        hn::Vec<decltype(df)> totals[kTokens];
        for (int t = 0; t < kTokens; ++t) totals[t] = hn::Zero(df);
        const std::byte* block = panel;
        for (int at = 0; at < n_in; at += kRun, block += kPanelRunBytes<kRun>) {
            hn::Vec<decltype(d32)> sums[kTokens];
            for (int t = 0; t < kTokens; ++t) sums[t] = hn::Zero(d32);
            auto odd = hn::Zero(d32);
            const auto* pairs = reinterpret_cast<const int16_t*>(block) + 2 * v;
            for (int i = 0; i < kRun / 2; ++i) {
                const auto w = hn::Load(d16, pairs + i * kPanelRows * 2);
                for (int t = 0; t < kTokens; ++t) {
                    int32_t pair;
                    std::memcpy(&pair, inputs[t] + static_cast<size_t>(at + 2 * i) * 2, sizeof pair);
                    sums[t] = hn::ReorderWidenMulAccumulate(d32, w, hn::BitCast(d16, hn::Set(d32, pair)), sums[t], odd);
                }
            }
            const auto* scales = reinterpret_cast<const float*>(block + kRun * kPanelRows * 2);
            const auto scale = hn::Load(df, scales + v), min = hn::Load(df, scales + kPanelRows + v);
            for (int t = 0; t < kTokens; ++t) {
                const Input x(inputs[t], n_in);
                totals[t] = hn::MulAdd(hn::ConvertTo(df, sums[t]), hn::Mul(scale, hn::Set(df, x.scale[at / kBlock])), totals[t]);
                totals[t] = hn::MulAdd(min, hn::Set(df, x.sums<kRun>()[at / kRun]), totals[t]);
            }
        }
        for (int t = 0; t < kTokens; ++t) hn::Store(totals[t], df, tile + t * kPanelRows + v);
    }
}

template <int kRun>
HWY_INLINE void MultiplyPanel(const std::byte* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    constexpr int kAtOnce = 4;
    alignas(64) float tile[kAtOnce * kPanelRows];
    for (int t = 0; t < n_tokens;) {
        const int n = n_tokens - t >= kAtOnce ? kAtOnce : 1;
        if (n == kAtOnce) PanelProduct<kAtOnce, kRun>(panel, n_in, inputs + t, tile);
        else PanelProduct<1, kRun>(panel, n_in, inputs + t, tile);
        for (int i = 0; i < n; ++i) std::copy_n(tile + i * kPanelRows, n_rows, out + (t + i) * stride);
        t += n;
    }
}

void Gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    if (RunOf(w.type) == 16) MultiplyPanel<16>(panel, w.n_in, n_rows, inputs, n_tokens, out, stride);
    else MultiplyPanel<32>(panel, w.n_in, n_rows, inputs, n_tokens, out, stride);
}

void FillFastKernels(Kernels& k) { k.fast = {kPanelRows, InputBytes, Prepare, Gemv, PanelBytes, Pack, Gemm}; }

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gs::cpu {
HWY_EXPORT(FillFastKernels);
void add_fast_kernels(Kernels& kernels, int64_t target) { GS_CALL_TARGET(FillFastKernels, target, kernels); }
}  // namespace gs::cpu
#endif
