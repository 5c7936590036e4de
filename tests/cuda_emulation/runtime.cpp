// Host bodies of the runtime calls: the state, errors, devices, launches. Memory, streams and graphs are in files of their own.
#include <algorithm>
#include <cstdio>

#include "tests/cuda_emulation/runtime_state.h"

namespace cuda_emulation {

Runtime& runtime() {
    static Runtime r;
    return r;
}

cudaError_t report(cudaError_t error) {
    if (error != cudaSuccess) runtime().last_error = error;
    return error;
}

bool alive() {
    Runtime& r = runtime();
    if (r.calls_left > 0 && --r.calls_left == 0) r.lost = true;
    return !r.lost;
}

namespace {

struct ErrorText {
    cudaError_t error;
    const char *name, *text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
};
ErrorText text_of(cudaError_t error) {
    for (const ErrorText& e : kErrors)
        if (e.error == error) return e;
    return {error, "cudaErrorUnknown", "unknown error"};
}

constexpr int kSharedByDefault = 48 << 10, kSharedAtMost = 99 << 10;   // the least of the architectures that we build for (8.6, 8.9)

}  // namespace

void set_deferred(bool deferred) {
    drain();
    runtime().deferred = deferred;
}
void set_device(const Device& device) { runtime().device = device; }
void lose_device_after(uint64_t n_calls) {
    runtime().calls_left = n_calls;
    runtime().lost = false;
    if (n_calls == 0) runtime().last_error = cudaSuccess;
}
Counters counters() {
    Counters c = fiber_counters();
    c.bytes_in_use = runtime().in_use;
    c.graphs_made = runtime().graphs_made;
    c.graph_launches = runtime().graph_launches;
    c.copies = runtime().copies;
    c.waits = runtime().waits;
    return c;
}

cudaError_t set_most_shared_memory(const void* kernel, int n_bytes) {
    GS_ALIVE();
    if (n_bytes > kSharedAtMost) return report(cudaErrorInvalidValue);
    runtime().most_shared[kernel] = n_bytes;
    return cudaSuccess;
}

cudaError_t blocks_at_once(int* n_blocks, int n_threads, size_t shared_bytes) {
    GS_ALIVE();
    constexpr int kThreadsAtOnce = 1536;     // of a multiprocessor, on 8.6 and 8.9
    constexpr size_t kSharedOfAll = 100 << 10, kOfTheSystem = 1 << 10;
    if (n_threads < 1 || n_threads > 1024) return report(cudaErrorInvalidValue);
    *n_blocks = std::min(kThreadsAtOnce / n_threads, static_cast<int>(kSharedOfAll / (shared_bytes + kOfTheSystem)));
    return cudaSuccess;
}

cudaError_t launch_kernel(const void* kernel, const Index& grid, const Index& block, size_t shared_bytes, Stream* stream, Work thread, const Site& from) {
    GS_ALIVE();
    Runtime& r = runtime();
    const auto raised = r.most_shared.find(kernel);
    const size_t most_shared = static_cast<size_t>(raised == r.most_shared.end() ? kSharedByDefault : std::max(kSharedByDefault, raised->second));
    const uint64_t n_threads = static_cast<uint64_t>(block.x) * block.y * block.z;
    const bool fits = n_threads >= 1 && n_threads <= 1024 && block.z <= 64 && grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu &&
                      grid.y <= 65535 && grid.z <= 65535 && shared_bytes <= most_shared;
    if (!fits) return report(cudaErrorInvalidConfiguration);
    return enqueue(stream, [thread = std::move(thread), grid, block, shared_bytes, from]() mutable {
        run_grid({[](void* body) { (*static_cast<Work*>(body))(); }, &thread, grid, block, shared_bytes, from});
    });
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return text_of(error).text; }
cudaError_t cudaPeekAtLastError() { return runtime().lost ? cudaErrorLaunchFailure : runtime().last_error; }
cudaError_t cudaGetLastError() {
    const cudaError_t error = cudaPeekAtLastError();
    runtime().last_error = cudaSuccess;
    return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = runtime().device.n_devices;
    return *count > 0 ? cudaSuccess : report(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
    GS_ALIVE();
    return device >= 0 && device < runtime().device.n_devices ? cudaSuccess : report(cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
    GS_ALIVE();
    const Device& d = runtime().device;
    if (device < 0 || device >= d.n_devices) return report(cudaErrorInvalidDevice);
    *p = {};
    std::snprintf(p->name, sizeof p->name, "emulated device");
    std::copy(d.uuid.begin(), d.uuid.end(), reinterpret_cast<uint8_t*>(p->uuid.bytes));
    p->totalGlobalMem = d.memory;
    p->sharedMemPerBlock = kSharedByDefault;
    p->sharedMemPerBlockOptin = kSharedAtMost;
    p->major = d.major;
    p->minor = d.minor;
    p->multiProcessorCount = d.n_processors;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    GS_ALIVE();
    *total = runtime().device.memory;
    *free = *total - runtime().in_use;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    GS_ALIVE();
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    ++runtime().waits;
    drain();
    return cudaSuccess;
}
cudaError_t cudaDeviceReset() { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) {
    *version = 0;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = 0;
    return cudaSuccess;
}
