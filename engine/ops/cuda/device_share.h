// Memory of a graphics interface on the same device, and routing put into it (engine/routing/shared_routing.h).
//
// No semaphores between the two: what is written is seen by a picture only after the host has waited for it, and before a run overwrites what a picture may
// still read, the viewer waits for that picture.
//
// Has run in the emulation of tests/cuda_emulation only, never on a device.
#pragma once

#include <memory>

#include "engine/ops/cuda/device_memory.h"
#include "engine/ops/routing_share.h"

namespace gs::cuda {

class DeviceShare final : public RoutingShare {
public:
    /// Errors: kDevice "not_shared".
    static Result<std::unique_ptr<DeviceShare>> open(std::shared_ptr<RoutingViewer> viewer, const SharedLayout& layout, int device, cudaStream_t stream,
                                                     ErrorLog& errors);
    ~DeviceShare() override;
    DeviceShare(const DeviceShare&) = delete;
    DeviceShare& operator=(const DeviceShare&) = delete;
    void put(uint64_t run, const SharedRows& rows) override;

private:
    DeviceShare(std::shared_ptr<RoutingViewer> viewer, const SharedLayout& layout, int device, cudaStream_t stream, ErrorLog& errors)
        : m_viewer(std::move(viewer)), m_layout(layout), m_device(device), m_stream(stream), m_errors(errors) {}
    Result<void> import(const SharedMemory& memory);

    std::shared_ptr<RoutingViewer> m_viewer;
    SharedLayout m_layout;
    int m_device;
    cudaStream_t m_stream;
    ErrorLog& m_errors;
    cudaExternalMemory_t m_memory = nullptr;
    float* m_data = nullptr;
    uint64_t m_id = 0, m_run = 0;
    bool m_may_write = false;          ///< of m_run
};

}  // namespace gs::cuda
