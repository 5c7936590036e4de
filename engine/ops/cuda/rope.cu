// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/rope.cuh"

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kMostThreads = 128;

__global__ void angles_kernel(const double* frequencies, int n_pairs, float magnitude, Position first, float2* table) {
    const int t = static_cast<int>(blockIdx.x), i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (i >= n_pairs) return;
    const double angle = static_cast<double>(first.get() + t) * frequencies[i];
    const auto part = [&](double of_angle) { return static_cast<float>(static_cast<double>(magnitude) * of_angle); };
    table[static_cast<ptrdiff_t>(t) * n_pairs + i] = make_float2(part(cos(angle)), part(sin(angle)));
}

__global__ void rotate_kernel(Rows x, int n_heads, int head_dim, const float2* table, int n_pairs, bool halves) {
    const int t = static_cast<int>(blockIdx.x), at = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (at >= n_heads * n_pairs) return;
    const int head = at / n_pairs, i = at % n_pairs;
    const float2 turn = table[static_cast<ptrdiff_t>(t) * n_pairs + i];
    float* values = row_of(x, t) + static_cast<ptrdiff_t>(head) * head_dim;
    float &a = values[halves ? i : 2 * i], &b = values[halves ? i + n_pairs : 2 * i + 1];
    const float a0 = a, b0 = b;
    a = a0 * turn.x - b0 * turn.y;
    b = a0 * turn.y + b0 * turn.x;
}

}  // namespace

void make_angles(cudaStream_t stream, const double* frequencies, int n_pairs, float magnitude, Position first, int n_rows, float2* table) {
    if (n_rows <= 0 || n_pairs <= 0) return;
    const dim3 grid(static_cast<unsigned>(n_rows), static_cast<unsigned>(ceil_div(n_pairs, kMostThreads)));
    launch(angles_kernel, grid, dim3(static_cast<unsigned>(threads_for(n_pairs, kMostThreads))), 0, stream, frequencies, n_pairs, magnitude, first, table);
}

void rotate(cudaStream_t stream, Rows x, int n_heads, int head_dim, const float2* table, int n_pairs, RopePairs pairs) {
    if (x.n_rows <= 0 || n_heads <= 0 || n_pairs <= 0) return;
    const dim3 grid(static_cast<unsigned>(x.n_rows), static_cast<unsigned>(ceil_div(n_heads * n_pairs, kMostThreads)));
    const dim3 block(static_cast<unsigned>(threads_for(n_heads * n_pairs, kMostThreads)));
    launch(rotate_kernel, grid, block, 0, stream, x, n_heads, head_dim, table, n_pairs, pairs == RopePairs::kHalves);
}

}  // namespace gs::cuda
