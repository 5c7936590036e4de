// Attention of the CPU back end: which heads of which tokens, on which thread.
#include <algorithm>

#include "engine/ops/cpu/cpu_ops.h"

namespace gs::cpu {
namespace {

/// The keys and values of one head from a position on.
HeadKv head_kv(const AttentionCall& call, int kv_head, int first_position) {
    const KvCache& cache = *call.cache;
    return {cache.k_at(call.layer, kv_head, first_position), cache.v_at(call.layer, kv_head, first_position), cache.type, cache.head_dim_k,
            call.head_dim_v, cache.v_stride()};
}

}  // namespace

void CpuOps::attention(const AttentionCall& call) {
    OpClock::Span span(m_clock, Op::kAttention);
    const KvCache& cache = *call.cache;
    const int seen = call.first_position + call.q.n_rows - call.first_key(call.first_position);
    span.add_bytes(static_cast<size_t>(seen) * static_cast<size_t>(cache.n_kv_heads) * kv_value_bytes(cache.type) *
                   static_cast<size_t>(cache.head_dim_k + (cache.v ? cache.head_dim_v : 0)));
    if (call.q.n_rows <= kGemvTokens) attend_heads(call);
    else attend_tiles(call);
}

/// Tasks of some heads that share keys and values, which so are read once for them.
void CpuOps::attend_heads(const AttentionCall& call) {
    const int n_kv_heads = call.cache->n_kv_heads, dk = call.cache->head_dim_k, group = call.n_heads / n_kv_heads;
    // While a cache of a core holds the keys and values of a head, many small tasks balance better than to read them once.
    constexpr size_t kCached = 256 << 10;
    const size_t head_bytes = static_cast<size_t>(call.first_position) * kv_value_bytes(call.cache->type) * static_cast<size_t>(dk + call.head_dim_v);
    const int balanced = std::clamp(call.q.n_rows * call.n_heads / (4 * m_pool.n_threads()), 1, kHeadsAtOnce);
    const int heads_at_once = head_bytes <= kCached ? balanced : kHeadsAtOnce;
    const int runs = (group + heads_at_once - 1) / heads_at_once;
    std::vector<float> sink_copy;
    const float* sinks = call.sinks ? vector_values(*call.sinks, sink_copy) : nullptr;
    const auto heads = [&](int i, int thread) {
        const int t = i / (n_kv_heads * runs), kv_head = i / runs % n_kv_heads, in_group = i % runs * heads_at_once;
        const int first = call.first_key(call.first_position + t), h = kv_head * group + in_group;
        HeadsCall c{head_kv(call, kv_head, first), std::min(heads_at_once, group - in_group), call.first_position + t + 1 - first};
        c.q = call.q.row(t) + h * dk;
        c.scale = call.scale;
        c.cap = call.cap;
        if (sinks) c.sinks = sinks + h;
        c.scores = m_threads[static_cast<size_t>(thread)].attention.floats(static_cast<size_t>(c.n_heads) * static_cast<size_t>(c.n_keys + 16));
        c.out = call.out.row(t) + h * call.head_dim_v;
        m_kernels.attend_heads(c);
    };
    const int n = call.q.n_rows * n_kv_heads * runs;
    // Below this many values a fork costs more than it saves.
    constexpr ptrdiff_t kForkValues = 1 << 15;
    const ptrdiff_t work = static_cast<ptrdiff_t>(call.q.n_rows) * call.n_heads * (call.first_position + call.q.n_rows) * (dk + call.head_dim_v);
    if (work >= kForkValues) m_pool.run(n, heads);
    else
        for (int i = 0; i < n; ++i) heads(i, 0);
}

void CpuOps::attend_tiles(const AttentionCall& call) {
    constexpr int kTileRows = 96;  // queries: some tokens times the heads that share a key-value head
    const int n_kv_heads = call.cache->n_kv_heads, dk = call.cache->head_dim_k;
    const int group = call.n_heads / n_kv_heads, n_tokens = call.q.n_rows;
    const int heads_at_once = std::min(group, kTileRows), tile_tokens = std::max(1, kTileRows / heads_at_once);
    const int n_tiles = (n_tokens + tile_tokens - 1) / tile_tokens, n_head_runs = (group + heads_at_once - 1) / heads_at_once;
    std::vector<float> sink_copy;
    const float* sinks = call.sinks ? vector_values(*call.sinks, sink_copy) : nullptr;
    m_pool.run(n_tiles * n_kv_heads * n_head_runs, [&](int i, int thread) {
        // Later tiles see more keys: they go first, so that no thread is left with a long one at the end.
        const int tile = n_tiles - 1 - i / (n_kv_heads * n_head_runs), kv_head = i / n_head_runs % n_kv_heads;
        const int head_begin = kv_head * group + i % n_head_runs * heads_at_once;
        const int head_end = std::min(head_begin + heads_at_once, (kv_head + 1) * group);
        const float* q[kTileRows];
        float* out[kTileRows];
        int n_hidden[kTileRows], n_visible[kTileRows], n_rows = 0;
        float row_sinks[kTileRows];
        for (int t = tile * tile_tokens; t < std::min(n_tokens, (tile + 1) * tile_tokens); ++t)
            for (int h = head_begin; h < head_end; ++h, ++n_rows) {
                q[n_rows] = call.q.row(t) + h * dk;
                out[n_rows] = call.out.row(t) + h * call.head_dim_v;
                n_hidden[n_rows] = call.first_key(call.first_position + t);
                n_visible[n_rows] = call.first_position + t + 1;
                row_sinks[n_rows] = sinks ? sinks[h] : 0;
            }
        QueryTile c{q, out, n_hidden, n_visible, n_rows};
        if (sinks) c.sinks = row_sinks;
        c.kv = head_kv(call, kv_head, 0);
        c.scale = call.scale;
        c.cap = call.cap;
        c.scratch = m_threads[static_cast<size_t>(thread)].attention.floats(m_kernels.query_tile_floats(n_rows, dk, call.head_dim_v));
        m_kernels.attend_tile(c);
    });
}

}  // namespace gs::cpu
