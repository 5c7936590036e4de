#include "engine/ops/cuda/device_readback.h"

#include <algorithm>

namespace gs::cuda {

DeviceReadback::~DeviceReadback() {
    (void)cudaSetDevice(m_device);
    (void)cudaFree(m_data);   // waits for a copy under way
    (void)cudaFreeHost(m_host);
}

bool DeviceReadback::allocate(size_t n_floats) {
    (void)cudaSetDevice(m_device);
    const size_t n_bytes = std::max<size_t>(n_floats, 1) * sizeof(float);
    void *on_device = nullptr, *on_host = nullptr;
    const bool made = cudaMalloc(&on_device, n_bytes) == cudaSuccess && cudaMallocHost(&on_host, n_bytes) == cudaSuccess;
    m_data = static_cast<float*>(on_device);
    m_host = static_cast<float*>(on_host);
    if (!made) {
        (void)cudaGetLastError();
        return false;
    }
    m_errors.ok(cudaMemsetAsync(m_data, 0, n_bytes, m_stream), "clearing memory");
    return true;
}

void DeviceReadback::begin(size_t n_floats) {
    (void)cudaSetDevice(m_device);
    m_errors.ok(cudaMemcpyAsync(m_host, m_data, n_floats * sizeof(float), cudaMemcpyDeviceToHost, m_stream), "bringing results to the host");
    m_n_floats = n_floats;
    m_asked_at = m_n_waits;
    m_arrived = false;
}

std::span<const float> DeviceReadback::end() {
    if (!m_arrived && m_asked_at == m_n_waits) {
        (void)cudaSetDevice(m_device);
        ++m_n_waits;
        m_errors.ok(cudaStreamSynchronize(m_stream), "bringing results to the host");
    }
    m_arrived = true;
    if (m_errors.failed()) std::fill_n(m_host, m_n_floats, 0.0f);
    return {m_host, m_n_floats};
}

}  // namespace gs::cuda
