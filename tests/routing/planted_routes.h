// Routing with known properties: a uniform router, and whatever a test plants.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "engine/routing/chance.h"
#include "engine/routing/layer_routes.h"

namespace gs::test {

inline void add_token(LayerRoutes& routes, std::initializer_list<int> experts) {
    std::vector<uint16_t> ids;
    for (const int e : experts) ids.push_back(static_cast<uint16_t>(e));
    routes.add(ids, std::vector<float>(ids.size(), 1.0f / static_cast<float>(ids.size())));
}

/// Every token takes k of E experts, each set and order as likely as any other.
inline LayerRoutes uniform_routes(int n_tokens, int n_experts, int k, uint64_t seed) {
    LayerRoutes routes;
    routes.n_experts = n_experts;
    Shuffler shuffler(seed);
    std::vector<uint16_t> experts;
    for (int e = 0; e < n_experts; ++e) experts.push_back(static_cast<uint16_t>(e));
    for (int t = 0; t < n_tokens; ++t) {
        shuffler.shuffle(std::span(experts));
        const auto chosen = std::span<const uint16_t>(experts).first(static_cast<size_t>(k));
        routes.add(chosen, std::vector<float>(chosen.size(), 1.0f / static_cast<float>(k)));
    }
    return routes;
}

}  // namespace gs::test
