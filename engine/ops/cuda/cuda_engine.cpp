// Devices, and the choice among them.
#include "engine/ops/cuda/cuda_engine.h"

#include <algorithm>
#include <cstdlib>

#include "engine/ops/cuda/cuda_ops.h"

namespace gs {
namespace cuda {
namespace {

constexpr int kLeastMajor = 8;         // the oldest architecture that kernels are built for

Error no_device(const char* code, const std::string& why) {
    return {ErrorKind::kDevice, code, "CUDA cannot be used", why, "The engine runs on the processor instead"};
}

}  // namespace

Result<std::vector<DeviceInfo>> list_devices() {
    int n = 0;
    const cudaError_t error = cudaGetDeviceCount(&n);
    (void)cudaGetLastError();
    if (error == cudaErrorInsufficientDriver) return no_device("no_driver", "there is no NVIDIA driver, or it is older than this build asks for");
    if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0)) return no_device("no_device", "the driver names no device");
    if (error != cudaSuccess) return no_device("device_unusable", cudaGetErrorString(error));
    std::vector<DeviceInfo> devices;
    std::string refused;
    for (int i = 0; i < n; ++i) {
        cudaDeviceProp p;
        size_t free = 0, total = 0;
        if (cudaGetDeviceProperties(&p, i) != cudaSuccess || cudaSetDevice(i) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess) {
            refused = std::string("a device does not answer: ") + cudaGetErrorString(cudaGetLastError());
        } else if (p.major < kLeastMajor) {
            refused = std::string(p.name) + " is too old: compute capability " + std::to_string(p.major) + "." + std::to_string(p.minor) + ", and 8.0 is needed";
        } else {
            devices.push_back({i, p.name, p.major, p.minor, p.multiProcessorCount, total, free});
        }
    }
    if (devices.empty()) return no_device("device_unusable", refused);
    return devices;
}

}  // namespace cuda

Result<std::unique_ptr<Ops>> make_cuda_ops(const OpsOptions& options) {
    GS_TRY(const std::vector<cuda::DeviceInfo> devices, cuda::list_devices());
    const char* wanted = std::getenv("GATESCOPE_CUDA_DEVICE");
    const auto found = wanted ? std::find_if(devices.begin(), devices.end(), [&](const cuda::DeviceInfo& d) { return std::to_string(d.index) == wanted; })
                              : std::max_element(devices.begin(), devices.end(), [](const cuda::DeviceInfo& a, const cuda::DeviceInfo& b) {
                                    return a.free_memory < b.free_memory;
                                });
    if (found == devices.end()) return cuda::no_device("no_device", std::string("there is no device ") + wanted + " as GATESCOPE_CUDA_DEVICE asks for");
    cudaStream_t stream = nullptr;
    cudaError_t error = cudaSetDevice(found->index);
    if (error == cudaSuccess) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (error != cudaSuccess) {
        (void)cudaGetLastError();
        return cuda::no_device("device_unusable", found->name + ": " + cudaGetErrorString(error));
    }
    auto ops = std::make_unique<cuda::CudaOps>(*found, stream, options.precision, options.chosen_kv_type());
    GS_TRY_VOID(ops->check());
    return std::unique_ptr<Ops>(std::move(ops));
}

}  // namespace gs
