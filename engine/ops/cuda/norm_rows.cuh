// What a row's norm is made of, as every kernel that normalises computes it, so that all find the same bits. Private to norm.cu and linear.cu.
#pragma once

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/norm.cuh"

namespace gs::cuda {

constexpr int kNormWarps = 8;      ///< divide a row's values among them, warp by warp and lane by lane; sums of warps are added in their order
constexpr int kWarpValues = 512;   ///< up to this many are one warp's

constexpr __host__ __device__ int norm_warps(int n) { return n <= kWarpValues ? 1 : kNormWarps; }

/// What this lane adds up as one of warp `warp` of norm_warps(n) for a row of n: its values, in f64 because what is left of x - mean may be small.
__device__ inline double sum_part(const float* row, int n, int warp) {
    double sum = 0;
    for (int i = warp * kWarp + static_cast<int>(threadIdx.x) % kWarp; i < n; i += norm_warps(n) * kWarp) sum += static_cast<double>(row[i]);
    return sum;
}

/// Their squares, less the mean.
__device__ inline float square_part(const float* row, int n, float mean, int warp) {
    float squares = 0;
    for (int i = warp * kWarp + static_cast<int>(threadIdx.x) % kWarp; i < n; i += norm_warps(n) * kWarp) {
        const float d = row[i] - mean;
        squares = fmaf(d, d, squares);
    }
    return squares;
}

template <class T>
__device__ T sum_of_warps(const T* parts, int n_warps) {
    T sum = 0;
    for (int w = 0; w < n_warps; ++w) sum += parts[w];
    return sum;
}

__device__ inline float norm_factor(const NormShape& s, float squares) { return 1.0f / sqrtf(squares / static_cast<float>(s.group) + s.eps); }

/// Value i of a row or group.
__device__ inline float normalised(const NormShape& s, float x, float mean, float factor, int i) {
    const float y = (x - mean) * factor * (s.weight ? s.weight[i] : 1.0f);
    return s.bias ? y + s.bias[i] : y;
}

}  // namespace gs::cuda
