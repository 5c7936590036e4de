#include "engine/ops/cuda/elementwise.cuh"

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kMostThreads = 256;

/// A block a row and run of columns; rows on x, of which there may be more than 65535.
dim3 grid_of(const Rows& x) { return dim3(static_cast<unsigned>(x.n_rows), static_cast<unsigned>(ceil_div(x.n_cols, kMostThreads))); }
dim3 block_of(const Rows& x) { return dim3(static_cast<unsigned>(threads_for(x.n_cols, kMostThreads))); }
bool is_empty(const Rows& x) { return x.n_rows <= 0 || x.n_cols <= 0; }

__device__ int column() { return static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); }

__global__ void add_kernel(Rows x, Rows y, float scale) {
    const int row = static_cast<int>(blockIdx.x), i = column();
    if (i < x.n_cols) row_of(x, row)[i] += scale * row_of(y, row)[i];
}

__global__ void copy_kernel(Rows from, Rows to) {
    const int row = static_cast<int>(blockIdx.x), i = column();
    if (i < from.n_cols) row_of(to, row)[i] = row_of(from, row)[i];
}

__global__ void scale_kernel(Rows x, float factor) {
    const int row = static_cast<int>(blockIdx.x), i = column();
    if (i < x.n_cols) row_of(x, row)[i] *= factor;
}

__global__ void grow_kernel(Rows x, QueryGrowth growth, Position first) {
    const int row = static_cast<int>(blockIdx.x), i = column();
    __shared__ float factor;
    // QueryGrowth::factor; once a block, because f64 is slow.
    if (threadIdx.x == 0) factor = static_cast<float>(log(floor((first.get() + row + growth.offset) / growth.step) + 1) * growth.per_step + 1);
    __syncthreads();
    if (i < x.n_cols) row_of(x, row)[i] *= factor;
}

__global__ void clamp_kernel(Rows x, float limit) {
    const int row = static_cast<int>(blockIdx.x), i = column();
    if (i >= x.n_cols) return;
    float& value = row_of(x, row)[i];
    value = fminf(fmaxf(value, -limit), limit);
}

__global__ void sigmoid_kernel(Rows x) {
    const int row = static_cast<int>(blockIdx.x), i = column();
    if (i >= x.n_cols) return;
    float& value = row_of(x, row)[i];
    value = 1.0f / (1.0f + expf(-value));
}

}  // namespace

void add_rows(cudaStream_t stream, Rows x, Rows y, float scale) {
    if (!is_empty(x)) launch(add_kernel, grid_of(x), block_of(x), 0, stream, x, y, scale);
}

void copy_rows(cudaStream_t stream, Rows from, Rows to) {
    if (!is_empty(from)) launch(copy_kernel, grid_of(from), block_of(from), 0, stream, from, to);
}

void scale_rows(cudaStream_t stream, Rows x, float factor) {
    if (!is_empty(x)) launch(scale_kernel, grid_of(x), block_of(x), 0, stream, x, factor);
}

void grow_rows(cudaStream_t stream, Rows x, const QueryGrowth& growth, Position first) {
    if (!is_empty(x)) launch(grow_kernel, grid_of(x), block_of(x), 0, stream, x, growth, first);
}

void clamp_rows(cudaStream_t stream, Rows x, float limit) {
    if (!is_empty(x)) launch(clamp_kernel, grid_of(x), block_of(x), 0, stream, x, limit);
}

void sigmoid_rows(cudaStream_t stream, Rows x) {
    if (!is_empty(x)) launch(sigmoid_kernel, grid_of(x), block_of(x), 0, stream, x);
}

}  // namespace gs::cuda
