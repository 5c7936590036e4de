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
__global__ void kv_rows_kernel(Rows rows, KvHeads heads, Position first) {
    const int t = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (column >= heads.n_heads * heads.dim) return;
    const auto dim = static_cast<size_t>(heads.dim), place = static_cast<size_t>(first.get() + t) * dim + static_cast<size_t>(column) % dim;
    Kv* kept = reinterpret_cast<Kv*>(heads.data) + heads.gap * static_cast<size_t>(column / heads.dim) + place;
    float& value = row_of(rows, t)[column];
    if (kStore) put(kept, value);
    else value = get(kept);
}

template <bool kStore>
void run(cudaStream_t stream, Rows rows, const KvHeads& heads, Position first) {
    const int n = heads.n_heads * heads.dim;
    if (rows.n_rows <= 0 || n <= 0) return;
    const dim3 grid(static_cast<unsigned>(rows.n_rows), static_cast<unsigned>(ceil_div(n, kMostThreads)));
    const dim3 block(static_cast<unsigned>(threads_for(n, kMostThreads)));
    if (heads.type == KvType::kF16) launch(kv_rows_kernel<__half, kStore>, grid, block, 0, stream, rows, heads, first);
    else launch(kv_rows_kernel<float, kStore>, grid, block, 0, stream, rows, heads, first);
}

}  // namespace

void store_kv_rows(cudaStream_t stream, Rows rows, const KvHeads& heads, Position first) { run<true>(stream, rows, heads, first); }

void load_kv_rows(cudaStream_t stream, const KvHeads& heads, Position first, Rows rows) { run<false>(stream, rows, heads, first); }

}  // namespace gs::cuda
