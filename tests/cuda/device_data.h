// Matrices and activations in the memory of the emulated device.
#pragma once

#include <cuda_runtime.h>

#include <cstring>
#include <vector>

#include "engine/ops/cuda/linear.cuh"
#include "tests/cuda_emulation/emulation.h"
#include "tests/ops/backends.h"

namespace gs::test {

/// For shapes of launches: the emulated device's.
inline const int kProcessors = cuda_emulation::Device{}.n_processors;

/// Values on the device, exactly as many bytes as there are values: AddressSanitizer finds what is beyond.
template <class T>
class OnDevice {
public:
    explicit OnDevice(size_t n) : m_n(n) { EXPECT_EQ(cudaMalloc(&m_data, std::max<size_t>(n, 1) * sizeof(T)), cudaSuccess); }
    explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
        EXPECT_EQ(cudaMemcpy(m_data, values.data(), m_n * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;
    ~OnDevice() { cudaFree(m_data); }

    T* data() const { return m_data; }
    std::vector<T> read() const {
        std::vector<T> values(m_n);
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        EXPECT_EQ(cudaMemcpy(values.data(), m_data, m_n * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
        EXPECT_EQ(cudaGetLastError(), cudaSuccess);
        return values;
    }

private:
    T* m_data = nullptr;
    size_t m_n;
};

/// Rows of floats, further apart than they are wide.
struct DeviceRows {
    DeviceRows(int rows, int cols, int gap) : n_rows(rows), n_cols(cols), stride(cols + gap), memory(static_cast<size_t>(rows * stride)) {}
    DeviceRows(const Matrix& m) : n_rows(m.n_rows), n_cols(m.n_cols), stride(m.stride), memory(m.data) {}
    Rows rows() const { return {memory.data(), n_rows, n_cols, stride}; }

    int n_rows, n_cols, stride;
    OnDevice<float> memory;
};

struct DeviceStack {
    explicit DeviceStack(const Weight& w) : matrix(cuda::device_shape(w)), memory(packed(w)) { matrix.data = memory.data(); }

    cuda::DeviceMatrix matrix;
    OnDevice<std::byte> memory;

private:
    static std::vector<std::byte> packed(const Weight& w) {
        const cuda::DeviceMatrix shape = cuda::device_shape(w);
        std::vector<std::byte> bytes(shape.n_bytes());
        for (int s = 0; s < w.n_slabs; ++s) cuda::pack_slab(w, s, bytes.data() + shape.slab_bytes * static_cast<size_t>(s));
        return bytes;
    }
};

}  // namespace gs::test
