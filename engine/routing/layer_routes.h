// The routing of one MoE layer as plain arrays: what the analyses of experts read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/routing/trace.h"

namespace gs {

/// T tokens, each with the experts that it used, best first. Slots: all of them one token after another.
struct LayerRoutes {
    int n_experts = 0;                       ///< E
    std::vector<uint32_t> begin = {0};       ///< [T + 1] first slot of each token
    std::vector<uint16_t> ids;               ///< [slots]
    std::vector<float> weights;              ///< [slots] applied weights

    int n_tokens() const { return static_cast<int>(begin.size()) - 1; }
    std::span<const uint16_t> of(int token) const {
        const auto t = static_cast<size_t>(token);
        return std::span(ids).subspan(begin[t], begin[t + 1] - begin[t]);
    }
    double mean_k() const { return n_tokens() > 0 ? static_cast<double>(ids.size()) / n_tokens() : 0; }
    void add(std::span<const uint16_t> chosen, std::span<const float> applied) {
        ids.insert(ids.end(), chosen.begin(), chosen.end());
        weights.insert(weights.end(), applied.begin(), applied.end());
        begin.push_back(static_cast<uint32_t>(ids.size()));
    }
};

/// Of these tokens of a trace, in this order.
inline LayerRoutes layer_routes(const TraceSnapshot& trace, int moe_layer, std::span<const int> tokens) {
    LayerRoutes routes;
    routes.n_experts = trace.n_experts();
    for (const int token : tokens) routes.add(trace.ids(moe_layer, token), trace.weights(moe_layer, token));
    return routes;
}

}  // namespace gs
