// Attention of one query head (generation), and of a tile of queries that share a key-value head (prompts): keys in blocks, softmax kept
// up to date as the blocks go by (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax").
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cmath>
#include <limits>

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

float Dot(const float* a, const float* b, int n) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    auto s0 = hn::Zero(d), s1 = hn::Zero(d);
    int i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
        s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
    }
    for (; i + lanes <= n; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
    for (; i < n; ++i) sum += a[i] * b[i];
    return sum;
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
    float top = x[0];
    for (int i = 1; i < n; ++i) top = x[i] > top ? x[i] : top;
    return top;
}

/// Asks for a row that will be read some rows later: the rows of one head lie too far apart for the processor to see the pattern.
HWY_INLINE void FetchRow(const float* row, int n) {
    for (int i = 0; i < n; i += 16) hwy::Prefetch(row + i);
}
constexpr int kRowsAhead = 8;

/// x[i] = cap tanh(x[i] / cap) for i < n, or up to the next multiple of the vector length.
void CapInPlace(float* x, int n, float cap) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const auto c = hn::Set(d, cap);
    for (int i = 0; i < n; i += lanes) hn::StoreU(hn::Mul(c, hn::Tanh(d, hn::Div(hn::LoadU(d, x + i), c))), d, x + i);
}

/// out[0..dv) = Σ_s p[s] v[s][0..dv)
void MixValues(const HeadCall& c, float factor) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    int i = 0;
    for (; i + 4 * lanes <= c.dv; i += 4 * lanes) {
        auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
        for (int s = 0; s < c.n_keys; ++s) {
            const float* v = c.v + s * c.v_stride + i;
            FetchRow(v + kRowsAhead * c.v_stride, 4 * lanes);
            const auto p = hn::Set(d, c.scores[s]);
            s0 = hn::MulAdd(p, hn::LoadU(d, v), s0);
            s1 = hn::MulAdd(p, hn::LoadU(d, v + lanes), s1);
            s2 = hn::MulAdd(p, hn::LoadU(d, v + 2 * lanes), s2);
            s3 = hn::MulAdd(p, hn::LoadU(d, v + 3 * lanes), s3);
        }
        const auto f = hn::Set(d, factor);
        hn::StoreU(hn::Mul(s0, f), d, c.out + i);
        hn::StoreU(hn::Mul(s1, f), d, c.out + i + lanes);
        hn::StoreU(hn::Mul(s2, f), d, c.out + i + 2 * lanes);
        hn::StoreU(hn::Mul(s3, f), d, c.out + i + 3 * lanes);
    }
    for (; i + lanes <= c.dv; i += lanes) {
        auto sum = hn::Zero(d);
        for (int s = 0; s < c.n_keys; ++s) sum = hn::MulAdd(hn::Set(d, c.scores[s]), hn::LoadU(d, c.v + s * c.v_stride + i), sum);
        hn::StoreU(hn::Mul(sum, hn::Set(d, factor)), d, c.out + i);
    }
    for (; i < c.dv; ++i) {
        float sum = 0;
        for (int s = 0; s < c.n_keys; ++s) sum += c.scores[s] * c.v[s * c.v_stride + i];
        c.out[i] = sum * factor;
    }
}

void AttendHead(const HeadCall& c) {
    for (int s = 0; s < c.n_keys; ++s) {
        const float* k = c.k + s * c.k_stride;
        FetchRow(k + kRowsAhead * c.k_stride, c.dk);
        c.scores[s] = c.scale * Dot(c.q, k, c.dk);
    }
    if (c.cap > 0) CapInPlace(c.scores, c.n_keys, c.cap);
    const float top = std::max(Largest(c.scores, c.n_keys), c.sink);
    float sum = ExpInPlace(c.scores, c.n_keys, top);
    if (c.sink != kNoSink) sum += std::exp(c.sink - top);
    MixValues(c, 1 / sum);
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

void PackKeys(const QueryTile& c, int first, int n, float* keys) {
    for (int s = 0; s < kKeys; ++s) {
        float* column = keys + static_cast<ptrdiff_t>(s / 16) * c.dk * 16 + s % 16;
        const float* k = c.k + (first + s) * c.k_stride;
        for (int i = 0; i < c.dk; ++i) column[i * 16] = s < n ? k[i] : 0.0f;
    }
}

void PackValues(const QueryTile& c, int first, int n, float* values) {
    for (int g = 0; g * 16 < c.dv; ++g)
        for (int s = 0; s < kKeys; ++s) {
            float* to = values + (static_cast<ptrdiff_t>(g) * kKeys + s) * 16;
            const int count = s < n ? std::min(16, c.dv - g * 16) : 0;
            if (count > 0) std::copy_n(c.v + (first + s) * c.v_stride + g * 16, count, to);
            std::fill_n(to + count, 16 - count, 0.0f);
        }
}

/// Scores of rows r..r+n-1 over the packed keys; masked, exponentiated against the row's new top, the sums so far rescaled.
void ScoreRows(const QueryTile& c, int r, int n, int first, int n_keys, TileState& state) {
    alignas(64) float tile[kTileTokens * 16];
    for (int g = 0; g * 16 < n_keys; ++g) {
        MultiplyTile(state.keys + static_cast<ptrdiff_t>(g) * c.dk * 16, c.dk, c.q + r, n, tile, false);
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
            for (int g = 0; g * 16 < c.dv; ++g) {
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
    const ptrdiff_t dv16 = RoundUp16(c.dv);
    TileState state;
    state.keys = c.scratch;
    state.values = state.keys + static_cast<ptrdiff_t>(kKeys) * c.dk;
    state.scores = state.values + static_cast<ptrdiff_t>(kKeys) * dv16;
    state.sums = state.scores + static_cast<ptrdiff_t>(c.n_rows) * kKeys;
    std::fill_n(state.sums, c.n_rows * dv16, 0.0f);
    std::fill_n(state.top, c.n_rows, -std::numeric_limits<float>::infinity());
    std::fill_n(state.total, c.n_rows, 0.0f);
    const int n_all = *std::max_element(c.n_visible, c.n_visible + c.n_rows);
    for (int first = *std::min_element(c.n_hidden, c.n_hidden + c.n_rows); first < n_all; first += kKeys) {
        const int n_keys = std::min(kKeys, n_all - first);
        PackKeys(c, first, n_keys, state.keys);
        PackValues(c, first, n_keys, state.values);
        for (int r = 0; r < c.n_rows; r += kTileTokens) {
            const int n = std::min(kTileTokens, c.n_rows - r);
            if (*std::max_element(c.n_visible + r, c.n_visible + r + n) <= first) continue;
            ScoreRows(c, r, n, first, n_keys, state);
            const float* rows[kTileTokens];
            for (int i = 0; i < n; ++i) rows[i] = state.scores + (r + i) * kKeys;
            for (int g = 0; g * 16 < c.dv; ++g)
                MultiplyTile(state.values + static_cast<ptrdiff_t>(g) * kKeys * 16, n_keys, rows, n,
                             state.sums + (static_cast<ptrdiff_t>(g) * c.n_rows + r) * 16, true);
        }
    }
    if (c.sinks) AddSinks(c, state);
    for (int r = 0; r < c.n_rows; ++r)
        for (int i = 0; i < c.dv; ++i) c.out[r][i] = state.sums[(static_cast<ptrdiff_t>(i / 16) * c.n_rows + r) * 16 + i % 16] / state.total[r];
}

void FillAttentionKernels(Kernels& k) {
    k.attend_head = AttendHead;
    k.attend_tile = AttendTile;
    k.query_tile_floats = QueryTileFloats;
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
