// Attention of prompts on tensor cores. Has run in the emulation of tests/cuda_emulation only, never on a device.
//
// A block: four warps. Each takes 16 rows of its own where values are narrow; where they are wide, two or four warps take the same 16 rows and divide the
// keys among them for the scores and the columns for the values, because a lane cannot hold more than 64 of its rows' sums. 32 keys at a time: while their
// scores are computed their values come to shared memory, and while values are mixed the next keys do.
//
// Keys and values are halves in the cache and are multiplied as they are. Queries and shares are f32 and go in two terms of eleven bits, as inputs of
// gemm_split.cu do: queries once a power of two has brought their row into the range of halves, shares, which are 1 at most, times 2^14. What is lost is
// 2^-22 of each value: four units of f32's last place, where the order of summation alone may cost as many as a head has dimensions.
#include <algorithm>

#include "engine/ops/cuda/attention_parts.cuh"
#include "engine/ops/cuda/half_range.cuh"
#include "engine/ops/cuda/mma.cuh"
#include "engine/ops/cuda/prompt_softmax.cuh"

namespace gs::cuda {
namespace {

constexpr int kTileKeys = 32, kKeyTiles = kTileKeys / 8, kRowTile = 16;
constexpr int kPad = 8;                            // halves between rows: eight rows at one column are in different banks
constexpr int kTerms = 2;
constexpr int kMostShared = 96 << 10;              // 8.6 and 8.9 have 99 KiB a block, statically known arrays included

/// Where things are in the block's memory, in halves: terms of queries, keys, values, terms of shares.
struct Layout {
    int rows, key_stride, value_stride, share_stride = kTileKeys + kPad;
    int keys, values, shares, end;                 // queries come first

    __host__ __device__ Layout(int n_rows, int dk, int dv, bool values_are_keys)
        : rows(n_rows), key_stride(dk + kPad), value_stride(values_are_keys ? key_stride : dv + kPad), keys(kTerms * n_rows * key_stride),
          values(values_are_keys ? keys : keys + kTileKeys * key_stride), shares(values + kTileKeys * value_stride), end(shares + kTerms * n_rows * share_stride) {}
    int n_bytes() const { return end * static_cast<int>(sizeof(uint16_t)); }
};

__device__ inline uint32_t word_of(const uint16_t* row, int word) { return reinterpret_cast<const uint32_t*>(row)[word]; }

/// The fragment of a of 16 rows, stride halves apart, at k of 16 values from `first`.
__device__ inline void load_a(const uint16_t* rows, int stride, int first, uint32_t (&a)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, r = lane / 4, c = lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = word_of(rows + (r + i % 2 * 8) * stride + first, c + i / 2 * 4);
}

/// The block's rows in terms; scales[r] takes their power of two away again. Rows behind the last are the last once more.
__device__ void stage_queries(const AttentionShape& s, const Layout& at, int kv_head, int first_row, uint16_t* memory, float* scales) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, n_rows = s.q.n_rows * s.heads_a_kv;
    for (int r = static_cast<int>(threadIdx.x) / kWarp; r < at.rows; r += kAttentionWarps) {
        const AttentionRow row = row_at(s, kv_head, min(first_row + r, n_rows - 1));
        const float* q = row_of(s.q, row.token) + static_cast<ptrdiff_t>(row.head) * s.dk;
        float largest = 0, probe = 0;
        for (int d = lane; d < s.dk; d += kWarp) {
            largest = fmaxf(largest, fabsf(q[d]));
            probe += q[d] * 0.0f;
        }
        const float scale = half_range_scale(warp_max(largest) + warp_sum(probe));
        if (lane == 0) scales[r] = 1 / scale;
        uint16_t *high = memory + r * at.key_stride, *low = high + at.rows * at.key_stride;
        for (int d = lane; d < s.dk; d += kWarp) split_value(q[d] * scale, high[d], low[d]);
    }
}

/// 32 rows of n halves, gap apart in the cache, of which those behind `end` are zeros.
__device__ void fetch_rows(const uint16_t* from, int gap, int n, int first, int end, uint16_t* to, int stride) {
    const int pieces = n / 8;
    for (int i = static_cast<int>(threadIdx.x); i < kTileKeys * pieces; i += kAttentionThreads) {
        const int key = i / pieces, piece = i % pieces;
        const bool valid = first + key < end;
        copy_async_16(to + key * stride + piece * 8, from + (valid ? static_cast<size_t>(first + key) * static_cast<size_t>(gap) : 0) + piece * 8, valid);
    }
    commit_async();
}

/// q·k of the warp's rows with kMine tiles of eight keys.
template <int kMine>
__device__ inline void score_tiles(const uint16_t* queries, int low_term, const uint16_t* keys, int stride, int dk, float (&score)[kMine][4]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, r = lane / 4, c = lane % 4;
#pragma unroll
    for (int n = 0; n < kMine; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) score[n][i] = 0;
#pragma unroll 2
    for (int d = 0; d < dk; d += 16) {
        uint32_t b[kMine][2];
#pragma unroll
        for (int n = 0; n < kMine; ++n)
#pragma unroll
            for (int i = 0; i < 2; ++i) b[n][i] = word_of(keys + (8 * n + r) * stride + d, c + 4 * i);
#pragma unroll
        for (int t = kTerms - 1; t >= 0; --t) {
            uint32_t a[4];
            load_a(queries + t * low_term, stride, d, a);
#pragma unroll
            for (int n = 0; n < kMine; ++n) mma_half(score[n], a, b[n]);
        }
    }
}

/// mix += shares of 32 keys times their values, in the warp's columns; n_columns of them are there.
template <int kColumnTiles>
__device__ inline void mix_tiles(const uint16_t* shares, int low_term, int share_stride, const uint16_t* values, int stride, int n_columns,
                                 float (&mix)[kColumnTiles][4]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int step = 0; step < kTileKeys / 16; ++step) {
        uint32_t a[kTerms][4];
#pragma unroll
        for (int t = 0; t < kTerms; ++t) load_a(shares + t * low_term, share_stride, 16 * step, a[t]);
        // Keys of lanes 0-7 and 8-15 make a fragment of eight columns, those of the others one of the next eight.
        const uint16_t* row = values + (16 * step + lane / 8 % 2 * 8 + lane % 8) * stride + lane / 16 * 8;
#pragma unroll
        for (int n = 0; n < kColumnTiles; n += 2) {
            if (8 * n >= n_columns) break;
            uint32_t words[4];
            load_transposed(words, row + 8 * n);
#pragma unroll
            for (int t = kTerms - 1; t >= 0; --t)
#pragma unroll
                for (int side = 0; side < 2; ++side) mma_half(mix[n + side], a[t], {words[2 * side], words[2 * side + 1]});
        }
    }
}

template <int kRowWarps, int kColumnTiles>
__global__ void __launch_bounds__(kAttentionThreads, 2) prompt_kernel(const __grid_constant__ AttentionShape s) {
    constexpr int kColumnWarps = kAttentionWarps / kRowWarps, kRows = kRowWarps * kRowTile, kMine = kKeyTiles / kColumnWarps;
    auto* memory = dynamic_shared<uint16_t>();
    __shared__ float scales[kRows], tops[kColumnWarps][kRows], sums[kColumnWarps][kRows];
    const bool values_are_keys = s.k == s.v;
    const Layout at(kRows, s.dk, s.dv, values_are_keys);
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, r = lane / 4, c = lane % 4;
    const int row_warp = warp / kColumnWarps, column_warp = warp % kColumnWarps, own_row = row_warp * kRowTile + r;
    const int kv_head = static_cast<int>(blockIdx.y), n_rows = s.q.n_rows * s.heads_a_kv, first_row = static_cast<int>(blockIdx.x) * kRows;
    const auto position_of = [&](int row) { return s.first_position.get() + row_at(s, kv_head, min(first_row + row, n_rows - 1)).token; };
    const auto [begin, end] = range_of_split(s, kRows, first_key(s, position_of(0)), position_of(kRows - 1));
    if (begin >= end) {   // never so of a single split
        const int own = static_cast<int>(threadIdx.x);
        if (own < kRows && first_row + own < n_rows) s.stats[2 * split_index(s, row_at(s, kv_head, first_row + own))] = -INFINITY;
        return;
    }
    const auto* keys = reinterpret_cast<const uint16_t*>(s.k) + s.k_gap * static_cast<size_t>(kv_head);
    const auto* values = reinterpret_cast<const uint16_t*>(s.v) + s.v_gap * static_cast<size_t>(kv_head);
    if (!values_are_keys) fetch_rows(keys, s.dk, s.dk, begin, end, memory + at.keys, at.key_stride);
    stage_queries(s, at, kv_head, first_row, memory, scales);
    __syncthreads();
    int first[2], last[2];
    float scale[2];
    PromptFound<kColumnTiles> found;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        last[h] = position_of(own_row + 8 * h);
        first[h] = first_key(s, last[h]);
        scale[h] = scales[own_row + 8 * h];
        found.top[h] = -INFINITY;
        found.sum[h] = 0;
    }
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) found.mix[n][i] = 0;
    const int first_column = column_warp * kColumnTiles * 8, first_tile = column_warp * kMine;
    const uint16_t *own_queries = memory + row_warp * kRowTile * at.key_stride, *own_shares = memory + at.shares + row_warp * kRowTile * at.share_stride;
    for (int tile = begin; tile < end; tile += kTileKeys) {
        if (values_are_keys) {
            __syncthreads();   // nobody mixes the last ones any more
            fetch_rows(keys, s.dk, s.dk, tile, end, memory + at.keys, at.key_stride);
        }
        wait_async();
        __syncthreads();       // keys are there, and the last values are not needed any more
        if (!values_are_keys) fetch_rows(values, s.v_stride, s.dv, tile, end, memory + at.values, at.value_stride);
        float score[kMine][4];
        score_tiles<kMine>(own_queries, at.rows * at.key_stride, memory + at.keys + first_tile * 8 * at.key_stride, at.key_stride, s.dk, score);
        float highest[2] = {-INFINITY, -INFINITY};
        see_scores<kMine>(s, tile + 8 * first_tile, scale, first, last, score, highest);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            highest[h] = fmaxf(highest[h], __shfl_xor_sync(kAllLanes, highest[h], 1));
            highest[h] = fmaxf(highest[h], __shfl_xor_sync(kAllLanes, highest[h], 2));
            if constexpr (kColumnWarps > 1)
                if (c == 0) tops[column_warp][own_row + 8 * h] = highest[h];
        }
        if constexpr (kColumnWarps > 1) {
            __syncthreads();
#pragma unroll
            for (int h = 0; h < 2; ++h)
                for (int w = 0; w < kColumnWarps; ++w) highest[h] = fmaxf(highest[h], tops[w][own_row + 8 * h]);
        }
        raise_top(found, highest);
        write_shares<kColumnTiles, kMine>(found, score, memory + at.shares + own_row * at.share_stride + 8 * first_tile + 2 * c, at.share_stride,
                                          at.rows * at.share_stride);
        wait_async();
        __syncthreads();       // values and shares are there, and keys are not needed any more
        if (!values_are_keys && tile + kTileKeys < end) fetch_rows(keys, s.dk, s.dk, tile + kTileKeys, end, memory + at.keys, at.key_stride);
        mix_tiles<kColumnTiles>(own_shares, at.rows * at.share_stride, at.share_stride, memory + at.values + first_column, at.value_stride, s.dv - first_column,
                                found.mix);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        found.sum[h] += __shfl_xor_sync(kAllLanes, found.sum[h], 1);
        found.sum[h] += __shfl_xor_sync(kAllLanes, found.sum[h], 2);
        if (c == 0) sums[column_warp][own_row + 8 * h] = found.sum[h];
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        if (first_row + own_row + 8 * h >= n_rows) continue;
        const AttentionRow row = row_at(s, kv_head, first_row + own_row + 8 * h);
        float sum = 0;
        for (int w = 0; w < kColumnWarps; ++w) sum += sums[w][own_row + 8 * h];
        write_mix(s, row, found, h, sum, first_column, column_warp == 0 && c == 0);
    }
}

int row_warps_for(int dv) { return dv <= 128 ? 4 : dv <= 256 ? 2 : 1; }

int shared_bytes(int row_warps, int dk, int dv, bool values_are_keys) { return Layout(row_warps * kRowTile, dk, dv, values_are_keys).n_bytes(); }

template <int kRowWarps, int kColumnTiles>
void launch_prompt(cudaStream_t stream, const AttentionShape& s, const AttentionDivision& d) {
    const int shared = shared_bytes(kRowWarps, s.dk, s.dv, s.k == s.v);
    (void)cudaFuncSetAttribute(prompt_kernel<kRowWarps, kColumnTiles>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    const dim3 grid(static_cast<unsigned>(d.n_row_blocks), static_cast<unsigned>(s.n_heads / s.heads_a_kv), static_cast<unsigned>(d.n_splits));
    launch(prompt_kernel<kRowWarps, kColumnTiles>, grid, dim3(kAttentionThreads), static_cast<size_t>(shared), stream, s);
}

}  // namespace

bool attends_on_tensor_cores(const AttentionCall& call, Precision precision) {
    const KvCache& cache = *call.cache;
    const int dk = cache.head_dim_k, dv = call.head_dim_v;
    // Asynchronous copies take 16 bytes that begin at a multiple of 16.
    const bool has_shape = dk % 16 == 0 && dv % 8 == 0 && cache.v_stride() % 8 == 0 && dv <= 512;
    return precision == Precision::kFast && cache.type == KvType::kF16 && call.q.n_rows > kMostStepRows && has_shape &&
           shared_bytes(row_warps_for(dv), dk, dv, !cache.v) <= kMostShared;
}

void choose_prompt_block(const AttentionCall& call, AttentionDivision& d) { d.rows = row_warps_for(call.head_dim_v) * kRowTile; }

void launch_attention_prompt(cudaStream_t stream, const AttentionShape& s, const AttentionDivision& d) {
    if (s.dv <= 64) launch_prompt<4, 8>(stream, s, d);
    else if (s.dv <= 128) launch_prompt<4, 16>(stream, s, d);
    else if (s.dv <= 256) launch_prompt<2, 16>(stream, s, d);
    else launch_prompt<1, 16>(stream, s, d);
}

}  // namespace gs::cuda
