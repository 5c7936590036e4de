// Host bodies of the runtime calls. Device memory is host memory of exactly the size asked for, so that AddressSanitizer finds stray accesses;
// without it, guard bytes behind each piece are looked at when it is freed.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"

namespace cuda_emulation {

Counters fiber_counters();

using Work = std::function<void()>;
struct Stream {
    std::deque<Work> waiting;
    bool capturing = false, invalidated = false;
    std::vector<Work> captured;
};
struct Event {
    std::chrono::steady_clock::time_point time;
    bool recorded = false, reached = false;
    bool captured = false;                 // last recorded while its stream was captured: it is an edge of a graph, and nobody can wait for it
};
struct Graph {
    std::vector<Work> nodes;
};
struct GraphExec {
    std::vector<Work> nodes;
};

namespace {

struct Runtime {
    std::mutex mutex;
    Device device;
    cudaError_t last_error = cudaSuccess;
    uint64_t calls_left = 0;               // 0: for ever
    bool lost = false, deferred = false;
    std::map<const char*, size_t> device_memory, host_memory;
    size_t in_use = 0;
    uint64_t graphs_made = 0, graph_launches = 0, copies = 0, waits = 0;
    std::map<const void*, int> most_shared;
    std::set<Stream*> streams;
    Stream default_stream;
    std::deque<std::pair<Stream*, Work>> order;   // across streams, as issued
};
Runtime& runtime() {
    static Runtime r;
    return r;
}

constexpr size_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0xa5;

cudaError_t report(cudaError_t error) {
    if (error != cudaSuccess) runtime().last_error = error;
    return error;
}

/// Every call begins here: a lost device answers nothing any more.
bool alive() {
    Runtime& r = runtime();
    if (r.calls_left > 0 && --r.calls_left == 0) r.lost = true;
    return !r.lost;
}
#define GS_ALIVE() \
    if (!alive()) return report(cudaErrorLaunchFailure)

Stream& stream_of(Stream* stream) { return stream ? *stream : runtime().default_stream; }

bool any_capture() {
    Runtime& r = runtime();
    for (Stream* s : r.streams)
        if (s->capturing) return true;
    return r.default_stream.capturing;
}

/// What may not happen while a stream is captured; the capture is lost then.
bool breaks_capture() {
    if (!any_capture()) return false;
    Runtime& r = runtime();
    for (Stream* s : r.streams)
        if (s->capturing) s->invalidated = true;
    return true;
}

/// In the order of issue: streams here never overtake each other, which events would have to allow for.
void drain() {
    Runtime& r = runtime();
    while (!r.order.empty()) {
        Work work = std::move(r.order.front().second);
        r.order.pop_front();
        work();
    }
}

cudaError_t enqueue(Stream* stream, Work work) {
    Stream& s = stream_of(stream);
    Runtime& r = runtime();
    if (s.capturing) {
        s.captured.push_back(std::move(work));
    } else if (r.deferred) {
        r.order.emplace_back(stream, std::move(work));
    } else {
        work();
    }
    return cudaSuccess;
}

/// The piece that p points into; null for memory that is not ours.
const std::pair<const char* const, size_t>* piece_of(const std::map<const char*, size_t>& pieces, const void* p) {
    auto after = pieces.upper_bound(static_cast<const char*>(p));
    if (after == pieces.begin()) return nullptr;
    --after;
    return static_cast<const char*>(p) < after->first + after->second ? &*after : nullptr;
}

void check_range(const void* p, size_t n_bytes, const char* call) {
    for (const auto* pieces : {&runtime().device_memory, &runtime().host_memory})
        if (const auto* piece = piece_of(*pieces, p); piece && static_cast<const char*>(p) + n_bytes > piece->first + piece->second) {
            std::fprintf(stderr, "cuda emulation: %s runs over the end of an allocation of %zu bytes\n", call, piece->second);
            std::abort();
        }
}

void* guarded_memory(std::map<const char*, size_t>& pieces, size_t n_bytes) {
    void* memory = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    constexpr size_t kBehind = 0;
#else
    constexpr size_t kBehind = kGuardBytes;
#endif
    if (posix_memalign(&memory, 256, n_bytes + kBehind) != 0) return nullptr;
    std::memset(memory, 0xff, n_bytes);
    std::memset(static_cast<char*>(memory) + n_bytes, kGuard, kBehind);
    pieces[static_cast<const char*>(memory)] = n_bytes;
    return memory;
}

bool free_guarded(std::map<const char*, size_t>& pieces, void* memory) {
    const auto found = pieces.find(static_cast<const char*>(memory));
    if (found == pieces.end()) return false;
#if !defined(__SANITIZE_ADDRESS__)
    for (size_t i = 0; i < kGuardBytes; ++i)
        if (static_cast<unsigned char*>(memory)[found->second + i] != kGuard) {
            std::fprintf(stderr, "cuda emulation: something wrote %zu bytes behind an allocation of %zu bytes\n", i, found->second);
            std::abort();
        }
#endif
    std::memset(memory, 0xfd, found->second);
    pieces.erase(found);
    std::free(memory);
    return true;
}

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

cudaError_t cudaMalloc(void** memory, size_t n_bytes) {
    GS_ALIVE();
    Runtime& r = runtime();
    *memory = nullptr;
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    if (n_bytes > r.device.memory || r.in_use > r.device.memory - n_bytes) return report(cudaErrorMemoryAllocation);
    if (n_bytes == 0) return cudaSuccess;
    *memory = guarded_memory(r.device_memory, n_bytes);
    if (!*memory) return report(cudaErrorMemoryAllocation);
    r.in_use += n_bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
    if (!memory) return cudaSuccess;
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    drain();
    Runtime& r = runtime();
    const auto found = r.device_memory.find(static_cast<const char*>(memory));
    const size_t n_bytes = found == r.device_memory.end() ? 0 : found->second;
    if (!free_guarded(r.device_memory, memory)) return report(cudaErrorInvalidValue);
    r.in_use -= n_bytes;
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, size_t n_bytes) {
    GS_ALIVE();
    *memory = nullptr;
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    *memory = guarded_memory(runtime().host_memory, n_bytes);
    return *memory ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
    if (!memory) return cudaSuccess;
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    drain();
    return free_guarded(runtime().host_memory, memory) ? cudaSuccess : report(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    return cudaMemcpy2DAsync(to, n_bytes, from, n_bytes, n_bytes, 1, kind, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
    GS_ALIVE();
    if (width == 0 || height == 0) return cudaSuccess;
    if (to_pitch < width || from_pitch < width) return report(cudaErrorInvalidValue);
    ++runtime().copies;
    check_range(to, to_pitch * (height - 1) + width, "a copy");
    check_range(from, from_pitch * (height - 1) + width, "a copy");
    const Work copy = [=] {
        for (size_t i = 0; i < height; ++i) std::memcpy(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width);
    };
    // From pageable memory the source is read before the call returns; to it, the call returns when all is there.
    const bool pageable_source = kind == cudaMemcpyHostToDevice && !piece_of(runtime().host_memory, from);
    const bool pageable_target = kind == cudaMemcpyDeviceToHost && !piece_of(runtime().host_memory, to);
    if (!(pageable_source || pageable_target)) return enqueue(stream, copy);
    // A graph would read the source when it is replayed, if the driver took it at all.
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    runtime().waits += pageable_target;
    drain();
    copy();
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t n_bytes, cudaMemcpyKind kind) {
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    const cudaError_t error = cudaMemcpyAsync(to, from, n_bytes, kind, nullptr);
    drain();
    return error;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t n_bytes, cudaStream_t stream) {
    GS_ALIVE();
    check_range(to, n_bytes, "a fill");
    return enqueue(stream, [=] { std::memset(to, value, n_bytes); });
}
cudaError_t cudaMemset(void* to, int value, size_t n_bytes) {
    if (breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    return cudaMemsetAsync(to, value, n_bytes, nullptr);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    GS_ALIVE();
    *stream = new Stream;
    runtime().streams.insert(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    drain();
    if (!stream || runtime().streams.erase(stream) == 0) return report(cudaErrorInvalidResourceHandle);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    GS_ALIVE();
    if (stream_of(stream).capturing && breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    return runtime().order.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    GS_ALIVE();
    return cudaSuccess;   // work runs in the order of issue across streams
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    GS_ALIVE();
    *event = new Event;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    drain();
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    GS_ALIVE();
    event->captured = stream_of(stream).capturing;
    event->recorded = !event->captured;
    event->reached = false;
    if (event->captured) return cudaSuccess;
    return enqueue(stream, [event] {
        event->time = std::chrono::steady_clock::now();
        event->reached = true;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    GS_ALIVE();
    if (event->captured) return report(cudaErrorCapturedEvent);
    ++runtime().waits;
    if (event->recorded && !event->reached) drain();
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    GS_ALIVE();
    if (event->captured) return report(cudaErrorCapturedEvent);
    return event->recorded && !event->reached ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    GS_ALIVE();
    if (!begin->recorded || !end->recorded) return report(cudaErrorInvalidResourceHandle);
    if (!begin->reached || !end->reached) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    GS_ALIVE();
    if (!stream || stream->capturing) return report(cudaErrorStreamCaptureUnsupported);   // not on the default stream
    stream->capturing = true;
    stream->invalidated = false;
    stream->captured.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    *graph = nullptr;
    if (!stream || !stream->capturing) return report(cudaErrorInvalidValue);
    stream->capturing = false;
    GS_ALIVE();
    if (stream->invalidated) return report(cudaErrorStreamCaptureInvalidated);
    *graph = new Graph{std::move(stream->captured)};
    stream->captured.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    const Stream& s = stream_of(stream);
    *status = !s.capturing ? cudaStreamCaptureStatusNone : s.invalidated ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    GS_ALIVE();
    *exec = new GraphExec{graph->nodes};
    ++runtime().graphs_made;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    GS_ALIVE();
    ++runtime().graph_launches;
    return enqueue(stream, [exec] {
        for (const Work& node : exec->nodes) node();
    });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    drain();
    delete exec;
    return cudaSuccess;
}
