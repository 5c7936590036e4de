// The CUDA engine from outside: which devices there are, and Ops on one of them. Knows nothing of the toolkit, so that programs built without it
// include it too; without it both say so.
//
// The engine has run in an emulation on the host only (tests/cuda_emulation), never on a device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/core/result.h"
#include "engine/ops/ops.h"

namespace gs {

/// Ops on the device with the most free memory, or on the one of the environment variable GATESCOPE_CUDA_DEVICE. Errors: kDevice "no_cuda" (built
/// without it), "no_driver", "no_device", "device_unusable".
Result<std::unique_ptr<Ops>> make_cuda_ops(const OpsOptions& options);

namespace cuda {

struct DeviceInfo {
    int index = 0;
    std::string name;
    int major = 0, minor = 0, n_processors = 0;
    uint64_t memory = 0, free_memory = 0;
};

/// The devices that kernels of this build run on: compute capability 8.0 and later. Errors: as above.
Result<std::vector<DeviceInfo>> list_devices();

}  // namespace cuda
}  // namespace gs
