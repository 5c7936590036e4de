// How kernels are started: a function instead of <<<>>>, so that a host compiler reads the same files against tests/cuda_emulation.
//
//   launch(scale_rows, dim3(n_blocks), dim3(256), shared_bytes, stream, x, n, factor);
//
// Errors of a launch (shape, a lost device) are found by cudaGetLastError(), which CudaOps asks after every operation.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace gs::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

constexpr __host__ __device__ int ceil_div(int a, int b) { return (a + b - 1) / b; }
/// Threads of a block for n things side by side: whole warps, no more than are of use.
constexpr int threads_for(int n, int most) { return n >= most ? most : ceil_div(n > 0 ? n : 1, kWarp) * kWarp; }

#if defined(__CUDACC__)

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A&&... args) {
    kernel<<<grid, block, shared_bytes, stream>>>(std::forward<A>(args)...);
}

/// Memory of the block whose size the launch gave, aligned to 128 bytes. One a kernel: a second call gives the same memory.
template <class T>
__device__ T* dynamic_shared() {
    extern __shared__ __align__(128) unsigned char gs_dynamic_shared[];
    return reinterpret_cast<T*>(gs_dynamic_shared);
}

#else

/// A grid that knows where it was launched, for messages.
struct EmulatedGrid {
    EmulatedGrid(dim3 d, const cuda_emulation::Site& at = cuda_emulation::Site::current()) : size{d.x, d.y, d.z}, from(at) {}
    cuda_emulation::Index size;
    cuda_emulation::Site from;
};

template <class... P, class... A>
void launch(void (*kernel)(P...), EmulatedGrid grid, dim3 block, size_t shared_bytes, cudaStream_t stream, A&&... args) {
    // Arguments are copied at the launch, as the driver does.
    (void)cuda_emulation::launch_kernel(reinterpret_cast<const void*>(kernel), grid.size, {block.x, block.y, block.z}, shared_bytes, stream,
                                        [kernel, ... values = static_cast<P>(std::forward<A>(args))] { kernel(values...); }, grid.from);
}

template <class T>
T* dynamic_shared() {
    return static_cast<T*>(cuda_emulation::dynamic_shared_memory());
}

#endif

/// Blocks of such a launch that a multiprocessor of the current device runs at once; at least 1.
template <class... P>
int blocks_a_processor(void (*kernel)(P...), int n_threads, size_t shared_bytes) {
    int n = 0;
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(&n, kernel, n_threads, shared_bytes) == cudaSuccess && n > 1 ? n : 1;
}

/// Sum over the warp, in every lane, in an order that does not depend on the lane.
template <class T>
__device__ T warp_sum(T value) {
    for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
    return value;
}

__device__ inline float warp_max(float value) {
    for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
    return value;
}

}  // namespace gs::cuda
