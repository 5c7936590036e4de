#include "engine/ops/make_ops.h"

#include <algorithm>

#include "engine/ops/cuda/cuda_engine.h"

namespace gs {

std::optional<EngineKind> parse_engine(std::string_view text) {
    if (text == "auto") return EngineKind::kAuto;
    if (text == "cpu") return EngineKind::kCpu;
    if (text == "cuda") return EngineKind::kCuda;
    if (text == "reference") return EngineKind::kReference;
    return std::nullopt;
}

KvType kv_type_of(EngineKind kind, const OpsOptions& options) { return kind == EngineKind::kReference ? KvType::kF32 : options.chosen_kv_type(); }

MadeOps make_ops_instead(const OpsOptions& options, const Error& error) {
    OpsOptions cpu = options;
    cpu.note = "no CUDA: " + error.why;
    return {make_cpu_ops(cpu), "The engine runs on the processor: " + error.why};
}

MadeOps make_ops(EngineKind kind, const OpsOptions& options, uint64_t bytes_needed) {
    if (kind == EngineKind::kReference) return {make_reference_ops(), ""};
    if (kind == EngineKind::kCpu) return {make_cpu_ops(options), ""};
    const auto megabytes = [](uint64_t n) { return std::to_string(n / 1000000) + " MB"; };
    const Result<std::vector<cuda::DeviceInfo>> devices = cuda::list_devices();
    if (!devices) {
        // A machine without a device is no news, unless it was asked for.
        const std::string& code = devices.error().code;
        const bool is_news = kind == EngineKind::kCuda || (code != "no_cuda" && code != "no_driver" && code != "no_device");
        return is_news ? make_ops_instead(options, devices.error()) : MadeOps{make_cpu_ops(options), ""};
    }
    uint64_t most_free = 0;
    for (const cuda::DeviceInfo& device : *devices) most_free = std::max(most_free, device.free_memory);
    if (bytes_needed > most_free)
        return make_ops_instead(options, {ErrorKind::kDevice, "device_memory", "", "the model needs " + megabytes(bytes_needed) + " and the device has " +
                                                                                      megabytes(most_free) + " free", ""});
    Result<std::unique_ptr<Ops>> made = make_cuda_ops(options);
    if (!made) return make_ops_instead(options, made.error());
    return {std::move(*made), ""};
}

}  // namespace gs

#ifndef GATESCOPE_HAVE_CUDA
namespace gs {
namespace {
Error built_without() {
    return {ErrorKind::kDevice, "no_cuda", "CUDA cannot be used", "this program was built without CUDA", "Build it where nvcc is found"};
}
}  // namespace

Result<std::unique_ptr<Ops>> make_cuda_ops(const OpsOptions&) { return built_without(); }
namespace cuda {
Result<std::vector<DeviceInfo>> list_devices() { return built_without(); }
}  // namespace cuda
}  // namespace gs
#endif
