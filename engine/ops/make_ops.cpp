#include "engine/ops/make_ops.h"

#include <utility>

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
    return {.ops = make_cpu_ops(cpu), .remark = "The engine runs on the processor: " + error.why};
}

MadeOps make_ops(EngineKind kind, const OpsOptions& options, const DeviceMaker& make_device) {
    if (kind == EngineKind::kReference) return {.ops = make_reference_ops()};
    if (kind == EngineKind::kCpu) return {.ops = make_cpu_ops(options)};
    Result<std::unique_ptr<Ops>> made = make_device ? make_device(options) : make_cuda_ops(options);
    if (made) return {.ops = std::move(*made), .on_device = true};
    // A machine without a device is no news, unless it was asked for.
    const std::string& code = made.error().code;
    const bool is_news = kind == EngineKind::kCuda || (code != "no_cuda" && code != "no_driver" && code != "no_device");
    return is_news ? make_ops_instead(options, made.error()) : MadeOps{.ops = make_cpu_ops(options)};
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
