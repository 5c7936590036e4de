#include "engine/ops/cuda/device_share.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "engine/ops/cuda/share.cuh"

namespace gs::cuda {

static Error not_shared(const std::string& why) { return {ErrorKind::kDevice, "not_shared", "Routing is not shared with the window", why, ""}; }

Result<std::unique_ptr<DeviceShare>> DeviceShare::open(std::shared_ptr<RoutingViewer> viewer, const SharedLayout& layout, int device, cudaStream_t stream,
                                                       ErrorLog& errors) {
    GS_TRY(const DeviceUuid drawing, viewer->device());
    cudaDeviceProp properties;
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) return not_shared(cudaGetErrorString(cudaGetLastError()));
    static_assert(sizeof properties.uuid.bytes == sizeof drawing);
    if (std::memcmp(properties.uuid.bytes, drawing.data(), sizeof drawing) != 0) return not_shared("the window is drawn by another device");
    GS_TRY(const SharedMemory memory, viewer->allocate(layout));
    std::unique_ptr<DeviceShare> share(new DeviceShare(std::move(viewer), layout, device, stream, errors));
    share->m_id = memory.id;
    GS_TRY_VOID(share->import(memory));
    return share;
}

Result<void> DeviceShare::import(const SharedMemory& memory) {
    (void)cudaSetDevice(m_device);
    cudaExternalMemoryHandleDesc handle{};
    handle.type = cudaExternalMemoryHandleTypeOpaqueFd;
    handle.handle.fd = memory.fd;
    handle.size = memory.n_bytes;
    handle.flags = memory.dedicated ? cudaExternalMemoryDedicated : 0;
    cudaError_t error = cudaImportExternalMemory(&m_memory, &handle);
    if (error != cudaSuccess) {
        (void)close(memory.fd);        // what is imported has taken it over
        m_memory = nullptr;
    } else {
        cudaExternalMemoryBufferDesc buffer{};
        buffer.size = m_layout.n_floats() * sizeof(float);
        void* data = nullptr;
        error = cudaExternalMemoryGetMappedBuffer(&data, m_memory, &buffer);
        if (error == cudaSuccess) m_data = static_cast<float*>(data);
    }
    if (error == cudaSuccess) return {};
    // Not an error of the engine's: it goes on as without.
    const std::string why = std::string("the device does not take the window's memory: ") + cudaGetErrorString(error);
    (void)cudaGetLastError();
    return not_shared(why);
}

DeviceShare::~DeviceShare() {
    m_viewer->close(m_id);
    (void)cudaSetDevice(m_device);
    (void)cudaStreamSynchronize(m_stream);
    if (m_data) (void)cudaFree(m_data);
    if (m_memory) (void)cudaDestroyExternalMemory(m_memory);
    (void)cudaGetLastError();
}

void DeviceShare::put(uint64_t run, const SharedRows& rows) {
    if (run != m_run) {
        m_run = run;
        m_may_write = m_viewer->begin_run(m_id, run);
    }
    if (!m_may_write || rows.first_position + rows.n_rows > m_layout.n_positions) return;
    (void)cudaSetDevice(m_device);
    share_rows(m_stream, rows, m_layout, m_data);
    m_errors.check_launch("sharing routing");
}

}  // namespace gs::cuda
