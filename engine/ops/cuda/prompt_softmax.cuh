// The softmax between the two products of attention_prompt.cu. A thread holds, of rows r and r + 8 of its warp's tile, columns 2c and 2c + 1 of every
// eight, where r and c are its lane's quotient and rest by four.
#pragma once

#include "engine/ops/cuda/attention_parts.cuh"

namespace gs::cuda {

constexpr float kShareScale = 16384;               // shares are 1 at most: their terms then use the range of halves

/// value = high + low, with eleven bits each.
__device__ inline void split_value(float value, uint16_t& high, uint16_t& low) {
    const __half h = __float2half_rn(value);
    high = __half_as_ushort(h);
    low = __half_as_ushort(__float2half_rn(value - __half2float(h)));
}

/// What a lane has found for its two rows, r and r + 8 of the warp's 16: largest score, its part of the sum of shares, and its columns' mix.
template <int kColumnTiles>
struct PromptFound {
    float top[2], sum[2], mix[kColumnTiles][4];
};

/// Scores of a tile become what the softmax is taken of: scaled, capped, -inf where a row does not see the key. highest: of this thread's
/// columns in rows r and r + 8.
template <int kMine>
__device__ void see_scores(const AttentionShape& s, int first_key_of_mine, const float (&scale)[2], const int (&first)[2], const int (&last)[2],
                           float (&score)[kMine][4], float (&highest)[2]) {
    const int c = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int n = 0; n < kMine; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            score[n][i] = seen_score(s, score[n][i] * scale[i / 2], first_key_of_mine + 8 * n + 2 * c + i % 2, first[i / 2], last[i / 2]);
            highest[i / 2] = fmaxf(highest[i / 2], score[n][i]);
        }
}

/// The top of all keys so far; sums and mixes that were taken under the one before fade accordingly.
template <int kColumnTiles>
__device__ void raise_top(PromptFound<kColumnTiles>& found, const float (&highest)[2]) {
    float fade[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const float top = fmaxf(found.top[h], highest[h]);
        fade[h] = top == -INFINITY ? 0.0f : expf(found.top[h] - top);   // nothing is seen yet: not a number otherwise
        found.top[h] = top;
        found.sum[h] *= fade[h];
    }
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) found.mix[n][i] *= fade[i / 2];
}

/// Shares of a tile's keys under the top, in two half terms: to [row][key] at `to`, the low terms `low_gap` values further.
template <int kColumnTiles, int kMine>
__device__ void write_shares(PromptFound<kColumnTiles>& found, const float (&score)[kMine][4], uint16_t* to, int stride, int low_gap) {
#pragma unroll
    for (int n = 0; n < kMine; ++n)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            uint16_t high[2], low[2];
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const float share = found.top[h] == -INFINITY ? 0.0f : expf(score[n][2 * h + j] - found.top[h]);
                found.sum[h] += share;
                split_value(share * kShareScale, high[j], low[j]);
            }
            uint16_t* at = to + 8 * h * stride + 8 * n;
            *reinterpret_cast<uint32_t*>(at) = high[0] | static_cast<uint32_t>(high[1]) << 16;
            *reinterpret_cast<uint32_t*>(at + low_gap) = low[0] | static_cast<uint32_t>(low[1]) << 16;
        }
}

/// Row h's mix under its whole sum: to the output, or to this split's mix with its top and sum. is_first: of the threads that hold the row.
template <int kColumnTiles>
__device__ void write_mix(const AttentionShape& s, const AttentionRow& row, const PromptFound<kColumnTiles>& found, int h, float sum, int first_column,
                          bool is_first) {
    const int c = static_cast<int>(threadIdx.x) % 4;
    float* out = row_of(s.out, row.token) + static_cast<ptrdiff_t>(row.head) * s.dv;
    float factor = 1 / kShareScale, fade;
    if (s.n_splits == 1) {
        factor *= share_factor(s, row.head, found.top[h], sum, fade);
        factor *= fade;
    } else {
        const size_t split = split_index(s, row);
        out = s.mixes + split * static_cast<size_t>(s.dv);
        if (is_first) {
            s.stats[2 * split] = found.top[h];
            s.stats[2 * split + 1] = sum;
        }
    }
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int column = first_column + 8 * n + 2 * c + j;
            if (column < s.dv) out[column] = found.mix[n][2 * h + j] * factor;
        }
}

}  // namespace gs::cuda
