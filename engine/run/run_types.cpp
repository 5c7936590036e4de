#include "engine/run/run_types.h"

#include <array>

namespace gs {

const char* name_of(StopReason reason) {
    constexpr std::array names = {"", "end of text", "length", "stopped", "context full", "failed"};
    return names[static_cast<size_t>(reason)];
}

double bytes_per_token(const TraceInfo& info, double mean_experts_per_layer) {
    return static_cast<double>(info.dense_bytes_per_token) +
           mean_experts_per_layer * static_cast<double>(info.n_moe_layers()) * static_cast<double>(info.expert_bytes);
}

}  // namespace gs
