// Routers in device memory: one block that stays where it is while its contents change.
#pragma once

#include "engine/ops/cuda/device_memory.h"
#include "engine/ops/cuda/route.cuh"
#include "engine/ops/cuda/step_graphs.h"

namespace gs::cuda {

class DeviceRouters final : public Routers {
public:
    DeviceRouters(ErrorLog& errors, UploadRing& ring, StepGraphs& graphs, int device)
        : m_ring(ring), m_graphs(graphs), m_device(device), m_block(errors) {}
    ~DeviceRouters() override { m_graphs.clear(); }
    void set(std::span<const LayerRouter> layers) override;
    /// Null before set(), or where there is no memory.
    const DeviceRouter* on_device() const { return m_routers; }

private:
    UploadRing& m_ring;
    StepGraphs& m_graphs;              // name the block
    int m_device;
    DeviceBuffer m_block;
    const DeviceRouter* m_routers = nullptr;
};

}  // namespace gs::cuda
