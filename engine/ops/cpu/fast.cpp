// The integer product without VNNI: inputs rounded to 15 bits per block of 32, weights as int8 widened to int16, pairs multiplied and added.
// A sum over a block is an exact integer; scaling and sums over blocks are f32.
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/fast.cpp"
#include <hwy/foreach_target.h>
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
constexpr int kPanelBlockBytes = kBlock * kPanelRows * 2 + 2 * kPanelRows * 4;  // int16 [16 pairs][16 rows][2], scales [16], minima [16]

/// One token: int16 q[n], then per block the scale, then scale * Σ q (what a block's minimum multiplies).
struct Input {
    const int16_t* q;
    const float* scale;
    const float* sum;
    Input(const std::byte* p, int n_in)
        : q(reinterpret_cast<const int16_t*>(p)), scale(reinterpret_cast<const float*>(p + 2 * static_cast<size_t>(n_in))),
          sum(scale + n_in / kBlock) {}
};

size_t InputBytes(int n_in) { return (static_cast<size_t>(n_in) * 2 + static_cast<size_t>(n_in / kBlock) * 8 + 63) / 64 * 64; }

void Prepare(const float* x, int n_in, std::byte* input) {
    const hn::CappedTag<float, kBlock> d;
    const hn::RebindToSigned<decltype(d)> d32;
    const hn::Rebind<int16_t, decltype(d)> d16;
    auto* q = reinterpret_cast<int16_t*>(input);
    auto* scale = reinterpret_cast<float*>(input + 2 * static_cast<size_t>(n_in));
    float* sum = scale + n_in / kBlock;
    for (int b = 0; b < n_in / kBlock; ++b, x += kBlock, q += kBlock) {
        auto top = hn::Zero(d), probe = hn::Zero(d);
        for (size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
            const auto v = hn::LoadU(d, x + i);
            top = hn::Max(top, hn::Abs(v));
            probe = hn::MulAdd(v, hn::Zero(d), probe);  // 0 times infinity or NaN: neither may be lost in the rounding
        }
        const float largest = hn::GetLane(hn::MaxOfLanes(d, top));
        auto total = hn::Zero(d32);
        for (size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
            // Infinity and NaN become the largest integers there are: held back, or their sum would overflow.
            const auto limit = hn::Set(d32, int32_t{32767});
            const auto rounded = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, rounding_inverse(largest))));
            const auto v = hn::Max(hn::Min(rounded, limit), hn::Neg(limit));
            total = hn::Add(total, v);
            hn::StoreU(hn::DemoteTo(d16, v), d16, q + i);
        }
        scale[b] = largest / kLargestRounded + hn::GetLane(hn::SumOfLanes(d, probe));
        sum[b] = scale[b] * static_cast<float>(hn::GetLane(hn::SumOfLanes(d32, total)));
    }
}

template <TensorType kType>
HWY_INLINE float RowProduct(const uint8_t* row, int n_blocks, const Input& x) {
    const hn::CappedTag<int16_t, kBlock> d16;
    const hn::Rebind<int8_t, decltype(d16)> d8;
    const hn::Repartition<int32_t, decltype(d16)> d32;
    const hn::RebindToFloat<decltype(d32)> df;
    alignas(32) int8_t w[kBlock];
    auto total = hn::Zero(df);
    float minima = 0;
    for (int b = 0; b < n_blocks; ++b, row += BlockTraits<kType>::kBytes) {
        UnpackBlock<kType>(row, w);
        auto sum = hn::Zero(d32), odd = hn::Zero(d32);
        for (size_t i = 0; i < kBlock; i += hn::Lanes(d16))
            sum = hn::ReorderWidenMulAccumulate(d32, hn::PromoteTo(d16, hn::Load(d8, w + i)), hn::LoadU(d16, x.q + b * kBlock + i), sum, odd);
        total = hn::MulAdd(hn::ConvertTo(df, sum), hn::Set(df, BlockScale<kType>(row) * x.scale[b]), total);
        if constexpr (BlockTraits<kType>::kMin != 0) minima += BlockMin<kType>(row) * x.sum[b];
    }
    return hn::GetLane(hn::SumOfLanes(df, total)) + minima;
}

void Gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const Input x(input, w.n_in);
    ForQuantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o)
            out[o - row_begin] = RowProduct<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, x);
    });
}

size_t PanelBytes(int n_in) { return static_cast<size_t>(n_in / kBlock) * kPanelBlockBytes; }

template <TensorType kType>
HWY_INLINE void PackRow(const uint8_t* row, int n_blocks, int r, std::byte* panel) {
    alignas(32) int8_t w[kBlock];
    for (int b = 0; b < n_blocks; ++b, row += BlockTraits<kType>::kBytes, panel += kPanelBlockBytes) {
        UnpackBlock<kType>(row, w);
        auto* pairs = reinterpret_cast<int16_t*>(panel);
        for (int i = 0; i < kBlock; ++i) pairs[(i / 2 * kPanelRows + r) * 2 + i % 2] = w[i];
        auto* scales = reinterpret_cast<float*>(panel + kBlock * kPanelRows * 2);
        scales[r] = BlockScale<kType>(row);
        scales[kPanelRows + r] = BlockMin<kType>(row);
    }
}

void Pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    if (row_end - row_begin < kPanelRows) std::fill_n(panel, PanelBytes(w.n_in), std::byte{0});
    ForQuantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o)
            PackRow<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, o - row_begin, panel);
    });
}

template <int kTokens>
HWY_INLINE void PanelProduct(const std::byte* panel, int n_in, const std::byte* const* inputs, float* HWY_RESTRICT tile) {
    const hn::CappedTag<int32_t, kPanelRows> d32;
    const hn::Repartition<int16_t, decltype(d32)> d16;
    const hn::RebindToFloat<decltype(d32)> df;
    const int lanes = static_cast<int>(hn::Lanes(d32));
    for (int v = 0; v < kPanelRows; v += lanes) {
        hn::Vec<decltype(df)> totals[kTokens];
        for (int t = 0; t < kTokens; ++t) totals[t] = hn::Zero(df);
        const std::byte* block = panel;
        for (int b = 0; b < n_in / kBlock; ++b, block += kPanelBlockBytes) {
            hn::Vec<decltype(d32)> sums[kTokens];
            for (int t = 0; t < kTokens; ++t) sums[t] = hn::Zero(d32);
            auto odd = hn::Zero(d32);
            const auto* pairs = reinterpret_cast<const int16_t*>(block) + 2 * v;
            for (int i = 0; i < kBlock / 2; ++i) {
                const auto w = hn::Load(d16, pairs + i * kPanelRows * 2);
                for (int t = 0; t < kTokens; ++t) {
                    int32_t pair;
                    std::memcpy(&pair, inputs[t] + static_cast<size_t>(b * kBlock + 2 * i) * 2, sizeof pair);
                    sums[t] = hn::ReorderWidenMulAccumulate(d32, w, hn::BitCast(d16, hn::Set(d32, pair)), sums[t], odd);
                }
            }
            const auto* scales = reinterpret_cast<const float*>(block + kBlock * kPanelRows * 2);
            const auto scale = hn::Load(df, scales + v), min = hn::Load(df, scales + kPanelRows + v);
            for (int t = 0; t < kTokens; ++t) {
                const Input x(inputs[t], n_in);
                totals[t] = hn::MulAdd(hn::ConvertTo(df, sums[t]), hn::Mul(scale, hn::Set(df, x.scale[b])), totals[t]);
                totals[t] = hn::MulAdd(min, hn::Set(df, x.sum[b]), totals[t]);
            }
        }
        for (int t = 0; t < kTokens; ++t) hn::Store(totals[t], df, tile + t * kPanelRows + v);
    }
}

void Gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    constexpr int kAtOnce = 4;
    alignas(64) float tile[kAtOnce * kPanelRows];
    for (int t = 0; t < n_tokens;) {
        const int n = n_tokens - t >= kAtOnce ? kAtOnce : 1;
        if (n == kAtOnce) PanelProduct<kAtOnce>(panel, w.n_in, inputs + t, tile);
        else PanelProduct<1>(panel, w.n_in, inputs + t, tile);
        for (int i = 0; i < n; ++i) std::copy_n(tile + i * kPanelRows, n_rows, out + (t + i) * stride);
        t += n;
    }
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
