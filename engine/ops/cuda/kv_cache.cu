// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/kv_cache.cuh"

#include <cuda_fp16.h>

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kMostThreads = 256;

__device__ void put(float* to, float value) { *to = value; }
__device__ void put(__half* to, float value) { *to = __float2half_rn(value); }
__device__ float get(const float* from) { return *from; }
__device__ float get(const __half* from) { return __half2float(*from); }

/// A block a token and run of columns.
template <class Kv, bool kStore>
__global__ void kv_rows_kernel(Rows rows, Kv* heads, size_t head_gap, int n_heads, int dim) {
    const int t = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (column >= n_heads * dim) return;
    Kv* kept = heads + head_gap * static_cast<size_t>(column / dim) + static_cast<size_t>(t) * static_cast<size_t>(dim) + static_cast<size_t>(column % dim);
    float& value = row_of(rows, t)[column];
    if (kStore) put(kept, value);
    else value = get(kept);
}

template <bool kStore>
void run(cudaStream_t stream, Rows rows, std::byte* heads, KvType type, size_t head_gap, int n_heads, int dim) {
    if (rows.n_rows <= 0 || n_heads * dim <= 0) return;
    const dim3 grid(static_cast<unsigned>(rows.n_rows), static_cast<unsigned>(ceil_div(n_heads * dim, kMostThreads)));
    const dim3 block(static_cast<unsigned>(threads_for(n_heads * dim, kMostThreads)));
    if (type == KvType::kF16) launch(kv_rows_kernel<__half, kStore>, grid, block, 0, stream, rows, reinterpret_cast<__half*>(heads), head_gap, n_heads, dim);
    else launch(kv_rows_kernel<float, kStore>, grid, block, 0, stream, rows, reinterpret_cast<float*>(heads), head_gap, n_heads, dim);
}

}  // namespace

void store_kv_rows(cudaStream_t stream, Rows rows, std::byte* heads, KvType type, size_t head_gap, int n_heads, int dim) {
    run<true>(stream, rows, heads, type, head_gap, n_heads, dim);
}

void load_kv_rows(cudaStream_t stream, const std::byte* heads, KvType type, size_t head_gap, int n_heads, int dim, Rows rows) {
    run<false>(stream, rows, const_cast<std::byte*>(heads), type, head_gap, n_heads, dim);
}

}  // namespace gs::cuda
