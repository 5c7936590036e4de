// The integer product without VNNI: inputs rounded to 15 bits per block of 32, weights as int8 widened to int16, pairs multiplied and added.
// A sum over a block is an exact integer; scaling and sums over blocks are f32.
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/fast.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "engine/ops/cpu/fast_input-inl.h"
#include "engine/ops/cpu/kernels.h"
#include "engine/ops/rounding.h"
#include "engine/ops/cpu/unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void Prepare(const float* x, int n_in, std::byte* input) {
    const hn::CappedTag<float, kBlock / 2> d;
    const hn::RebindToSigned<decltype(d)> d32;
    const hn::Rebind<int16_t, decltype(d)> d16;
    const Input view(input, n_in);
    auto* q = const_cast<int16_t*>(view.q);
    auto *scale32 = const_cast<float*>(view.scale32), *sum32 = const_cast<float*>(view.sum32);
    auto *scale16 = const_cast<float*>(view.scale16), *sum16 = const_cast<float*>(view.sum16);
    for (int b = 0; b < n_in / kBlock; ++b, x += kBlock, q += kBlock) {
        auto top = hn::Zero(d), probe = hn::Zero(d);
        for (size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
            const auto v = hn::LoadU(d, x + i);
            top = hn::Max(top, hn::Abs(v));
            probe = hn::MulAdd(v, hn::Zero(d), probe);  // 0 times infinity or NaN: neither may be lost in the rounding
        }
        const float largest = hn::GetLane(hn::MaxOfLanes(d, top));
        const float scale = largest / kLargestRounded + hn::GetLane(hn::SumOfLanes(d, probe));
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
            scale16[2 * static_cast<size_t>(b) + h] = scale;
            sum16[2 * static_cast<size_t>(b) + h] = scale * static_cast<float>(halves[h]);
        }
        scale32[b] = scale;
        sum32[b] = scale * static_cast<float>(halves[0] + halves[1]);
    }
}

using Lanes16 = hn::CappedTag<int16_t, 16>;
using Lanes32 = hn::Repartition<int32_t, Lanes16>;
using LanesF = hn::RebindToFloat<Lanes32>;

/// The sums of a row so far. Runs take turns, because each addition waits for the one before.
struct Totals {
    hn::Vec<LanesF> turns[2];
};

/// Weights of at most 32 int8 times their inputs, pairs added.
template <class D8>
HWY_INLINE hn::Vec<Lanes32> Products(D8 d8, hn::Vec<D8> w, const int16_t* q) {
    const Lanes16 d16;
    const Lanes32 d32;
    auto odd = hn::Zero(d32);
    if constexpr (hn::MaxLanes(d8) == hn::MaxLanes(d16)) {
        return hn::ReorderWidenMulAccumulate(d32, hn::PromoteTo(d16, w), hn::LoadU(d16, q), hn::Zero(d32), odd);
    } else {
        const hn::Half<D8> half;
        const auto sum = hn::ReorderWidenMulAccumulate(d32, hn::PromoteTo(d16, hn::LowerHalf(half, w)), hn::LoadU(d16, q), hn::Zero(d32), odd);
        const auto upper = hn::PromoteTo(d16, hn::UpperHalf(half, w));
        return hn::ReorderWidenMulAccumulate(d32, upper, hn::LoadU(d16, q + hn::Lanes(d16)), sum, odd);
    }
}

HWY_INLINE void AddRun(Totals& totals, int run, hn::Vec<Lanes32> sum, float scale) {
    totals.turns[run % 2] = hn::MulAdd(hn::ConvertTo(LanesF(), sum), hn::Set(LanesF(), scale), totals.turns[run % 2]);
}

/// Adds the runs of a block whose values are in memory; scales: of weights and inputs together.
template <TensorType kType>
HWY_INLINE void AddUnpacked(const int8_t* w, const int16_t* q, const float* scales, Totals& totals) {
    using T = BlockTraits<kType>;
    const hn::Rebind<int8_t, Lanes16> d8;
#pragma GCC unroll 16
    for (int r = 0; r < T::kValues / T::kRun; ++r) {
        auto sum = hn::Zero(Lanes32());
#pragma GCC unroll 4
        for (int i = r * T::kRun; i < (r + 1) * T::kRun; i += static_cast<int>(hn::Lanes(d8))) sum = hn::Add(sum, Products(d8, hn::Load(d8, w + i), q + i));
        AddRun(totals, r, sum, scales[r]);
    }
}

/// Adds 32 values and those behind them straight from registers.
template <TensorType kType, int kGroup = 0>
HWY_INLINE void AddValues32(const uint8_t* block, const int16_t* q, const float* scales, Totals& totals) {
    const hn::CappedTag<int8_t, 32> d;
    constexpr int kRun = BlockTraits<kType>::kRun;
    const int16_t* x = q + 32 * kGroup;
    const auto values = Values32<kType, kGroup, 0>(block);
    if constexpr (hn::MaxLanes(d) < 32) {
        const auto first = Products(d, values, x), second = Products(d, Values32<kType, kGroup, 16>(block), x + 16);
        if constexpr (kRun == 32) {
            AddRun(totals, kGroup, hn::Add(first, second), scales[kGroup]);
        } else {
            AddRun(totals, 0, first, scales[2 * kGroup]);
            AddRun(totals, 1, second, scales[2 * kGroup + 1]);
        }
    } else if constexpr (kRun == 32) {
        AddRun(totals, kGroup, Products(d, values, x), scales[kGroup]);
    } else {
        const hn::Half<decltype(d)> half;
        AddRun(totals, 0, Products(half, hn::LowerHalf(half, values), x), scales[2 * kGroup]);
        AddRun(totals, 1, Products(half, hn::UpperHalf(half, values), x + 16), scales[2 * kGroup + 1]);
    }
    if constexpr (kGroup < 7) AddValues32<kType, kGroup + 1>(block, q, scales, totals);
}

/// Q4_K, the type that most files are in: 64 values straight from memory to 16 bits, two of a byte.
HWY_INLINE void AddNibbles(const uint8_t* HWY_RESTRICT bytes, const int16_t* HWY_RESTRICT q, const float* scales, Totals& totals) {
    const Lanes16 d16;
    const Lanes32 d32;
    const hn::Rebind<uint8_t, Lanes16> d8;
    const auto mask = hn::Set(d16, int16_t{15});
    auto odd = hn::Zero(d32);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g, bytes += 32, q += 64) {
        auto low = hn::Zero(d32), high = hn::Zero(d32);
#pragma GCC unroll 4
        for (size_t i = 0; i < 32; i += hn::Lanes(d16)) {
            const auto pair = hn::PromoteTo(d16, hn::LoadU(d8, bytes + i));
            low = hn::ReorderWidenMulAccumulate(d32, hn::And(pair, mask), hn::LoadU(d16, q + i), low, odd);
            high = hn::ReorderWidenMulAccumulate(d32, hn::ShiftRight<4>(pair), hn::LoadU(d16, q + 32 + i), high, odd);
        }
        AddRun(totals, 0, low, scales[2 * g]);
        AddRun(totals, 1, high, scales[2 * g + 1]);
    }
}

template <TensorType kType>
HWY_INLINE void AddSuper(const uint8_t* block, const int16_t* q, const float* scales, Totals& totals) {
    if constexpr (kType == TensorType::kQ4_K) {
        AddNibbles(block + 16, q, scales, totals);
    } else if constexpr (kHasValues32<kType>) {
        AddValues32<kType>(block, q, scales, totals);
    } else {
        alignas(32) int8_t w[BlockTraits<kType>::kValues];
        UnpackBlock<kType>(block, w);
        AddUnpacked<kType>(w, q, scales, totals);
    }
}

/// scales[i] *= x_scales[i]; the sum of min[i] x_sums[i] where there are minima.
template <bool kMin>
HWY_INLINE float JoinScales(const float* x_scales, const float* x_sums, int n, float* HWY_RESTRICT scales, const float* HWY_RESTRICT min) {
    const LanesF d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    auto minima = hn::Zero(d);
    int i = 0;
    for (; i + lanes <= n; i += lanes) {
        hn::Store(hn::Mul(hn::Load(d, scales + i), hn::LoadU(d, x_scales + i)), d, scales + i);
        if constexpr (kMin) minima = hn::MulAdd(hn::Load(d, min + i), hn::LoadU(d, x_sums + i), minima);
    }
    float rest = 0;
    for (; i < n; ++i) {
        scales[i] *= x_scales[i];
        if constexpr (kMin) rest += min[i] * x_sums[i];
    }
    if constexpr (kMin) return hn::GetLane(hn::SumOfLanes(d, minima)) + rest;
    else return 0;
}

constexpr int kBytesAhead = 2048;

HWY_INLINE float SumOf(const Totals& totals) { return hn::GetLane(hn::SumOfLanes(LanesF(), hn::Add(totals.turns[0], totals.turns[1]))); }

/// Scales are made ready for some blocks before their values are looked at: from memory they are broadcast for nothing.
template <TensorType kType>
HWY_INLINE float SuperRow(const uint8_t* row, int n_blocks, const Input& x) {
    using T = BlockTraits<kType>;
    constexpr int kRuns = T::kValues / T::kRun, kBlocksAtOnce = 64 / kRuns;
    alignas(64) float scales[kBlocksAtOnce * kRuns], min[kBlocksAtOnce * kRuns];
    Totals totals{{hn::Zero(LanesF()), hn::Zero(LanesF())}};
    float minima = 0;
    const int16_t* q = x.q;
    const float *x_scales = x.scales<T::kRun>(), *x_sums = x.sums<T::kRun>();
    for (int first = 0; first < n_blocks; first += kBlocksAtOnce) {
        const int n = std::min(kBlocksAtOnce, n_blocks - first);
        for (int b = 0; b < n; ++b) ReadScales<kType>(row + b * T::kBytes, scales + b * kRuns, min + b * kRuns);
        minima += JoinScales<T::kMin != 0>(x_scales, x_sums, n * kRuns, scales, min);
        x_scales += n * kRuns;
        x_sums += n * kRuns;
        for (int b = 0; b < n; ++b, row += T::kBytes, q += T::kValues) {
            for (int i = 0; i < T::kBytes; i += 64) hwy::Prefetch(row + kBytesAhead + i);
            AddSuper<kType>(row, q, scales + b * kRuns, totals);
        }
    }
    return SumOf(totals) + minima;
}

/// Block `b` of a row of blocks of 32.
template <TensorType kType>
HWY_INLINE void AddSmall(const uint8_t* row, int b, const Input& x, Totals& totals, float& minima) {
    using T = BlockTraits<kType>;
    const hn::Full128<int8_t> d;
    const uint8_t* block = row + b * T::kBytes;
    const int16_t* q = x.q + b * kBlock;
    float scale, min;
    ReadScales<kType>(block, &scale, &min);
    if constexpr (T::kMin != 0) minima += min * x.sum32[b];
    hn::Vec<decltype(d)> first, second;
    SmallValues<kType>(block, first, second);
    AddRun(totals, b, hn::Add(Products(d, first, q), Products(d, second, q + 16)), scale * x.scale32[b]);
}

template <TensorType kType>
HWY_INLINE float SmallRow(const uint8_t* row, int n_blocks, const Input& x) {
    constexpr int kBytes = BlockTraits<kType>::kBytes;
    Totals totals{{hn::Zero(LanesF()), hn::Zero(LanesF())}};
    float minima = 0;
    int b = 0;
    for (; b + 2 <= n_blocks; b += 2) {
        for (int i = 0; i < 2 * kBytes; i += 64) hwy::Prefetch(row + b * kBytes + kBytesAhead + i);
        AddSmall<kType>(row, b, x, totals, minima);
        AddSmall<kType>(row, b + 1, x, totals, minima);
    }
    if (b < n_blocks) AddSmall<kType>(row, b, x, totals, minima);
    return SumOf(totals) + minima;
}

void Gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const Input x(input, w.n_in);
    for_quantized(w.type, [&]<TensorType kType>() {
        constexpr int kValues = BlockTraits<kType>::kValues;
        for (int o = row_begin; o < row_end; ++o) {
            const auto* row = reinterpret_cast<const uint8_t*>(w.row(o));
            if constexpr (kValues == kBlock) out[o - row_begin] = SmallRow<kType>(row, w.n_in / kValues, x);
            else out[o - row_begin] = SuperRow<kType>(row, w.n_in / kValues, x);
        }
    });
}

void FillFastKernels(Kernels& k) {
    k.fast.input_bytes = Input::n_bytes;
    k.fast.prepare = Prepare;
    k.fast.gemv = Gemv;
}

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gs::cpu {
HWY_EXPORT(FillFastKernels);
void add_fast_kernels(Kernels& kernels, int64_t target) { GS_CALL_TARGET(FillFastKernels, target, kernels); }
}  // namespace gs::cpu
#endif
