// How attention is divided among blocks, and what splits of the keys found becomes one. Has run in the emulation of tests/cuda_emulation only, never on
// a device.
#include <algorithm>
#include <bit>

#include "engine/ops/cuda/attention_parts.cuh"

namespace gs::cuda {
namespace {

/// A block a token and head: what its splits found.
__global__ void __launch_bounds__(kAttentionThreads) combine_kernel(const __grid_constant__ AttentionShape s) {
    const AttentionRow row{static_cast<int>(blockIdx.x) / s.n_heads, static_cast<int>(blockIdx.x) % s.n_heads};
    const size_t at = index_of(s, row), n = static_cast<size_t>(s.q.n_rows) * static_cast<size_t>(s.n_heads);
    float top = -INFINITY, sum = 0;
    for (int i = 0; i < s.n_splits; ++i) top = fmaxf(top, s.stats[2 * (static_cast<size_t>(i) * n + at)]);
    for (int i = 0; i < s.n_splits; ++i) {
        const float* stats = s.stats + 2 * (static_cast<size_t>(i) * n + at);
        if (stats[0] != -INFINITY) sum += stats[1] * expf(stats[0] - top);
    }
    float fade;
    const float factor = share_factor(s, row.head, top, sum, fade) * fade;
    for (int column = static_cast<int>(threadIdx.x); column < s.dv; column += kAttentionThreads) {
        float mix = 0;
        for (int i = 0; i < s.n_splits; ++i) {
            const size_t from = static_cast<size_t>(i) * n + at;
            const float split_top = s.stats[2 * from];
            if (split_top != -INFINITY) mix += s.mixes[from * static_cast<size_t>(s.dv) + static_cast<size_t>(column)] * expf(split_top - top);
        }
        row_of(s.out, row.token)[static_cast<ptrdiff_t>(row.head) * s.dv + column] = mix * factor;
    }
}

AttentionDivision divide(const AttentionCall& call, Precision precision, int n_processors) {
    const int n_kv = call.cache->n_kv_heads, n_rows = call.q.n_rows * (call.n_heads / n_kv);
    AttentionDivision d;
    if (attends_on_tensor_cores(call, precision)) choose_prompt_block(call, d);
    else choose_f32_block(call, d);
    d.n_row_blocks = ceil_div(n_rows, d.rows);
    const int end = call.first_position + call.q.n_rows, reach = call.q.n_rows > kMostStepRows ? end : std::min(context_bucket(end), call.cache->n_ctx);
    const int n_keys = longest_range(reach - call.q.n_rows, call.q.n_rows, d.rows, call.begin, call.span.window, call.span.chunk);
    const int wanted = ceil_div(4 * n_processors, d.n_row_blocks * n_kv * d.n_column_blocks);
    d.n_splits = std::clamp(wanted, 1, std::min(ceil_div(n_keys, kKeysAtOnce), 65535));
    return d;
}

size_t n_heads_of(const AttentionCall& call) { return static_cast<size_t>(call.q.n_rows) * static_cast<size_t>(call.n_heads); }

}  // namespace

int context_bucket(int end) { return static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::clamp(end, kKeysAtOnce, 1 << 30)))); }

size_t attention_workspace(const AttentionCall& call, Precision precision, int n_processors) {
    AttentionCall longest = call;
    if (call.q.n_rows <= kMostStepRows) longest.first_position = call.cache->n_ctx - call.q.n_rows;   // or it would move with every bucket
    const AttentionDivision d = divide(longest, precision, n_processors);
    return d.n_splits == 1 ? 0 : static_cast<size_t>(d.n_splits) * n_heads_of(call) * static_cast<size_t>(call.head_dim_v + 2) * sizeof(float);
}

void attention(cudaStream_t stream, const AttentionCall& call, Position first, const float* sinks, Precision precision, int n_processors, std::byte* workspace) {
    if (call.q.n_rows <= 0) return;
    const KvCache& cache = *call.cache;
    const AttentionDivision d = divide(call, precision, n_processors);
    const auto n_ctx = static_cast<size_t>(cache.n_ctx);
    AttentionShape s{.q = call.q, .out = call.out, .k = cache.k_at(call.layer, 0, 0), .v = cache.v_at(call.layer, 0, 0)};
    s.k_gap = n_ctx * static_cast<size_t>(cache.head_dim_k);
    s.v_gap = n_ctx * static_cast<size_t>(cache.v_stride());
    s.dk = cache.head_dim_k;
    s.dv = call.head_dim_v;
    s.v_stride = cache.v_stride();
    s.first_position = first;
    s.n_heads = call.n_heads;
    s.heads_a_kv = call.n_heads / cache.n_kv_heads;
    s.scale = call.scale;
    s.cap = call.cap;
    s.begin = call.begin;
    s.window = call.span.window;
    s.chunk = call.span.chunk;
    s.sinks = sinks;
    s.n_splits = d.n_splits;
    s.mixes = reinterpret_cast<float*>(workspace);
    s.stats = s.mixes + static_cast<size_t>(d.n_splits) * n_heads_of(call) * static_cast<size_t>(s.dv);
    if (attends_on_tensor_cores(call, precision)) launch_attention_prompt(stream, s, d);
    else launch_attention_f32(stream, cache.type, s, d);
    if (d.n_splits > 1) launch(combine_kernel, dim3(static_cast<unsigned>(n_heads_of(call))), dim3(kAttentionThreads), 0, stream, s);
}

}  // namespace gs::cuda
