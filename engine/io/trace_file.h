// Trace files: a safetensors container with a versioned JSON description under the metadata key "gatescope" (schema in trace_schema.h).
// Opened in Python with `safetensors.numpy.load_file(path)`.
#pragma once

#include <filesystem>

#include "engine/core/result.h"
#include "engine/routing/trace.h"

namespace gs {

/// Writes to a temporary name beside `path` and renames. Errors: kRun "disk_full", "cannot_write"; the old file stays untouched.
Result<void> save_trace(const TraceSnapshot& trace, const std::filesystem::path& path);
/// Every offset, count, id and size is checked. Errors: kInput, code as for GGUF ("truncated", "bad_value", …). Provenance::kReplayed.
Result<TraceSnapshot> load_trace(const std::filesystem::path& path);

}  // namespace gs
