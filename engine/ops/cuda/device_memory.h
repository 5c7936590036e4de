// Memory of the device, and small pieces of the host's on their way to it.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace gs::cuda {

/// The first error of any call; what follows one is not worth reporting.
class ErrorLog {
public:
    /// Notes an error of `doing`; true if there was none.
    bool ok(cudaError_t error, const char* doing);
    /// Asks for the error of a launch.
    void check_launch(const char* doing) { ok(cudaGetLastError(), doing); }
    bool failed() const { return m_error != cudaSuccess; }
    bool out_of_memory() const { return m_error == cudaErrorMemoryAllocation; }
    /// "attention: unspecified launch failure"
    const std::string& text() const { return m_text; }

private:
    cudaError_t m_error = cudaSuccess;
    std::string m_text;
};

/// A piece that grows when more is asked for, and then forgets what it held.
class DeviceBuffer {
public:
    explicit DeviceBuffer(ErrorLog& errors) : m_errors(errors) {}
    ~DeviceBuffer() { release(); }
    DeviceBuffer(const DeviceBuffer&) = delete;
    DeviceBuffer& operator=(const DeviceBuffer&) = delete;
    /// Null where there is no memory, which is noted.
    std::byte* at_least(size_t n_bytes);
    void release();
    size_t n_bytes() const { return m_bytes; }

private:
    ErrorLog& m_errors;
    std::byte* m_data = nullptr;
    size_t m_bytes = 0;
};

/// Small arrays from the host, copied while the host goes on: through page-locked memory that is used in turn. What it gives is good until as much
/// again has been sent, which is far longer than one operation.
class UploadRing {
public:
    UploadRing(ErrorLog& errors, cudaStream_t stream) : m_errors(errors), m_stream(stream), m_device(errors) {}
    ~UploadRing() { (void)cudaFreeHost(m_host); }
    UploadRing(const UploadRing&) = delete;
    UploadRing& operator=(const UploadRing&) = delete;

    /// Takes its memory now: what the device has free afterwards is free for others.
    void prepare() { (void)take(1); }
    /// A copy on the device; null where there is no memory for it.
    template <class T>
    const T* send(std::span<const T> values) {
        return reinterpret_cast<const T*>(send_bytes(values.data(), values.size_bytes()));
    }
    /// A copy into memory of the device that lasts.
    void send_to(std::byte* to, const void* from, size_t n_bytes);
    uint64_t n_sent() const { return m_n_sent; }

private:
    const std::byte* send_bytes(const void* from, size_t n_bytes);
    /// Room for n bytes in page-locked memory; null without memory.
    std::byte* take(size_t n_bytes);

    ErrorLog& m_errors;
    cudaStream_t m_stream;
    DeviceBuffer m_device;
    std::byte* m_host = nullptr;
    size_t m_bytes = 0, m_used = 0;
    uint64_t m_n_sent = 0;
};

}  // namespace gs::cuda
