// Rows of a matrix times a few tokens, weights read once and kept in registers: what decoding is made of (linear.cu, moe_decode.cu).
//
// A team of lanes (a power of two up to a warp) takes a row, each lane every team-th group, so that neighbouring lanes read neighbouring 16 bytes. A
// warp has 32 / team teams; each takes R rows at once, because one row's loads are too few to fill memory's latency and because an input read from
// shared memory then meets R rows. Sums are f32.
#pragma once

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/unpack.cuh"

namespace gs::cuda {

/// Floats from one group of a staged input to the next: eight lanes on neighbouring groups read 16 bytes each from different banks.
constexpr int kStagedGroup = 36;
constexpr int kRowThreads = 256, kRowWarps = kRowThreads / kWarp;

/// The most lanes of which at least three quarters have work in every pass over n_groups.
inline int team_for(int n_groups) {
    for (int team = kWarp; team > 1; team /= 2)
        if (4 * n_groups >= 3 * ceil_div(n_groups, team) * team) return team;
    return 1;
}

__device__ inline float dot4(const float4& a, const float4& b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}
__device__ inline float sum4(const float4& v) { return (v.x + v.y) + (v.z + v.w); }

/// Stages columns begin .. of one row of x, n_groups groups of them, by threads first, first + step, ...; zeros beyond n_in.
__device__ inline void stage_groups(const float* x, int begin, int n_in, int n_groups, int first, int step, float* staged) {
    for (int i = first; i < n_groups * kGroup; i += step)
        staged[i / kGroup * kStagedGroup + i % kGroup] = begin + i < n_in ? x[begin + i] : 0.0f;
}

/// sum[r][t] += the groups lane, lane + team, ... of n_groups, of the rows whose first group is at row[r], times T staged tokens.
template <Format F, int T, int R>
__device__ inline void accumulate_plain(const SlabView& w, const uint32_t (&row)[R], int n_groups, const float* x, int token_stride, int lane, int team,
                                        float (&sum)[R][T]) {
    for (int g = lane; g < n_groups; g += team) {
        const float* xg = x + g * kStagedGroup;
        // All at once would be more loads than there are registers for.
#pragma unroll 1
        for (int pair = 0; pair < 4; ++pair)
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                const int j = 2 * pair + side;
                float4 v[R];
#pragma unroll
                for (int r = 0; r < R; ++r) v[r] = plain_four<F>(w, row[r] + static_cast<uint32_t>(g), j);
#pragma unroll
                for (int t = 0; t < T; ++t) {
                    const float4 in = *reinterpret_cast<const float4*>(xg + t * token_stride + 4 * j);
#pragma unroll
                    for (int r = 0; r < R; ++r) sum[r][t] = dot4(v[r], in, sum[r][t]);
                }
            }
    }
}

template <Format F, int T, int R>
__device__ inline void accumulate_quantized(const SlabView& w, const uint32_t (&row)[R], int n_groups, const float* x, int token_stride, int lane,
                                            int team, float (&sum)[R][T]) {
    constexpr bool kHalves = kTraits<F>.run == 16, kMin = kTraits<F>.has_min;
    for (int g = lane; g < n_groups; g += team) {
        const float* xg = x + g * kStagedGroup;
        Group<F> groups[R];
#pragma unroll
        for (int r = 0; r < R; ++r) groups[r] = load_group<F>(w, row[r] + static_cast<uint32_t>(g));
        float part[R][T][2] = {}, in_sum[T][2] = {};   // of each half; of the first only, where both have one scale
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            uint32_t words[R][2];
#pragma unroll
            for (int r = 0; r < R; ++r) unpack_words<F>(groups[r], i, words[r][0], words[r][1]);
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                const int s = kHalves ? side : 0;
                float4 q[R];
#pragma unroll
                for (int r = 0; r < R; ++r) q[r] = bytes_to_floats(words[r][side]);
#pragma unroll
                for (int t = 0; t < T; ++t) {
                    const float4 in = *reinterpret_cast<const float4*>(xg + t * token_stride + 16 * side + 4 * i);
                    if constexpr (kMin) in_sum[t][s] += sum4(in);
#pragma unroll
                    for (int r = 0; r < R; ++r) part[r][t][s] = dot4(q[r], in, part[r][t][s]);
                }
            }
        }
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int t = 0; t < T; ++t)
#pragma unroll
                for (int s = 0; s < (kHalves ? 2 : 1); ++s) {
                    sum[r][t] = fmaf(groups[r].scale[s], part[r][t][s], sum[r][t]);
                    if constexpr (kMin) sum[r][t] = fmaf(-groups[r].min[s], in_sum[t][s], sum[r][t]);
                }
    }
}

template <int T, int R>
__device__ inline void accumulate_rows(Format format, const SlabView& w, const uint32_t (&row)[R], int n_groups, const float* x, int token_stride, int lane,
                                       int team, float (&sum)[R][T]) {
    for_format(format, [&]<Format F>() {
        if constexpr (kPlain<F>) accumulate_plain<F, T, R>(w, row, n_groups, x, token_stride, lane, team, sum);
        else accumulate_quantized<F, T, R>(w, row, n_groups, x, token_stride, lane, team, sum);
    });
}

/// Sums over each team, in every lane of it.
template <int T, int R>
__device__ inline void sum_teams(int team, float (&sum)[R][T]) {
    for (int step = team / 2; step > 0; step /= 2)
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
            for (int t = 0; t < T; ++t) sum[r][t] += __shfl_xor_sync(kAllLanes, sum[r][t], step);
}

}  // namespace gs::cuda
