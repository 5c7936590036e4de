#include "engine/ops/cuda/device_memory.h"

#include <algorithm>

namespace gs::cuda {

bool ErrorLog::ok(cudaError_t error, const char* doing) {
    if (error == cudaSuccess) return true;
    if (!failed()) {
        m_error = error;
        m_text = std::string(doing) + ": " + cudaGetErrorString(error);
    }
    (void)cudaGetLastError();   // or the next launch would report it again
    return false;
}

std::byte* DeviceBuffer::at_least(size_t n_bytes) {
    if (n_bytes <= m_bytes) return m_data;
    release();   // waits for what still uses it
    void* memory = nullptr;
    if (!m_errors.ok(cudaMalloc(&memory, n_bytes), "memory to work in")) return nullptr;
    m_data = static_cast<std::byte*>(memory);
    m_bytes = n_bytes;
    return m_data;
}

void DeviceBuffer::release() {
    (void)cudaFree(m_data);
    m_data = nullptr;
    m_bytes = 0;
}

std::byte* UploadRing::take(size_t n_bytes) {
    constexpr size_t kLeast = 1 << 20, kPieces = 8, kLine = 256;
    ++m_n_sent;
    const size_t room = (n_bytes + kLine - 1) / kLine * kLine;
    if (room > m_bytes / kPieces) {
        m_errors.ok(cudaStreamSynchronize(m_stream), "waiting for copies");
        (void)cudaFreeHost(m_host);
        m_host = nullptr;
        m_bytes = std::max(kLeast, kPieces * room);
        m_used = 0;
        void* memory = nullptr;
        if (!m_errors.ok(cudaMallocHost(&memory, m_bytes), "page-locked memory") || !m_device.at_least(m_bytes)) {
            (void)cudaFreeHost(memory);
            m_bytes = 0;
            return nullptr;
        }
        m_host = static_cast<std::byte*>(memory);
    }
    if (m_used + room > m_bytes) {
        m_errors.ok(cudaStreamSynchronize(m_stream), "waiting for copies");
        m_used = 0;
    }
    std::byte* place = m_host + m_used;
    m_used += room;
    return place;
}

const std::byte* UploadRing::send_bytes(const void* from, size_t n_bytes) {
    if (n_bytes == 0) return nullptr;
    std::byte* place = take(n_bytes);
    if (!place) return nullptr;
    std::memcpy(place, from, n_bytes);
    std::byte* to = m_device.at_least(m_bytes) + (place - m_host);
    m_errors.ok(cudaMemcpyAsync(to, place, n_bytes, cudaMemcpyHostToDevice, m_stream), "copying to the device");
    return to;
}

void UploadRing::send_to(std::byte* to, const void* from, size_t n_bytes) {
    if (n_bytes == 0 || !to) return;
    std::byte* place = take(n_bytes);
    if (!place) return;
    std::memcpy(place, from, n_bytes);
    m_errors.ok(cudaMemcpyAsync(to, place, n_bytes, cudaMemcpyHostToDevice, m_stream), "copying to the device");
}

}  // namespace gs::cuda
