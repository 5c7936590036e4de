// The description of a trace file, read from its metadata: whose run it is, its router, layers and policies. Private to the reader.
#pragma once

#include <string>
#include <vector>

#include "engine/core/result.h"
#include "engine/io/safetensors.h"
#include "engine/routing/policy.h"
#include "engine/routing/trace.h"

namespace gs {

struct TraceDescription {
    TraceInfo info;                        ///< without what is kept as tensors: prompt and selection bias
    std::vector<Policy> policies;
};
/// Every number is checked. Errors: kInput "not_a_trace", "bad_version", "bad_value".
Result<TraceDescription> read_trace_description(const SafetensorsFile& file);

/// What is wrong with a trace file.
Error bad_trace(std::string why, std::string code = "bad_value");

}  // namespace gs
