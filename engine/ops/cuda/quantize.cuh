// Rounding of a group of activations for the integer product. Private to gemm.cu and moe_prefill.cu.
#pragma once

#include "engine/ops/cuda/gemm.cuh"
#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/rounding.h"

namespace gs::cuda {

constexpr int kRoundThreads = 256, kLanesPerGroup = 8;   // four values each

/// The group of this thread's lanes, and the first of its four values. Blocks in y cover a row.
__device__ inline int rounded_group() { return static_cast<int>(blockIdx.y * kRoundThreads + threadIdx.x) / kLanesPerGroup; }
__device__ inline int rounded_part() { return static_cast<int>(threadIdx.x) % kLanesPerGroup; }
inline unsigned round_blocks(int n_in) { return static_cast<unsigned>(ceil_div(ceil_div(n_in, kGroup) * kLanesPerGroup, kRoundThreads)); }

/// Eight lanes a group, all lanes of a warp: the largest magnitude gives the scale; then q = round(x / scale) = 128 high + low, low in -64 .. 63.
__device__ inline void round_group(const float (&v)[4], int row, int group, const Int8Input& input) {
    float largest = 0, probe = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        largest = fmaxf(largest, fabsf(v[i]));
        probe += v[i] * 0.0f;   // infinities and what is no number would be lost in rounding: they spoil the scale
    }
#pragma unroll
    for (int step = 1; step < kLanesPerGroup; step *= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
        probe += __shfl_xor_sync(kAllLanes, probe, step);
    }
    const float inverse = rounding_inverse(largest), scale = largest / kLargestRounded + probe;
    uint32_t high = 0, low = 0;
    int sum = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int q = probe == 0.0f ? __float2int_rn(v[i] * inverse) : 0, h = (q + 64) >> 7;
        sum += q;
        high |= static_cast<uint32_t>(h & 255) << 8 * i;
        low |= static_cast<uint32_t>((q - 128 * h) & 255) << 8 * i;
    }
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    if (group >= input.n_groups) return;
    const int part = rounded_part();
    const size_t at = static_cast<size_t>(row) * static_cast<size_t>(input.n_groups) + static_cast<size_t>(group);
    reinterpret_cast<uint32_t*>(input.high)[at * kLanesPerGroup + static_cast<size_t>(part)] = high;
    reinterpret_cast<uint32_t*>(input.low)[at * kLanesPerGroup + static_cast<size_t>(part)] = low;
    if (part == 0) input.scale[at] = scale;
    if (part % 4 == 0) input.sum[2 * at + static_cast<size_t>(part / 4)] = scale * static_cast<float>(sum);
}

}  // namespace gs::cuda
