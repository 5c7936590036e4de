// The f32 register tile shared by the exact product and by attention: up to 8 tokens by 16 columns.
#if defined(GS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_TILE_INL_H_
#undef GS_TILE_INL_H_
#else
#define GS_TILE_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kTileTokens = 8;
constexpr int kTileColumns = 16;

/// c[t][0..15] (+)= Σ_k a[t][k] b[k][0..15], for kTokens tokens; b and c aligned to 64.
template <int kTokens>
HWY_INLINE void MultiplyTokens(const float* HWY_RESTRICT b, int n_k, const float* const* a, float* HWY_RESTRICT c, bool accumulate) {
    const hn::CappedTag<float, kTileColumns> d;
    constexpr int kLanes = static_cast<int>(hn::MaxLanes(d));
    constexpr int kVectors = kTileColumns / kLanes;
    // 16 registers hold 8 sums and what feeds them: narrow vectors take the columns in turns.
    constexpr int kAtOnce = kLanes >= 8 ? (kLanes == 16 ? 1 : (kTokens > 4 ? 1 : 2)) : (kTokens > 4 ? 1 : 2);
    for (int v = 0; v < kVectors; v += kAtOnce) {
        hn::Vec<decltype(d)> sums[kTokens][kAtOnce];
        for (int t = 0; t < kTokens; ++t)
            for (int j = 0; j < kAtOnce; ++j)
                sums[t][j] = accumulate ? hn::Load(d, c + t * kTileColumns + (v + j) * kLanes) : hn::Zero(d);
        const float* column = b + v * kLanes;
        for (int k = 0; k < n_k; ++k, column += kTileColumns) {
            hn::Vec<decltype(d)> bv[kAtOnce];
            for (int j = 0; j < kAtOnce; ++j) bv[j] = hn::Load(d, column + j * kLanes);
            for (int t = 0; t < kTokens; ++t) {
                const auto x = hn::Set(d, a[t][k]);
                for (int j = 0; j < kAtOnce; ++j) sums[t][j] = hn::MulAdd(x, bv[j], sums[t][j]);
            }
        }
        for (int t = 0; t < kTokens; ++t)
            for (int j = 0; j < kAtOnce; ++j) hn::Store(sums[t][j], d, c + t * kTileColumns + (v + j) * kLanes);
    }
}

/// The same for n_tokens <= kTileTokens.
inline HWY_ATTR void MultiplyTile(const float* b, int n_k, const float* const* a, int n_tokens, float* c, bool accumulate) {
    switch (n_tokens) {
        case 8: return MultiplyTokens<8>(b, n_k, a, c, accumulate);
        case 7: return MultiplyTokens<7>(b, n_k, a, c, accumulate);
        case 6: return MultiplyTokens<6>(b, n_k, a, c, accumulate);
        case 5: return MultiplyTokens<5>(b, n_k, a, c, accumulate);
        case 4: return MultiplyTokens<4>(b, n_k, a, c, accumulate);
        case 3: return MultiplyTokens<3>(b, n_k, a, c, accumulate);
        case 2: return MultiplyTokens<2>(b, n_k, a, c, accumulate);
        default: return MultiplyTokens<1>(b, n_k, a, c, accumulate);
    }
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
