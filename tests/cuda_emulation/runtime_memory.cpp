// Host bodies of the runtime calls about memory and copies. Device memory is host memory of exactly the size asked for, so that AddressSanitizer finds
// stray accesses; without it, guard bytes behind each piece are looked at when it is freed.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_emulation/runtime_state.h"

namespace cuda_emulation {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0xa5;

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

}  // namespace
}  // namespace cuda_emulation

using namespace cuda_emulation;

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
    if (free_external_buffer(memory)) return cudaSuccess;
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
