// Readback from the device: one copy behind the kernels so far, into page-locked memory, waited for together with whatever is read after it.
#pragma once

#include "engine/ops/cuda/device_memory.h"
#include "engine/ops/ops.h"

namespace gs::cuda {

class DeviceReadback final : public Readback {
public:
    /// n_waits: how often somebody has waited for the stream; counted on here.
    DeviceReadback(ErrorLog& errors, cudaStream_t stream, int device, uint64_t& n_waits)
        : m_errors(errors), m_stream(stream), m_device(device), m_n_waits(n_waits) {}
    ~DeviceReadback() override;
    /// False when there is no memory, which is the caller's to say.
    bool allocate(size_t n_floats);

    float* data() override { return m_data; }
    void begin(size_t n_floats) override;
    std::span<const float> end() override;

private:
    ErrorLog& m_errors;
    cudaStream_t m_stream;
    int m_device;
    uint64_t& m_n_waits;
    float *m_data = nullptr, *m_host = nullptr;
    size_t m_n_floats = 0;
    uint64_t m_asked_at = 0;           ///< value of m_n_waits
    bool m_arrived = true;
};

}  // namespace gs::cuda
