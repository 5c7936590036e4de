// Which back end: asked for by name, or the best one that can be had. The only place that knows.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/ops/ops.h"

namespace gs {

/// auto: CUDA if there is a device, as far as the model fits it, else the processor. cuda: the same, and why not is always said.
enum class EngineKind : uint8_t { kAuto, kCpu, kCuda, kReference };
std::optional<EngineKind> parse_engine(std::string_view text);     ///< "auto", "cpu", "cuda", "reference"

/// Ops on a device: make_cuda_ops(), or what a test puts in its place.
using DeviceMaker = std::function<Result<std::unique_ptr<Ops>>(const OpsOptions&)>;

struct MadeOps {
    std::shared_ptr<Ops> ops;          ///< never null
    bool on_device = false;
    std::string remark;                ///< one sentence where it is not what was asked for, or not what the machine seems to offer; else empty
};

/// Never fails: what stands in the way of a device ends in the CPU back end, and in the remark and its name. make_device: none: make_cuda_ops().
MadeOps make_ops(EngineKind kind, const OpsOptions& options, const DeviceMaker& make_device = {});
/// The CPU back end because a device failed for this reason.
MadeOps make_ops_instead(const OpsOptions& options, const Error& error);
/// How the chosen back end will keep keys and values.
KvType kv_type_of(EngineKind kind, const OpsOptions& options);

}  // namespace gs
