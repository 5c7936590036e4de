// What attention*.cu share. Private to them.
#pragma once

#include "engine/ops/cuda/attention.cuh"
#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {

constexpr int kAttentionWarps = 4, kAttentionThreads = kAttentionWarps * kWarp;
constexpr int kKeysAtOnce = kAttentionThreads;   ///< ranges of keys of a split are multiples of it

struct AttentionShape {
    Rows q, out;
    const std::byte *k, *v;                // of the layer's first head and position
    size_t k_gap, v_gap;                   // values between heads
    int dk, dv, v_stride;
    Position first_position;
    int n_heads, heads_a_kv;
    float scale, cap;
    int begin, window, chunk;
    const float* sinks;
    int n_splits;
    float *mixes, *stats;                  // [n_splits, T * H, dv] and [n_splits, T * H, 2]: what blocks of a split found
};

/// The host's AttentionCall::first_key.
__device__ inline int first_key(const AttentionShape& s, int position) {
    int first = s.begin;
    if (s.window > 0) first = max(first, position - s.window + 1);
    if (s.chunk > 0) first = max(first, position - position % s.chunk);
    return min(first, position);
}

/// Keys of the block that reaches over most of them, when the first token is at `first`: a block's first row may reach further back than its last, and
/// with chunks the last token is not the one that sees most.
constexpr __host__ __device__ int longest_range(int first, int n_tokens, int rows_a_block, int begin, int window, int chunk) {
    const int last = first + n_tokens - 1;
    int seen = last > begin ? last - begin : 0;
    if (window > 0 && seen > window - 1) seen = window - 1;
    if (chunk > 0 && seen > chunk - 1) seen = chunk - 1;
    return seen + (rows_a_block < n_tokens ? rows_a_block : n_tokens);
}

/// Row r of those that share a head of keys: tokens outside, heads inside.
struct AttentionRow {
    int token, head;
};
__device__ inline AttentionRow row_at(const AttentionShape& s, int kv_head, int r) {
    return {r / s.heads_a_kv, kv_head * s.heads_a_kv + r % s.heads_a_kv};
}
__device__ inline size_t index_of(const AttentionShape& s, const AttentionRow& row) {
    return static_cast<size_t>(row.token) * static_cast<size_t>(s.n_heads) + static_cast<size_t>(row.head);
}

/// Where this block's split keeps what it found for a row.
__device__ inline size_t split_index(const AttentionShape& s, const AttentionRow& row) {
    return blockIdx.z * static_cast<size_t>(s.q.n_rows) * static_cast<size_t>(s.n_heads) + index_of(s, row);
}

/// The keys begin .. end - 1 that this block's split looks at for rows of which the first sees none before `first`, the last none behind `last`. The range
/// is divided by where tokens are now, not by what there is room for: all splits have work.
struct KeyRange {
    int begin, end;
};
__device__ inline KeyRange range_of_split(const AttentionShape& s, int rows_a_block, int first, int last) {
    const int n_keys = longest_range(s.first_position.get(), s.q.n_rows, rows_a_block, s.begin, s.window, s.chunk);
    const int keys_a_split = ceil_div(ceil_div(n_keys, s.n_splits), kKeysAtOnce) * kKeysAtOnce;
    const int begin = first + static_cast<int>(blockIdx.z) * keys_a_split;
    return {begin, min(last + 1, begin + keys_a_split)};
}

/// What a score becomes for a row that sees keys first .. last.
__device__ inline float seen_score(const AttentionShape& s, float product, int key, int first, int last) {
    float value = product * s.scale;
    if (s.cap > 0) value = s.cap * tanhf(value / s.cap);
    return key < first || key > last ? -INFINITY : value;
}

/// One over the sum of shares, the sink's among them; `fade` is what mixes taken at `top` must be multiplied by.
__device__ inline float share_factor(const AttentionShape& s, int head, float top, float sum, float& fade) {
    fade = 1;
    if (s.sinks) {
        const float sink = s.sinks[head], highest = fmaxf(top, sink);
        fade = expf(top - highest);
        sum = sum * fade + expf(sink - highest);
    }
    return 1.0f / sum;
}

/// How a call is divided: rows of a block, and ranges of keys.
struct AttentionDivision {
    int rows = 0, columns = 0;             ///< columns: attention_f32.cu's, of 32
    int n_row_blocks = 0, n_column_blocks = 1, n_splits = 1;
};

// In f32, any shape (attention_f32.cu): rows and columns of a block; the launch.
void choose_f32_block(const AttentionCall& call, AttentionDivision& division);
void launch_attention_f32(cudaStream_t stream, KvType type, const AttentionShape& s, const AttentionDivision& d);
// On tensor cores (attention_prompt.cu), where attends_on_tensor_cores() says so.
void choose_prompt_block(const AttentionCall& call, AttentionDivision& division);
void launch_attention_prompt(cudaStream_t stream, const AttentionShape& s, const AttentionDivision& d);

}  // namespace gs::cuda
