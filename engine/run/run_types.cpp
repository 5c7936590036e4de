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

double bytes_per_token(const TraceSnapshot& trace) {
    int64_t n_assigned = 0;
    for (int t = 0; t < trace.n_tokens(); ++t)
        for (int m = 0; m < trace.n_moe_layers(); ++m) n_assigned += static_cast<int64_t>(trace.ids(m, t).size());
    const int64_t n_rows = int64_t{trace.n_tokens()} * trace.n_moe_layers();
    return bytes_per_token(trace.info(), n_rows > 0 ? static_cast<double>(n_assigned) / static_cast<double>(n_rows) : 0);
}

}  // namespace gs
