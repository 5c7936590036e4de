// What became of routing decisions between two runs over the same tokens, by how clear each decision was in the first.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/routing/trace.h"

namespace gs {

struct RouteChanges {
    /// Decisions (a token at a layer) whose margin is under `below` and not under that of the band before: the least logit among the chosen
    /// minus the greatest among the others (selection_margin).
    struct Band {
        double below = 0;
        uint64_t decisions = 0, changed = 0;     ///< changed: another set of experts
    };
    std::vector<Band> bands;                     ///< upper ends 0.01, 0.05, 0.1, 0.3, infinity
    uint64_t decisions = 0, changed = 0;
    double largest_margin_changed = 0;           ///< of the clearest decision that changed
    double rms_logit_difference = 0;             ///< of all router logits
};

/// Over the tokens that both runs have. Routers of the same size.
RouteChanges route_changes(const TraceSnapshot& a, const TraceSnapshot& b);

}  // namespace gs
