// Attention of some query heads (generation), and of a tile of queries that share a key-value head (prompts): keys in blocks, softmax kept
// up to date as the blocks go by (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax").
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/model/tensor_type.h"
#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, 16>;

constexpr int kKeys = 64;      // keys per block
constexpr int kMaxRows = 128;  // queries per tile

int RoundUp16(int n) { return (n + 15) / 16 * 16; }

/// Keys and values in f32, whatever they are kept in.
template <class DF>
HWY_INLINE hn::Vec<DF> LoadKv(DF d, const float* p) {
    return hn::LoadU(d, p);
}
template <class DF>
HWY_INLINE hn::Vec<DF> LoadKv(DF d, const hwy::float16_t* p) {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, DF>(), p));
}
HWY_INLINE float KvValue(const float* p) { return *p; }
HWY_INLINE float KvValue(const hwy::float16_t* p) { return half_to_float(p->bits); }

/// sums[h] = q[h] · k, the heads' q dk apart: each vector of the key is loaded once for all of them.
template <int kHeads, class T>
HWY_INLINE void Dots(const float* q, const T* k, int dk, float* sums, int stride) {
    const D d;
    constexpr int kChains = kHeads == 1 ? 4 : 1;   // additions wait for one another: several at a time
    const int lanes = static_cast<int>(hn::Lanes(d));
    hn::Vec<D> sum[kHeads * kChains];
    for (auto& s : sum) s = hn::Zero(d);
    int i = 0;
    for (; i + kChains * lanes <= dk; i += kChains * lanes)
        for (int c = 0; c < kChains; ++c) {
            const auto key = LoadKv(d, k + i + c * lanes);
            for (int h = 0; h < kHeads; ++h) sum[h * kChains + c] = hn::MulAdd(hn::LoadU(d, q + h * dk + i + c * lanes), key, sum[h * kChains + c]);
        }
    for (; i + lanes <= dk; i += lanes) {
        const auto key = LoadKv(d, k + i);
        for (int h = 0; h < kHeads; ++h) sum[h * kChains] = hn::MulAdd(hn::LoadU(d, q + h * dk + i), key, sum[h * kChains]);
    }
    for (int h = 0; h < kHeads; ++h) {
        auto all = sum[h * kChains];
        for (int c = 1; c < kChains; ++c) all = hn::Add(all, sum[h * kChains + c]);
        float total = hn::GetLane(hn::SumOfLanes(d, all));
        for (int r = i; r < dk; ++r) total += q[h * dk + r] * KvValue(k + r);
        sums[h * stride] = total;
    }
}

/// x[i] = exp(x[i] - top) for i < n, 0 up to the next multiple of 16; returns the sum.
float ExpInPlace(float* x, int n, float top) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    for (int i = n; i < RoundUp16(n); ++i) x[i] = -std::numeric_limits<float>::infinity();
    auto sum = hn::Zero(d);
    // Below -87 the exponential leaves the normal range; such a key's share is under 1e-37.
    const auto lowest = hn::Set(d, -87.0f);
    for (int i = 0; i < RoundUp16(n); i += lanes) {
        const auto shifted = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, top));
        const auto e = hn::IfThenElseZero(hn::Ge(shifted, lowest), hn::Exp(d, hn::Max(shifted, lowest)));
        sum = hn::Add(sum, e);
        hn::StoreU(e, d, x + i);
    }
    return hn::GetLane(hn::SumOfLanes(d, sum));
}

float Largest(const float* x, int n) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    auto tops = hn::Set(d, x[0]);
    int i = 0;
    for (; i + lanes <= n; i += lanes) tops = hn::Max(tops, hn::LoadU(d, x + i));
    float top = hn::GetLane(hn::MaxOfLanes(d, tops));
    for (; i < n; ++i) top = x[i] > top ? x[i] : top;
    return top;
}

/// x[i] = cap tanh(x[i] / cap) for i < n, or up to the next multiple of the vector length.
void CapInPlace(float* x, int n, float cap) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const auto c = hn::Set(d, cap);
    for (int i = 0; i < n; i += lanes) hn::StoreU(hn::Mul(c, hn::Tanh(d, hn::Div(hn::LoadU(d, x + i), c))), d, x + i);
}

/// Adds Σ_s p[h][s] v[s][i..] of some keys to out[h][i..], kVectors at a time; returns where it ends.
template <int kHeads, int kVectors, class T>
HWY_INLINE int AddValues(const HeadsCall& c, const float* p, int p_stride, int first, int n, int i) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d)), dv = c.kv.dv;
    for (; i + kVectors * lanes <= dv; i += kVectors * lanes) {
        hn::Vec<D> sum[kHeads][kVectors];
        for (int h = 0; h < kHeads; ++h)
            for (int j = 0; j < kVectors; ++j) sum[h][j] = hn::LoadU(d, c.out + h * dv + i + j * lanes);
        const T* v = reinterpret_cast<const T*>(c.kv.v) + static_cast<ptrdiff_t>(first) * c.kv.v_stride + i;
        for (int s = 0; s < n; ++s, v += c.kv.v_stride)
            for (int j = 0; j < kVectors; ++j) {
                const auto value = LoadKv(d, v + j * lanes);
                for (int h = 0; h < kHeads; ++h) sum[h][j] = hn::MulAdd(hn::Set(d, p[h * p_stride + first + s]), value, sum[h][j]);
            }
        for (int h = 0; h < kHeads; ++h)
            for (int j = 0; j < kVectors; ++j) hn::StoreU(sum[h][j], d, c.out + h * dv + i + j * lanes);
    }
    return i;
}

/// out[h] = factors[h] Σ_s p[h][s] v[s], some keys after the other so that their values stay in the innermost cache.
template <int kHeads, class T>
void MixValues(const HeadsCall& c, const float* p, int p_stride, const float* factors) {
    constexpr int kKeysAtOnce = 32, kVectors = kHeads == 1 ? 8 : 2;
    const int dv = c.kv.dv;
    std::fill_n(c.out, kHeads * dv, 0.0f);
    for (int first = 0; first < c.n_keys; first += kKeysAtOnce) {
        const int n = std::min(kKeysAtOnce, c.n_keys - first);
        int i = AddValues<kHeads, kVectors, T>(c, p, p_stride, first, n, 0);
        i = AddValues<kHeads, 1, T>(c, p, p_stride, first, n, i);
        for (int h = 0; h < kHeads; ++h)
            for (int r = i; r < dv; ++r)
                for (int s = first; s < first + n; ++s)
                    c.out[h * dv + r] += p[h * p_stride + s] * KvValue(reinterpret_cast<const T*>(c.kv.v) + static_cast<ptrdiff_t>(s) * c.kv.v_stride + r);
    }
    for (int h = 0; h < kHeads; ++h)
        for (int r = 0; r < dv; ++r) c.out[h * dv + r] *= factors[h];
}

template <int kHeads, class T>
void Attend(const HeadsCall& c) {
    const int stride = RoundUp16(c.n_keys), dk = c.kv.dk;
    const T* k = reinterpret_cast<const T*>(c.kv.k);
    for (int s = 0; s < c.n_keys; ++s, k += dk) Dots<kHeads>(c.q, k, dk, c.scores + s, stride);
    float factors[kHeads];
    for (int h = 0; h < kHeads; ++h) {
        float* scores = c.scores + h * stride;
        for (int s = 0; s < c.n_keys; ++s) scores[s] *= c.scale;
        if (c.cap > 0) CapInPlace(scores, c.n_keys, c.cap);
        const float top = c.sinks ? std::max(Largest(scores, c.n_keys), c.sinks[h]) : Largest(scores, c.n_keys);
        float sum = ExpInPlace(scores, c.n_keys, top);
        if (c.sinks) sum += std::exp(c.sinks[h] - top);
        factors[h] = 1 / sum;
    }
    MixValues<kHeads, T>(c, c.scores, stride, factors);
}

template <class T>
void AttendAll(const HeadsCall& c) {
    static_assert(kHeadsAtOnce == 4);
    switch (c.n_heads) {
        case 1: return Attend<1, T>(c);
        case 2: return Attend<2, T>(c);
        case 3: return Attend<3, T>(c);
        default: return Attend<4, T>(c);
    }
}

void AttendHeads(const HeadsCall& c) {
    if (c.kv.type == KvType::kF16) AttendAll<hwy::float16_t>(c);
    else AttendAll<float>(c);
}

void ToHalf(const float* x, int n, std::byte* halves) {
    auto* to = reinterpret_cast<hwy::float16_t*>(halves);
    int i = 0;
#if HWY_TARGET <= HWY_AVX2   // below, Highway's own conversion cuts off
    const D d;
    const hn::Rebind<hwy::float16_t, D> d16;
    const int lanes = static_cast<int>(hn::Lanes(d));
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::DemoteTo(d16, hn::LoadU(d, x + i)), d16, to + i);
#endif
    for (; i < n; ++i) to[i].bits = float_to_half(x[i]);
}

/// What a tile keeps while the blocks of keys go by.
struct TileState {
    float* keys;     ///< [kKeys / 16][dk][16]
    float* values;   ///< [dv16 / 16][kKeys][16]
    float* scores;   ///< [rows][kKeys]
    float* sums;     ///< [dv16 / 16][rows][16]: Σ exp · value so far
    float top[kMaxRows], total[kMaxRows];
};

size_t QueryTileFloats(int n_rows, int dk, int dv) {
    const auto dv16 = static_cast<size_t>(RoundUp16(dv)), rows = static_cast<size_t>(n_rows);
    return static_cast<size_t>(kKeys) * (static_cast<size_t>(dk) + dv16) + rows * kKeys + rows * dv16;
}

template <class T>
void PackKeys(const HeadKv& kv, int first, int n, float* keys) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    alignas(64) float part[16];
    for (int s = 0; s < kKeys; ++s) {
        float* column = keys + static_cast<ptrdiff_t>(s / 16) * kv.dk * 16 + s % 16;
        const T* k = reinterpret_cast<const T*>(kv.k) + static_cast<ptrdiff_t>(first + s) * kv.dk;
        if (s >= n) {
            for (int i = 0; i < kv.dk; ++i) column[i * 16] = 0.0f;
            continue;
        }
        int i = 0;
        for (; i + lanes <= kv.dk; i += lanes) {
            hn::Store(LoadKv(d, k + i), d, part);
            for (int j = 0; j < lanes; ++j) column[(i + j) * 16] = part[j];
        }
        for (; i < kv.dk; ++i) column[i * 16] = KvValue(k + i);
    }
}

template <class T>
void PackValues(const HeadKv& kv, int first, int n, float* values) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    for (int g = 0; g * 16 < kv.dv; ++g)
        for (int s = 0; s < kKeys; ++s) {
            float* to = values + (static_cast<ptrdiff_t>(g) * kKeys + s) * 16;
            const int count = s < n ? std::min(16, kv.dv - g * 16) : 0;
            const T* v = reinterpret_cast<const T*>(kv.v) + static_cast<ptrdiff_t>(first + s) * kv.v_stride + g * 16;
            int i = 0;
            for (; i + lanes <= count; i += lanes) hn::StoreU(LoadKv(d, v + i), d, to + i);
            for (; i < count; ++i) to[i] = KvValue(v + i);
            std::fill_n(to + count, 16 - count, 0.0f);
        }
}

void PackKv(const HeadKv& kv, int first, int n, TileState& state) {
    if (kv.type == KvType::kF16) {
        PackKeys<hwy::float16_t>(kv, first, n, state.keys);
        PackValues<hwy::float16_t>(kv, first, n, state.values);
    } else {
        PackKeys<float>(kv, first, n, state.keys);
        PackValues<float>(kv, first, n, state.values);
    }
}

/// Scores of rows r..r+n-1 over the packed keys; masked, exponentiated against the row's new top, the sums so far rescaled.
void ScoreRows(const QueryTile& c, int r, int n, int first, int n_keys, TileState& state) {
    alignas(64) float tile[kTileTokens * 16];
    for (int g = 0; g * 16 < n_keys; ++g) {
        MultiplyTile(state.keys + static_cast<ptrdiff_t>(g) * c.kv.dk * 16, c.kv.dk, c.q + r, n, tile, false);
        for (int i = 0; i < n; ++i) std::copy_n(tile + i * 16, 16, state.scores + (r + i) * kKeys + g * 16);
    }
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    for (int i = r; i < r + n; ++i) {
        float* scores = state.scores + i * kKeys;
        const int hidden = std::clamp(c.n_hidden[i] - first, 0, n_keys), visible = std::clamp(c.n_visible[i] - first, 0, n_keys);
        if (visible <= hidden) {
            std::fill_n(scores, kKeys, 0.0f);
            continue;
        }
        for (int s = 0; s < kKeys; s += lanes) hn::Store(hn::Mul(hn::Load(d, scores + s), hn::Set(d, c.scale)), d, scores + s);
        if (c.cap > 0) CapInPlace(scores, kKeys, c.cap);
        std::fill_n(scores, hidden, -std::numeric_limits<float>::infinity());
        const float top = std::max(state.top[i], Largest(scores + hidden, visible - hidden));
        const float rescale = state.top[i] == top ? 1.0f : static_cast<float>(std::exp(static_cast<double>(state.top[i]) - top));
        state.total[i] = state.total[i] * rescale + ExpInPlace(scores, visible, top);
        std::fill(scores + RoundUp16(visible), scores + kKeys, 0.0f);
        state.top[i] = top;
        if (rescale != 1.0f)
            for (int g = 0; g * 16 < c.kv.dv; ++g) {
                float* sums = state.sums + (static_cast<ptrdiff_t>(g) * c.n_rows + i) * 16;
                for (int j = 0; j < 16; ++j) sums[j] *= rescale;
            }
    }
}

/// The sink's share of the total, in units of exp(top): a sink far above all keys overflows and leaves nothing of the values.
void AddSinks(const QueryTile& c, TileState& state) {
    for (int r = 0; r < c.n_rows; ++r) state.total[r] += std::exp(c.sinks[r] - state.top[r]);
}

void AttendTile(const QueryTile& c) {
    const ptrdiff_t dv16 = RoundUp16(c.kv.dv);
    TileState state;
    state.keys = c.scratch;
    state.values = state.keys + static_cast<ptrdiff_t>(kKeys) * c.kv.dk;
    state.scores = state.values + static_cast<ptrdiff_t>(kKeys) * dv16;
    state.sums = state.scores + static_cast<ptrdiff_t>(c.n_rows) * kKeys;
    std::fill_n(state.sums, c.n_rows * dv16, 0.0f);
    std::fill_n(state.top, c.n_rows, -std::numeric_limits<float>::infinity());
    std::fill_n(state.total, c.n_rows, 0.0f);
    const int n_all = *std::max_element(c.n_visible, c.n_visible + c.n_rows);
    for (int first = *std::min_element(c.n_hidden, c.n_hidden + c.n_rows); first < n_all; first += kKeys) {
        const int n_keys = std::min(kKeys, n_all - first);
        PackKv(c.kv, first, n_keys, state);
        for (int r = 0; r < c.n_rows; r += kTileTokens) {
            const int n = std::min(kTileTokens, c.n_rows - r);
            if (*std::max_element(c.n_visible + r, c.n_visible + r + n) <= first) continue;
            ScoreRows(c, r, n, first, n_keys, state);
            const float* rows[kTileTokens];
            for (int i = 0; i < n; ++i) rows[i] = state.scores + (r + i) * kKeys;
            for (int g = 0; g * 16 < c.kv.dv; ++g)
                MultiplyTile(state.values + static_cast<ptrdiff_t>(g) * kKeys * 16, n_keys, rows, n,
                             state.sums + (static_cast<ptrdiff_t>(g) * c.n_rows + r) * 16, true);
        }
    }
    if (c.sinks) AddSinks(c, state);
    for (int r = 0; r < c.n_rows; ++r)
        for (int i = 0; i < c.kv.dv; ++i) c.out[r][i] = state.sums[(static_cast<ptrdiff_t>(i / 16) * c.n_rows + r) * 16 + i % 16] / state.total[r];
}

void FillAttentionKernels(Kernels& k) {
    k.attend_heads = AttendHeads;
    k.attend_tile = AttendTile;
    k.query_tile_floats = QueryTileFloats;
    k.to_half = ToHalf;
}

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gs::cpu {
HWY_EXPORT(FillAttentionKernels);
void add_attention_kernels(Kernels& kernels, int64_t target) { GS_CALL_TARGET(FillAttentionKernels, target, kernels); }
}  // namespace gs::cpu
#endif
