// A trace as named arrays: what trace files and NPZ exports are made of. Private to engine/io.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/routing/trace.h"

namespace gs {

struct TraceTensors {
    std::vector<SafetensorsEntry> entries;       ///< trace_schema.h; their bytes belong to `owner`
    std::string description;                     ///< JSON, the metadata of a trace file
    std::shared_ptr<const void> owner;
};
TraceTensors trace_tensors(const TraceSnapshot& trace);

}  // namespace gs
