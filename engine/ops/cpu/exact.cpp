// The f32 product: weights of any type are dequantized as they are read, then multiplied and summed in f32.
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/exact.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/tile-inl.h"
#include "engine/ops/cpu/unpack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

constexpr int kPanelRows = kTileColumns;
constexpr int kPiece = 256;  // values dequantized at a time: the longest block, and 1 KB, which stays in the first-level cache

template <TensorType kType>
HWY_INLINE void DequantizeBlocks(const uint8_t* p, int n_blocks, float* HWY_RESTRICT out) {
    using T = BlockTraits<kType>;
    const hn::CappedTag<float, 16> d;
    const hn::Rebind<int8_t, decltype(d)> d8;
    const hn::Rebind<int32_t, decltype(d)> d32;
    alignas(32) int8_t q[T::kValues];
    float scales[T::kValues / T::kRun], minima[T::kValues / T::kRun];
    for (int b = 0; b < n_blocks; ++b, p += T::kBytes, out += T::kValues) {
        UnpackBlock<kType>(p, q);
        ReadScales<kType>(p, scales, minima);
        for (size_t i = 0; i < T::kValues; i += hn::Lanes(d)) {
            auto v = hn::Mul(hn::Set(d, scales[i / T::kRun]), hn::ConvertTo(d, hn::PromoteTo(d32, hn::Load(d8, q + i))));
            if constexpr (T::kMin != 0) v = hn::Add(v, hn::Set(d, minima[i / T::kRun]));
            hn::StoreU(v, d, out + i);
        }
    }
}

template <class H>
HWY_INLINE void WidenHalves(const uint8_t* p, int n, float* HWY_RESTRICT out) {
    const D d;
    const hn::Rebind<H, D> dh;
    const int lanes = static_cast<int>(hn::Lanes(d));
    alignas(64) H piece[hn::MaxLanes(D())];
    for (int i = 0; i < n; i += lanes) {
        const int count = std::min(lanes, n - i);
        std::memcpy(piece, p + 2 * static_cast<size_t>(i), 2 * static_cast<size_t>(count));
        alignas(64) float wide[hn::MaxLanes(D())];
        hn::Store(hn::PromoteTo(d, hn::Load(dh, piece)), d, wide);
        std::memcpy(out + i, wide, sizeof(float) * static_cast<size_t>(count));
    }
}

/// Values first..first+n-1 of a row, first a multiple of kPiece, to out.
HWY_INLINE void DequantizePiece(TensorType type, const std::byte* row, int first, int n, float* HWY_RESTRICT out) {
    const auto* p = reinterpret_cast<const uint8_t*>(row);
    switch (type) {
        case TensorType::kF32: std::memcpy(out, p + 4 * static_cast<size_t>(first), 4 * static_cast<size_t>(n)); return;
        case TensorType::kF16: return WidenHalves<hwy::float16_t>(p + 2 * static_cast<size_t>(first), n, out);
        case TensorType::kBF16: return WidenHalves<hwy::bfloat16_t>(p + 2 * static_cast<size_t>(first), n, out);
        default:
            for_quantized(type, [&]<TensorType kType>() {
                using T = BlockTraits<kType>;
                DequantizeBlocks<kType>(p + static_cast<size_t>(first / T::kValues) * T::kBytes, n / T::kValues, out);
            });
    }
}

void Dequantize(const Weight& w, int row, int slab, float* out) {
    for (int i = 0; i < w.n_in; i += kPiece) DequantizePiece(w.type, w.row(row, slab), i, std::min(kPiece, w.n_in - i), out + i);
}

size_t InputBytes(int n_in) { return (static_cast<size_t>(n_in) * sizeof(float) + 63) / 64 * 64; }
void Prepare(const float* x, int n_in, std::byte* input) { std::memcpy(input, x, static_cast<size_t>(n_in) * sizeof(float)); }

void Gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const auto* x = reinterpret_cast<const float*>(input);
    alignas(64) float buffer[kPiece];
    for (int o = row_begin; o < row_end; ++o) {
        const std::byte* row = w.row(o);
        auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
        float tail = 0;
        for (int first = 0; first < w.n_in; first += kPiece) {
            const int n = std::min(kPiece, w.n_in - first);
            const float* v = buffer;
            if (w.type == TensorType::kF32) v = reinterpret_cast<const float*>(row) + first;
            else DequantizePiece(w.type, row, first, n, buffer);
            int i = 0;
            for (; i + 4 * lanes <= n; i += 4 * lanes) {
                s0 = hn::MulAdd(hn::LoadU(d, v + i), hn::LoadU(d, x + first + i), s0);
                s1 = hn::MulAdd(hn::LoadU(d, v + i + lanes), hn::LoadU(d, x + first + i + lanes), s1);
                s2 = hn::MulAdd(hn::LoadU(d, v + i + 2 * lanes), hn::LoadU(d, x + first + i + 2 * lanes), s2);
                s3 = hn::MulAdd(hn::LoadU(d, v + i + 3 * lanes), hn::LoadU(d, x + first + i + 3 * lanes), s3);
            }
            for (; i + lanes <= n; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, v + i), hn::LoadU(d, x + first + i), s0);
            for (; i < n; ++i) tail += v[i] * x[first + i];
        }
        out[o - row_begin] = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)))) + tail;
    }
}

size_t PanelBytes(int n_in) { return static_cast<size_t>(n_in) * kPanelRows * sizeof(float); }

/// Panel: [n_in][16 rows].
void Pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    auto* out = reinterpret_cast<float*>(panel);
    alignas(64) float buffer[kPiece];
    for (int r = 0; r < kPanelRows; ++r)
        for (int first = 0; first < w.n_in; first += kPiece) {
            const int n = std::min(kPiece, w.n_in - first);
            if (row_begin + r < row_end) DequantizePiece(w.type, w.row(row_begin + r), first, n, buffer);
            else std::fill_n(buffer, n, 0.0f);
            for (int i = 0; i < n; ++i) out[static_cast<size_t>(first + i) * kPanelRows + static_cast<size_t>(r)] = buffer[i];
        }
}

void Gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    const auto* b = reinterpret_cast<const float*>(panel);
    alignas(64) float tile[kTileTokens * kPanelRows];
    for (int t = 0; t < n_tokens; t += kTileTokens) {
        const int n = std::min(kTileTokens, n_tokens - t);
        const float* rows[kTileTokens];
        for (int i = 0; i < n; ++i) rows[i] = reinterpret_cast<const float*>(inputs[t + i]);
        MultiplyTile(b, w.n_in, rows, n, tile, false);
        for (int i = 0; i < n; ++i) std::copy_n(tile + i * kPanelRows, n_rows, out + (t + i) * stride);
    }
}

void FillExactKernels(Kernels& k) {
    k.exact = {kPanelRows, InputBytes, Prepare, Gemv, PanelBytes, Pack, Gemm};
    k.dequantize = Dequantize;
}

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gs::cpu {
HWY_EXPORT(FillExactKernels);
void add_exact_kernels(Kernels& kernels, int64_t target) { GS_CALL_TARGET(FillExactKernels, target, kernels); }
}  // namespace gs::cpu
#endif
