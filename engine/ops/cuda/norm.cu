// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/norm.cuh"

#include <algorithm>

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kWarpValues = 512;   // up to this many are normalised by one warp

/// Sum over `n_warps` warps, in every thread.
template <class T>
__device__ T team_sum(T value, int n_warps, T* shared) {
    value = warp_sum(value);
    if (n_warps == 1) return value;
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    __syncthreads();   // what an earlier sum left has been read
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    T sum = 0;
    for (int w = 0; w < n_warps; ++w) sum += shared[w];
    return sum;
}

/// Teams of n_warps warps, 1 or all of the block; one a group.
__global__ void __launch_bounds__(kThreads) norm_kernel(const __grid_constant__ NormShape s, int n_warps) {
    __shared__ double shared_means[kWarps];
    __shared__ float shared_squares[kWarps];
    const int warp = static_cast<int>(threadIdx.x) / kWarp, n_threads = n_warps * kWarp, i0 = static_cast<int>(threadIdx.x) % n_threads;
    const int groups_a_row = s.x.n_cols / s.group, n_groups = s.x.n_rows * groups_a_row;
    const int teams = static_cast<int>(blockDim.x) / n_threads, mine = static_cast<int>(blockIdx.x) * teams + warp / n_warps;
    // Where there are warps left over, they repeat the last group and write nothing: all meet at the same barriers.
    const int g = min(mine, n_groups - 1);
    const ptrdiff_t column = static_cast<ptrdiff_t>(g % groups_a_row) * s.group;
    const float* in = row_of(s.x, g / groups_a_row) + column;
    float mean = 0;
    if (s.kind == NormKind::kLayer) {
        double sum = 0;
        for (int i = i0; i < s.group; i += n_threads) sum += static_cast<double>(in[i]);
        mean = static_cast<float>(team_sum(sum, n_warps, shared_means) / s.group);
    }
    float squares = 0;
    for (int i = i0; i < s.group; i += n_threads) {
        const float d = in[i] - mean;
        squares = fmaf(d, d, squares);
    }
    squares = team_sum(squares, n_warps, shared_squares);
    if (mine >= n_groups) return;
    const float factor = 1.0f / sqrtf(squares / static_cast<float>(s.group) + s.eps);
    float* out = row_of(s.out, g / groups_a_row) + column;
    for (int i = i0; i < s.group; i += n_threads) {
        const float y = (in[i] - mean) * factor * (s.weight ? s.weight[i] : 1.0f);
        out[i] = s.bias ? y + s.bias[i] : y;
    }
}

}  // namespace

void normalise(cudaStream_t stream, const NormShape& s) {
    const int n_groups = s.group > 0 ? s.x.n_rows * (s.x.n_cols / s.group) : 0;
    if (n_groups <= 0) return;
    const int n_warps = s.group <= kWarpValues ? 1 : kWarps, teams = std::min(kWarps / n_warps, n_groups);
    launch(norm_kernel, dim3(static_cast<unsigned>(ceil_div(n_groups, teams))), dim3(static_cast<unsigned>(teams * n_warps * kWarp)), 0, stream, s, n_warps);
}

}  // namespace gs::cuda
