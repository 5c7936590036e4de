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

/// Rows and where they are kept: keys, and values where there are any.
struct KvRows {
    Rows rows[2];
    KvHeads heads[2];
};

/// A block a token and run of columns of keys or values (z).
template <class Kv, bool kStore>
__global__ void kv_rows_kernel(const __grid_constant__ KvRows all, Position first) {
    const KvHeads& heads = all.heads[blockIdx.z];
    const int t = static_cast<int>(blockIdx.x), column = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
    if (column >= heads.n_heads * heads.dim) return;
    const auto dim = static_cast<size_t>(heads.dim), place = static_cast<size_t>(first.get() + t) * dim + static_cast<size_t>(column) % dim;
    Kv* kept = reinterpret_cast<Kv*>(heads.data) + heads.gap * static_cast<size_t>(column / heads.dim) + place;
    float& value = row_of(all.rows[blockIdx.z], t)[column];
    if (kStore) put(kept, value);
    else value = get(kept);
}

template <bool kStore>
void run(cudaStream_t stream, const KvRows& all, Position first) {
    const auto width = [&](int i) { return all.heads[i].n_heads * all.heads[i].dim; };
    const int n = width(0) > width(1) ? width(0) : width(1), n_rows = all.rows[0].n_rows;
    if (n_rows <= 0 || n <= 0) return;
    const dim3 grid(static_cast<unsigned>(n_rows), static_cast<unsigned>(ceil_div(n, kMostThreads)), width(1) > 0 ? 2 : 1);
    const dim3 block(static_cast<unsigned>(threads_for(n, kMostThreads)));
    if (all.heads[0].type == KvType::kF16) launch(kv_rows_kernel<__half, kStore>, grid, block, 0, stream, all, first);
    else launch(kv_rows_kernel<float, kStore>, grid, block, 0, stream, all, first);
}

}  // namespace

void store_kv_rows(cudaStream_t stream, Rows k, const KvHeads& keys, Rows v, const KvHeads& values, Position first) {
    run<true>(stream, {{k, v}, {keys, values}}, first);
}

void load_kv_rows(cudaStream_t stream, const KvHeads& heads, Position first, Rows rows) { run<false>(stream, {{rows, {}}, {heads, {}}}, first); }

}  // namespace gs::cuda
