// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/norm.cuh"

#include <algorithm>

#include "engine/ops/cuda/norm_rows.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kThreads = kNormWarps * kWarp;

/// Sum over `n_warps` warps, in every thread.
template <class T>
__device__ T team_sum(T value, int n_warps, T* shared) {
    value = warp_sum(value);
    if (n_warps == 1) return value;
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    __syncthreads();   // what an earlier sum left has been read
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    return sum_of_warps(shared, n_warps);
}

/// Teams of n_warps warps, 1 or all of the block; one a group.
__global__ void __launch_bounds__(kThreads) norm_kernel(const __grid_constant__ NormShape s, int n_warps) {
    __shared__ double shared_means[kNormWarps];
    __shared__ float shared_squares[kNormWarps];
    const int warp = static_cast<int>(threadIdx.x) / kWarp, n_threads = n_warps * kWarp, i0 = static_cast<int>(threadIdx.x) % n_threads;
    const int groups_a_row = s.x.n_cols / s.group, n_groups = s.x.n_rows * groups_a_row;
    const int teams = static_cast<int>(blockDim.x) / n_threads, mine = static_cast<int>(blockIdx.x) * teams + warp / n_warps;
    // Where there are warps left over, they repeat the last group and write nothing: all meet at the same barriers.
    const int g = min(mine, n_groups - 1);
    const ptrdiff_t column = static_cast<ptrdiff_t>(g % groups_a_row) * s.group;
    const float* in = row_of(s.x, g / groups_a_row) + column;
    float mean = 0;
    if (s.kind == NormKind::kLayer) mean = static_cast<float>(team_sum(sum_part(in, s.group, warp % n_warps), n_warps, shared_means) / s.group);
    const float squares = team_sum(square_part(in, s.group, mean, warp % n_warps), n_warps, shared_squares);
    if (mine >= n_groups) return;
    const float factor = norm_factor(s, squares);
    float* out = row_of(s.out, g / groups_a_row) + column;
    for (int i = i0; i < s.group; i += n_threads) out[i] = normalised(s, in[i], mean, factor, i);
}

}  // namespace

void normalise(cudaStream_t stream, const NormShape& s) {
    const int n_groups = s.group > 0 ? s.x.n_rows * (s.x.n_cols / s.group) : 0;
    if (n_groups <= 0) return;
    const int n_warps = norm_warps(s.group), teams = std::min(kNormWarps / n_warps, n_groups);
    launch(norm_kernel, dim3(static_cast<unsigned>(ceil_div(n_groups, teams))), dim3(static_cast<unsigned>(teams * n_warps * kWarp)), 0, stream, s, n_warps);
}

}  // namespace gs::cuda
