// The emulation itself: what a device would do wrong must show, and what is right must work for every seed.
#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/ops/cuda/launch.cuh"
#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/include/cuda_bf16.h"
#include "tests/cuda_emulation/include/cuda_fp16.h"

namespace gs::cuda {
namespace {

constexpr int kSeeds = 20;

/// Each thread shows the value that its neighbour has written.
__global__ void neighbour(int* out, bool with_barrier) {
    __shared__ int values[64];
    const int i = static_cast<int>(threadIdx.x);
    values[i] = i + 1;
    if (with_barrier) __syncthreads();
    out[i] = values[(i + 1) % 64];
    __syncthreads();
    values[i] = 0;
}

int wrong_neighbours(bool with_barrier) {
    std::vector<int> out(64);
    launch(neighbour, dim3(1), dim3(64), 0, nullptr, out.data(), with_barrier);
    int n_wrong = 0;
    for (int i = 0; i < 64; ++i) n_wrong += out[static_cast<size_t>(i)] != (i + 1) % 64 + 1;
    return n_wrong;
}

TEST(CudaEmulation, AMissingBarrierShows) {
    int n_seeds_wrong = 0;
    for (int seed = 0; seed < kSeeds; ++seed) {
        cuda_emulation::set_seed(static_cast<uint64_t>(seed));
        EXPECT_EQ(wrong_neighbours(true), 0) << "seed " << seed;
        n_seeds_wrong += wrong_neighbours(false) > 0;
    }
    EXPECT_GE(n_seeds_wrong, kSeeds / 2);
}

/// The second round overwrites what slower threads have not read yet, unless there are two barriers.
__global__ void rounds(int* sums, bool with_second_barrier) {
    __shared__ int value;
    int sum = 0;
    for (int round = 0; round < 4; ++round) {
        if (threadIdx.x == 0) value = round;
        __syncthreads();
        sum += value;
        if (with_second_barrier) __syncthreads();
    }
    sums[threadIdx.x] = sum;
}

TEST(CudaEmulation, WritingBeforeAllHaveReadShows) {
    int n_wrong = 0;
    for (int seed = 0; seed < kSeeds; ++seed) {
        cuda_emulation::set_seed(static_cast<uint64_t>(seed));
        for (const bool right : {true, false}) {
            std::vector<int> sums(96);
            launch(rounds, dim3(1), dim3(96), 0, nullptr, sums.data(), right);
            const bool all = std::all_of(sums.begin(), sums.end(), [](int s) { return s == 6; });
            if (right) EXPECT_TRUE(all) << "seed " << seed;
            else n_wrong += !all;
        }
    }
    EXPECT_GE(n_wrong, kSeeds / 2);
}

/// Lanes exchange through shared memory, with or without the warp's barrier.
__global__ void lanes_meet(int* out, bool with_barrier) {
    __shared__ int values[64];
    values[threadIdx.x] = static_cast<int>(blockIdx.x * 100 + threadIdx.x);
    if (with_barrier) __syncwarp();
    out[blockIdx.x * 64 + threadIdx.x] = values[threadIdx.x ^ 1u];
    __syncthreads();
}

TEST(CudaEmulation, AMissingWarpBarrierShows) {
    int n_wrong = 0;
    for (int seed = 0; seed < kSeeds; ++seed) {
        cuda_emulation::set_seed(static_cast<uint64_t>(seed));
        for (const bool right : {true, false}) {
            std::vector<int> out(128);
            launch(lanes_meet, dim3(2), dim3(64), 0, nullptr, out.data(), right);
            bool all = true;
            for (int i = 0; i < 128; ++i) all = all && out[static_cast<size_t>(i)] == i / 64 * 100 + ((i % 64) ^ 1);
            if (right) EXPECT_TRUE(all) << "seed " << seed;
            else n_wrong += !all;
        }
    }
    EXPECT_GE(n_wrong, kSeeds / 2);
}

__global__ void some_skip_the_barrier() {
    if (threadIdx.x < 40) __syncthreads();
}
__global__ void two_barriers() {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
}
__global__ void half_a_warp_shuffles(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(kAllLanes, static_cast<int>(threadIdx.x), 1);
}
__global__ void lane_outside_the_mask(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, static_cast<int>(threadIdx.x), 20);
}
__global__ void runs_over(float* out) { out[threadIdx.x] = 1; }

TEST(CudaEmulationDeathTest, DivergenceAborts) {
    std::vector<int> out(64);
    EXPECT_DEATH(launch(some_skip_the_barrier, dim3(3), dim3(64), 0, nullptr), "divergent barrier: .*some_skip_the_barrier.*has left the kernel.*block \\(.,0,0\\)");
    EXPECT_DEATH(launch(two_barriers, dim3(1), dim3(64), 0, nullptr), "divergent barrier: thread \\(.*two_barriers");
    EXPECT_DEATH(launch(half_a_warp_shuffles, dim3(1), dim3(32), 0, nullptr, out.data()), "divergent barrier: thread .* waits for its warp");
    EXPECT_DEATH(launch(lane_outside_the_mask, dim3(1), dim3(32), 0, nullptr, out.data()), "a lane outside the mask");
}

TEST(CudaEmulationDeathTest, WritingBehindAnAllocationAborts) {
    const auto run = [] {
        float* memory = nullptr;
        (void)cudaMalloc(&memory, 31 * sizeof(float));
        launch(runs_over, dim3(1), dim3(32), 0, nullptr, memory);
        (void)cudaFree(memory);
    };
    EXPECT_DEATH(run(), "behind an allocation|heap-buffer-overflow");
}

__global__ void warp_operations(unsigned* out) {
    const unsigned lane = threadIdx.x % 32;
    unsigned* row = out + threadIdx.x * 12;
    row[0] = __shfl_sync(kAllLanes, lane * 3, 5);
    row[1] = __shfl_xor_sync(kAllLanes, lane, 4);
    row[2] = __shfl_up_sync(kAllLanes, lane, 2);
    row[3] = __shfl_down_sync(kAllLanes, lane, 3, 8);
    row[4] = __ballot_sync(kAllLanes, lane % 3 == 0);
    row[5] = static_cast<unsigned>(__any_sync(kAllLanes, lane == 31) + 2 * __all_sync(kAllLanes, lane < 31));
    row[6] = __reduce_add_sync(kAllLanes, lane);
    row[7] = static_cast<unsigned>(__reduce_min_sync(kAllLanes, 3 - static_cast<int>(lane)));
    row[8] = __match_any_sync(kAllLanes, lane / 8);
    row[9] = static_cast<unsigned>(warp_sum(static_cast<double>(lane)));
    row[10] = static_cast<unsigned>(warp_max(static_cast<float>(lane ^ 7u)));
    row[11] = lane < 8 ? __reduce_max_sync(0xffu, lane) : 0;
}

TEST(CudaEmulation, LanesExchangeValues) {
    for (int seed = 0; seed < kSeeds; ++seed) {
        cuda_emulation::set_seed(static_cast<uint64_t>(seed));
        std::vector<unsigned> out(64 * 12);
        launch(warp_operations, dim3(1), dim3(64), 0, nullptr, out.data());
        for (unsigned t = 0; t < 64; ++t) {
            const unsigned lane = t % 32;
            const unsigned expected[] = {15, lane ^ 4u, lane < 2 ? lane : lane - 2, lane % 8 + 3 < 8 ? lane + 3 : lane, 0x49249249u, 1, 496,
                                         static_cast<unsigned>(-28), 0xffu << (lane / 8 * 8), 496, 31, lane < 8 ? 7u : 0u};
            for (unsigned i = 0; i < 12; ++i) EXPECT_EQ(out[t * 12 + i], expected[i]) << "lane " << lane << " operation " << i << " seed " << seed;
        }
    }
}

__global__ void histogram(const int* values, int n, int* counts, int* n_odd) {
    int* own = dynamic_shared<int>();
    if (threadIdx.x < 8) own[threadIdx.x] = 0;
    __syncthreads();
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) atomicAdd(&own[values[i]], 1);
    const int odd = __syncthreads_count(i < n && values[i] % 2 == 1);
    if (threadIdx.x < 8) atomicAdd(&counts[threadIdx.x], own[threadIdx.x]);
    if (threadIdx.x == 0) atomicAdd(n_odd, odd);
}

TEST(CudaEmulation, AtomicsAndDynamicSharedMemory) {
    std::vector<int> values(1000);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(i * i % 8);
    for (int seed = 0; seed < 4; ++seed) {
        cuda_emulation::set_seed(static_cast<uint64_t>(seed));
        std::vector<int> counts(8);
        int n_odd = 0;
        launch(histogram, dim3(8), dim3(128), 8 * sizeof(int), nullptr, values.data(), 1000, counts.data(), &n_odd);
        for (int v = 0; v < 8; ++v) EXPECT_EQ(counts[static_cast<size_t>(v)], std::count(values.begin(), values.end(), v));
        EXPECT_EQ(n_odd, 500);
    }
}

__global__ void shape(unsigned* out) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
}

TEST(CudaEmulation, EveryThreadOfEveryBlockRunsOnce) {
    std::vector<unsigned> out(2 * 3 * 4 * 5 * 6 * 2);
    launch(shape, dim3(2, 3, 4), dim3(5, 6, 2), 0, nullptr, out.data());
    for (unsigned i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i / 60 * 1000 + i % 60);
}

TEST(CudaEmulation, LaunchesOfImpossibleShapesFail) {
    std::vector<unsigned> out(1);
    const auto error_of = [&](dim3 grid, dim3 block, size_t shared) {
        launch(shape, grid, block, shared, nullptr, out.data());
        return cudaGetLastError();
    };
    EXPECT_EQ(error_of(dim3(1), dim3(1), 0), cudaSuccess);
    EXPECT_EQ(error_of(dim3(0), dim3(1), 0), cudaErrorInvalidConfiguration);
    EXPECT_EQ(error_of(dim3(1), dim3(1025), 0), cudaErrorInvalidConfiguration);
    EXPECT_EQ(error_of(dim3(1, 70000), dim3(1), 0), cudaErrorInvalidConfiguration);
    EXPECT_EQ(error_of(dim3(1), dim3(1), 60000), cudaErrorInvalidConfiguration);
    ASSERT_EQ(cudaFuncSetAttribute(shape, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000), cudaSuccess);
    EXPECT_EQ(error_of(dim3(1), dim3(1), 60000), cudaSuccess);
    EXPECT_EQ(cudaFuncSetAttribute(shape, cudaFuncAttributeMaxDynamicSharedMemorySize, 200000), cudaErrorInvalidValue);
    (void)cudaGetLastError();
}

__global__ void increment(int* value) { ++*value; }

__global__ void add_value(int* sum, const int* value, int more) { *sum += *value + more; }

/// A stream, a value on the device, and one in page-locked memory.
class CudaEmulationGraph : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(cudaStreamCreate(&m_stream), cudaSuccess);
        ASSERT_EQ(cudaMalloc(&m_value, sizeof(int)), cudaSuccess);
        ASSERT_EQ(cudaMallocHost(&m_host, sizeof(int)), cudaSuccess);
    }
    void TearDown() override {
        (void)cudaFreeHost(m_host);
        (void)cudaFree(m_value);
        (void)cudaStreamDestroy(m_stream);
        (void)cudaGetLastError();
    }
    template <class Calls>
    cudaError_t capture(const Calls& calls) {
        cudaGraph_t graph = nullptr;
        EXPECT_EQ(cudaStreamBeginCapture(m_stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        calls();
        const cudaError_t error = cudaStreamEndCapture(m_stream, &graph);
        if (error != cudaSuccess) return error;
        EXPECT_EQ(cudaGraphInstantiate(&m_exec, graph, 0), cudaSuccess);
        return cudaGraphDestroy(graph);
    }
    int replayed() {
        int result = -1;
        EXPECT_EQ(cudaGraphLaunch(m_exec, m_stream), cudaSuccess);
        EXPECT_EQ(cudaMemcpyAsync(&result, m_value, sizeof result, cudaMemcpyDeviceToHost, m_stream), cudaSuccess);
        EXPECT_EQ(cudaStreamSynchronize(m_stream), cudaSuccess);
        return result;
    }

    cudaStream_t m_stream = nullptr;
    cudaGraphExec_t m_exec = nullptr;
    int *m_value = nullptr, *m_host = nullptr;
};

TEST_F(CudaEmulationGraph, ReadsMemoryWhenReplayedAndArgumentsWhenCaptured) {
    for (const bool deferred : {false, true}) {
        cuda_emulation::set_deferred(deferred);
        int more = 2;
        ASSERT_EQ(capture([&] {
                      EXPECT_EQ(cudaMemsetAsync(m_value, 0, sizeof(int), m_stream), cudaSuccess);
                      launch(add_value, dim3(1), dim3(1), 0, m_stream, m_value, m_host, more);
                      launch(increment, dim3(1), dim3(1), 0, m_stream, m_value);
                  }),
                  cudaSuccess);
        more = 1000;
        for (const int value : {40, 7}) {
            *m_host = value;
            EXPECT_EQ(replayed(), value + 2 + 1);
        }
        EXPECT_EQ(cudaGraphExecDestroy(m_exec), cudaSuccess);
    }
    cuda_emulation::set_deferred(false);
}

TEST_F(CudaEmulationGraph, WhatIsCapturedDoesNotRun) {
    ASSERT_EQ(cudaMemset(m_value, 0, sizeof(int)), cudaSuccess);
    ASSERT_EQ(capture([&] { launch(increment, dim3(1), dim3(1), 0, m_stream, m_value); }), cudaSuccess);
    EXPECT_EQ(replayed(), 1);
    EXPECT_EQ(cudaGraphExecDestroy(m_exec), cudaSuccess);
}

TEST_F(CudaEmulationGraph, WhatWaitsOrAllocatesBreaksACapture) {
    int pageable = 0;
    void* memory = nullptr;
    const std::pair<const char*, std::function<cudaError_t()>> calls[] = {
        {"synchronize", [&] { return cudaStreamSynchronize(m_stream); }},
        {"query", [&] { return cudaStreamQuery(m_stream); }},
        {"allocate", [&] { return cudaMalloc(&memory, 64); }},
        {"free", [&] { return cudaFree(m_value); }},
        {"allocate on the host", [&] { return cudaMallocHost(&memory, 64); }},
        {"free on the host", [&] { return cudaFreeHost(m_host); }},
        {"copy from pageable memory", [&] { return cudaMemcpyAsync(m_value, &pageable, sizeof(int), cudaMemcpyHostToDevice, m_stream); }},
        {"copy to pageable memory", [&] { return cudaMemcpyAsync(&pageable, m_value, sizeof(int), cudaMemcpyDeviceToHost, m_stream); }},
    };
    for (const auto& [name, call] : calls)
        EXPECT_EQ(capture([&] { EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << name; }), cudaErrorStreamCaptureInvalidated) << name;
    // From page-locked memory it may be copied: when the graph is replayed.
    ASSERT_EQ(capture([&] { EXPECT_EQ(cudaMemcpyAsync(m_value, m_host, sizeof(int), cudaMemcpyHostToDevice, m_stream), cudaSuccess); }), cudaSuccess);
    *m_host = 5;
    EXPECT_EQ(replayed(), 5);
    EXPECT_EQ(cudaGraphExecDestroy(m_exec), cudaSuccess);
}

TEST_F(CudaEmulationGraph, NobodyCanWaitForAnEventOfACapture) {
    cudaEvent_t event = nullptr;
    ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
    ASSERT_EQ(capture([&] { EXPECT_EQ(cudaEventRecord(event, m_stream), cudaSuccess); }), cudaSuccess);
    EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
    EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
    EXPECT_EQ(cudaEventRecord(event, m_stream), cudaSuccess);
    EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
    EXPECT_EQ(cudaGraphExecDestroy(m_exec), cudaSuccess);
}

TEST(CudaEmulation, WithDeferredWorkReadingTooEarlyShows) {
    cuda_emulation::set_deferred(true);
    int* value = nullptr;
    int* pinned = nullptr;
    ASSERT_EQ(cudaMalloc(&value, sizeof(int)), cudaSuccess);
    ASSERT_EQ(cudaMallocHost(&pinned, sizeof(int)), cudaSuccess);
    *pinned = 5;
    (void)cudaMemcpyAsync(value, pinned, sizeof(int), cudaMemcpyHostToDevice);
    launch(increment, dim3(1), dim3(1), 0, nullptr, value);
    EXPECT_NE(*value, 6);
    (void)cudaMemcpyAsync(pinned, value, sizeof(int), cudaMemcpyDeviceToHost);
    EXPECT_EQ(*pinned, 5);
    ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
    EXPECT_EQ(*pinned, 6);
    cuda_emulation::set_deferred(false);
    (void)cudaFree(value);
    (void)cudaFreeHost(pinned);
}

TEST(CudaEmulation, DevicesMemoryAndLossAreAsSet) {
    void* memory = nullptr;
    cuda_emulation::set_device({.n_devices = 1, .memory = 1000});
    EXPECT_EQ(cudaMalloc(&memory, 1001), cudaErrorMemoryAllocation);
    ASSERT_EQ(cudaMalloc(&memory, 900), cudaSuccess);
    size_t free = 0, total = 0;
    ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    EXPECT_EQ(total - free, 900u);
    EXPECT_EQ(cudaFree(memory), cudaSuccess);
    cuda_emulation::set_device({.n_devices = 0});
    int n = -1;
    EXPECT_EQ(cudaGetDeviceCount(&n), cudaErrorNoDevice);
    cuda_emulation::set_device({});
    cuda_emulation::lose_device_after(2);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaMalloc(&memory, 4), cudaErrorLaunchFailure);
    cuda_emulation::lose_device_after(0);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST(CudaEmulation, IntrinsicsAreAsDocumented) {
    EXPECT_EQ(__dp4a(0x01ff02fe, 0x04030201, 10), 10 + 4 * 1 + 3 * -1 + 2 * 2 + 1 * -2);
    EXPECT_EQ(__dp4a(0x01ff02feu, 0x04030201u, 10u), 10u + 4 * 1 + 3 * 255 + 2 * 2 + 254);
    EXPECT_EQ(__byte_perm(0x33221100u, 0x77665544u, 0x7610u), 0x77661100u);
    EXPECT_EQ(__byte_perm(0x80u, 0, 0x0008u) & 255u, 255u);
    EXPECT_EQ(__vsubss4(0x80807f7fu, 0x01ff01ffu), 0x80817e7fu);
    EXPECT_EQ(__vsub4(0x00010203u, 0x01010101u), 0xff000102u);
    EXPECT_EQ(__brev(1u), 0x80000000u);
    EXPECT_EQ(__ffs(8), 4);
    EXPECT_EQ(__clz(1), 31);
    EXPECT_EQ(__float2int_rn(2.5f), 2);
    EXPECT_EQ(__half2float(__float2half_rn(0.333333f)), 0.33325195f);
    EXPECT_EQ(__bfloat162float(__float2bfloat16_rn(1.00390625f)), 1.0f);   // a tie, to even
    EXPECT_EQ(__bfloat162float(__float2bfloat16_rn(1.01171875f)), 1.015625f);
}

}  // namespace
}  // namespace gs::cuda
