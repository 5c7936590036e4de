// Attention in f32: of single tokens, and of everything in the exact precision or of a shape that tensor cores do not take. Has run in the emulation of
// tests/cuda_emulation only, never on a device.
//
// A block takes some rows and a range of keys; its warps take tiles of 32 keys in turn, a key a lane for the scores and a column a lane for the values.
#include <cuda_fp16.h>

#include "engine/ops/cuda/attention_parts.cuh"

namespace gs::cuda {
namespace {

constexpr int kMostColumns = 512;          // of values, a block; wider heads are divided among blocks

__device__ float value_of(const float* p) { return __ldg(p); }
__device__ float value_of(const __half* p) { return __half2float(__ldg(p)); }

__device__ void load_eight(const float* p, float (&v)[8]) {
    const float4 a = __ldg(reinterpret_cast<const float4*>(p)), b = __ldg(reinterpret_cast<const float4*>(p) + 1);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ float2 two_halves(unsigned word) {
    return make_float2(__half2float(__ushort_as_half(static_cast<unsigned short>(word & 0xffffu))),
                       __half2float(__ushort_as_half(static_cast<unsigned short>(word >> 16))));
}
__device__ void load_eight(const __half* p, float (&v)[8]) {
    const uint4 words = __ldg(reinterpret_cast<const uint4*>(p));
    const float2 a = two_halves(words.x), b = two_halves(words.y), c = two_halves(words.z), d = two_halves(words.w);
    v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = c.x, v[5] = c.y, v[6] = d.x, v[7] = d.y;
}

constexpr __host__ __device__ int padded(int n) { return (n + 7) / 8 * 8; }

/// What R rows have found so far: the largest score, this lane's part of the sum of shares, and its columns of the mix.
template <int R, int C>
struct Found {
    float top[R], sum[R], mix[R][C];
};

/// q·k of R rows with the lane's key.
template <class Kv, int R>
__device__ void score_key(const Kv* key, const float* q, int dk, float (&score)[R]) {
    const int stride = padded(dk);
#pragma unroll
    for (int r = 0; r < R; ++r) score[r] = 0;
    if (dk % 8 == 0) {   // keys begin at multiples of 16 bytes
        for (int d = 0; d < dk; d += 8) {
            float k[8];
            load_eight(key + d, k);
#pragma unroll
            for (int r = 0; r < R; ++r) {
                const float4 a = *reinterpret_cast<const float4*>(q + r * stride + d), b = *reinterpret_cast<const float4*>(q + r * stride + d + 4);
                float sum = fmaf(a.x, k[0], score[r]);
                sum = fmaf(a.y, k[1], sum);
                sum = fmaf(a.z, k[2], sum);
                sum = fmaf(a.w, k[3], sum);
                sum = fmaf(b.x, k[4], sum);
                sum = fmaf(b.y, k[5], sum);
                sum = fmaf(b.z, k[6], sum);
                score[r] = fmaf(b.w, k[7], sum);
            }
        }
    } else {
        for (int d = 0; d < dk; ++d) {
            const float k = value_of(key + d);
#pragma unroll
            for (int r = 0; r < R; ++r) score[r] = fmaf(q[r * stride + d], k, score[r]);
        }
    }
}

struct Largest {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
    __device__ float operator()(float a, float b) const { return a + b; }
};

/// One value of each of R rows of 32, which the warp's lanes have put into `rows`: in results[R], for the whole warp to read. Lanes divide the rows among
/// them: a shuffle for every doubling of what a row has lanes, instead of five a row.
template <int R, class Combine>
__device__ void reduce_rows(const float* rows, float* results, const Combine& combine) {
    constexpr int kLanes = kWarp / R;
    const int lane = static_cast<int>(threadIdx.x) % kWarp, row = lane / kLanes, part = lane % kLanes;
    __syncwarp();
    float value = rows[row * kWarp + part];
#pragma unroll
    for (int i = 1; i < R; ++i) value = combine(value, rows[row * kWarp + i * kLanes + part]);
#pragma unroll
    for (int step = kLanes / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
    if (part == 0) results[row] = value;
    __syncwarp();
}

/// The shares of 32 keys, put where the whole warp reads them; what was found before fades where a larger score turns up. `tile_tops` [R] is the warp's.
template <int R, int C>
__device__ void share_out(const AttentionShape& s, float (&score)[R], int key, const int* first, const int* last, float* shares, float* tile_tops,
                          Found<R, C>& found) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
    for (int r = 0; r < R; ++r) {
        score[r] = seen_score(s, score[r], key, first[r], last[r]);
        shares[r * kWarp + lane] = score[r];
    }
    reduce_rows<R>(shares, tile_tops, Largest{});
#pragma unroll
    for (int r = 0; r < R; ++r) {
        const float top = fmaxf(found.top[r], tile_tops[r]);
        // Nothing is seen yet: not a number otherwise.
        const float share = top == -INFINITY ? 0.0f : expf(score[r] - top), fade = top == -INFINITY ? 0.0f : expf(found.top[r] - top);
        found.top[r] = top;
        found.sum[r] = found.sum[r] * fade + share;
#pragma unroll
        for (int c = 0; c < C; ++c) found.mix[r][c] *= fade;
        shares[r * kWarp + lane] = share;
    }
    __syncwarp();
}

/// mix += shares of 32 keys times their values. Keys beyond the end have a share of 0, and the last one's values.
template <class Kv, int R, int C>
__device__ void mix_values(const AttentionShape& s, const Kv* values, int key, int end, int first_column, const float* shares, Found<R, C>& found) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, n = min(kWarp, end - key);
    for (int j = 0; j < n; j += 4) {
        float4 share[R];
#pragma unroll
        for (int r = 0; r < R; ++r) share[r] = *reinterpret_cast<const float4*>(shares + r * kWarp + j);
        const Kv* row[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) row[i] = values + static_cast<size_t>(min(key + j + i, end - 1)) * static_cast<size_t>(s.v_stride);
#pragma unroll
        for (int c = 0; c < C; ++c) {
            const int column = first_column + c * kWarp + lane;
            if (column >= s.dv) break;
            const float v0 = value_of(row[0] + column), v1 = value_of(row[1] + column), v2 = value_of(row[2] + column), v3 = value_of(row[3] + column);
#pragma unroll
            for (int r = 0; r < R; ++r) {
                float sum = fmaf(share[r].x, v0, found.mix[r][c]);
                sum = fmaf(share[r].y, v1, sum);
                sum = fmaf(share[r].z, v2, sum);
                found.mix[r][c] = fmaf(share[r].w, v3, sum);
            }
        }
    }
}

/// What the warps have found becomes one: mixes in `mixed` [R][C * 32], each warp's largest scores and sums in tops and sums. All threads call it.
template <int R, int C>
__device__ void merge_warps(Found<R, C>& found, float* shares, float* mixed, float (&tops)[kAttentionWarps][R], float (&sums)[kAttentionWarps][R]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
    for (int r = 0; r < R; ++r) {
        shares[r * kWarp + lane] = found.sum[r];
        if (lane == 0) tops[warp][r] = found.top[r];
    }
    reduce_rows<R>(shares, sums[warp], Sum{});
    __syncthreads();
    float factor[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
        float top = tops[0][r];
        for (int w = 1; w < kAttentionWarps; ++w) top = fmaxf(top, tops[w][r]);
        factor[r] = found.top[r] == -INFINITY ? 0.0f : expf(found.top[r] - top);
    }
    for (int w = 0; w < kAttentionWarps; ++w) {
        if (w == warp) {
#pragma unroll
            for (int r = 0; r < R; ++r)
#pragma unroll
                for (int c = 0; c < C; ++c) {
                    float& sum = mixed[(r * C + c) * kWarp + lane];
                    sum = (w == 0 ? 0.0f : sum) + factor[r] * found.mix[r][c];
                }
        }
        __syncthreads();
    }
}

// Three blocks a multiprocessor: more would make the compiler save registers at the price of spills.
template <class Kv, int R, int C>
__global__ void __launch_bounds__(kAttentionThreads, 3) attention_kernel(const __grid_constant__ AttentionShape s) {
    const int stride = padded(s.dk), lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    float* q = dynamic_shared<float>();                    // [R][stride]
    float* shares = q + R * stride + warp * R * kWarp;     // [R][32] a warp
    float* mixed = q + R * stride + kAttentionWarps * R * kWarp;    // [R][C * 32]
    __shared__ int first[R], last[R];
    __shared__ float tops[kAttentionWarps][R], sums[kAttentionWarps][R];
    const int n_kv = s.n_heads / s.heads_a_kv, kv_head = static_cast<int>(blockIdx.y) % n_kv, first_column = static_cast<int>(blockIdx.y) / n_kv * C * kWarp;
    const int n_rows = s.q.n_rows * s.heads_a_kv, first_row = static_cast<int>(blockIdx.x) * R, end_row = min(first_row + R, n_rows);
    for (int i = static_cast<int>(threadIdx.x); i < R * stride; i += kAttentionThreads) {
        const AttentionRow row = row_at(s, kv_head, min(first_row + i / stride, n_rows - 1));
        const int d = i % stride;
        q[i] = d < s.dk ? row_of(s.q, row.token)[static_cast<ptrdiff_t>(row.head) * s.dk + d] : 0.0f;
    }
    if (threadIdx.x < R) {
        const int position = s.first_position.get() + row_at(s, kv_head, min(first_row + static_cast<int>(threadIdx.x), n_rows - 1)).token;
        first[threadIdx.x] = first_key(s, position);
        last[threadIdx.x] = position;
    }
    __syncthreads();
    // Later rows see no key before the first one's, and none sees a key behind the last one's.
    const auto [begin, end] = range_of_split(s, R, first[0], last[R - 1]);
    if (begin >= end) {   // never so of a single split
        const int r = static_cast<int>(threadIdx.x);
        if (r < end_row - first_row && first_column == 0) s.stats[2 * split_index(s, row_at(s, kv_head, first_row + r))] = -INFINITY;
        return;
    }
    const Kv* keys = reinterpret_cast<const Kv*>(s.k) + s.k_gap * static_cast<size_t>(kv_head);
    const Kv* values = reinterpret_cast<const Kv*>(s.v) + s.v_gap * static_cast<size_t>(kv_head);
    Found<R, C> found;
#pragma unroll
    for (int r = 0; r < R; ++r) {
        found.top[r] = -INFINITY;
        found.sum[r] = 0;
#pragma unroll
        for (int c = 0; c < C; ++c) found.mix[r][c] = 0;
    }
    for (int tile = begin + warp * kWarp; tile < end; tile += kKeysAtOnce) {
        const int key = tile + lane;
        float score[R];
        score_key<Kv, R>(keys + static_cast<size_t>(min(key, end - 1)) * static_cast<size_t>(s.dk), q, s.dk, score);
        // A key behind the end is as one that no row sees.
        share_out<R, C>(s, score, key < end ? key : 0x7fffffff, first, last, shares, tops[warp], found);
        mix_values<Kv, R, C>(s, values, tile, end, first_column, shares, found);
        __syncwarp();
    }
    merge_warps<R, C>(found, shares, mixed, tops, sums);
    for (int i = static_cast<int>(threadIdx.x); i < (end_row - first_row) * C * kWarp; i += kAttentionThreads) {
        const int r = i / (C * kWarp), column = first_column + i % (C * kWarp);
        if (column >= s.dv) continue;
        const AttentionRow row = row_at(s, kv_head, first_row + r);
        float top = tops[0][r], sum = 0;
        for (int w = 1; w < kAttentionWarps; ++w) top = fmaxf(top, tops[w][r]);
        for (int w = 0; w < kAttentionWarps; ++w) sum += tops[w][r] == -INFINITY ? 0.0f : sums[w][r] * expf(tops[w][r] - top);
        if (s.n_splits == 1) {
            float fade;
            const float factor = share_factor(s, row.head, top, sum, fade);
            row_of(s.out, row.token)[static_cast<ptrdiff_t>(row.head) * s.dv + column] = mixed[i] * fade * factor;
            continue;
        }
        const size_t at = split_index(s, row);
        s.mixes[at * static_cast<size_t>(s.dv) + static_cast<size_t>(column)] = mixed[i];
        if (column == 0) {
            s.stats[2 * at] = top;
            s.stats[2 * at + 1] = sum;
        }
    }
}

template <class Kv, int R, int C>
void launch_attention(cudaStream_t stream, const AttentionShape& s, const AttentionDivision& d) {
    const size_t shared = static_cast<size_t>(R * padded(s.dk) + kAttentionWarps * R * kWarp + R * C * kWarp) * sizeof(float);
    constexpr size_t kWithoutAsking = 40 << 10;
    if (shared > kWithoutAsking)
        (void)cudaFuncSetAttribute(attention_kernel<Kv, R, C>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    const dim3 grid(static_cast<unsigned>(d.n_row_blocks), static_cast<unsigned>(s.n_heads / s.heads_a_kv * d.n_column_blocks), static_cast<unsigned>(d.n_splits));
    launch(attention_kernel<Kv, R, C>, grid, dim3(kAttentionThreads), shared, stream, s);
}

template <class Kv, int C>
void launch_columns(cudaStream_t stream, const AttentionShape& s, const AttentionDivision& d) {
    if (d.rows == 1) return launch_attention<Kv, 1, C>(stream, s, d);
    if constexpr (C <= 4) {
        if (d.rows == 8) return launch_attention<Kv, 8, C>(stream, s, d);
    }
    launch_attention<Kv, 4, C>(stream, s, d);
}

template <class Kv>
void launch_type(cudaStream_t stream, const AttentionShape& s, const AttentionDivision& d) {
    switch (d.columns) {
        case 2: return launch_columns<Kv, 2>(stream, s, d);
        case 4: return launch_columns<Kv, 4>(stream, s, d);
        case 8: return launch_columns<Kv, 8>(stream, s, d);
        default: return launch_columns<Kv, 16>(stream, s, d);
    }
}

}  // namespace

void choose_f32_block(const AttentionCall& call, AttentionDivision& d) {
    const int n_rows = call.q.n_rows * (call.n_heads / call.cache->n_kv_heads);
    d.columns = call.head_dim_v <= 64 ? 2 : call.head_dim_v <= 128 ? 4 : call.head_dim_v <= 256 ? 8 : 16;
    d.rows = n_rows == 1 ? 1 : n_rows <= 4 || d.columns > 4 ? 4 : 8;
    d.n_column_blocks = ceil_div(call.head_dim_v, kMostColumns);
}

void launch_attention_f32(cudaStream_t stream, KvType type, const AttentionShape& s, const AttentionDivision& d) {
    if (type == KvType::kF16) launch_type<__half>(stream, s, d);
    else launch_type<float>(stream, s, d);
}

}  // namespace gs::cuda
