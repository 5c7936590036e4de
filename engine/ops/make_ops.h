// Which back end: asked for by name, or the best one that can be had. The only place that knows.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/ops/ops.h"

namespace gs {

/// auto: CUDA if there is a device with room for the model, else the processor. cuda: the same, and why not is always said.
enum class EngineKind : uint8_t { kAuto, kCpu, kCuda, kReference };
std::optional<EngineKind> parse_engine(std::string_view text);     ///< "auto", "cpu", "cuda", "reference"

struct MadeOps {
    std::shared_ptr<Ops> ops;          ///< never null
    std::string remark;                ///< one sentence where it is not what was asked for, or not what the machine seems to offer; else empty
};

/// Never fails: what stands in the way of a device ends in the CPU back end, and in the remark and its name. bytes_needed: of weights, keys and
/// values, and work; 0 if unknown.
MadeOps make_ops(EngineKind kind, const OpsOptions& options, uint64_t bytes_needed = 0);
/// The CPU back end because a device failed for this reason.
MadeOps make_ops_instead(const OpsOptions& options, const Error& error);
/// How the chosen back end will keep keys and values.
KvType kv_type_of(EngineKind kind, const OpsOptions& options);

}  // namespace gs
