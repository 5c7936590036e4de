#include "engine/routing/route_changes.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/routing/metrics.h"

namespace gs {
RouteChanges route_changes(const TraceSnapshot& a, const TraceSnapshot& b) {
    GS_CHECK(a.n_experts() == b.n_experts() && a.n_moe_layers() == b.n_moe_layers(), "changes need two runs of routers of the same size");
    RouteChanges result;
    for (const double below : {0.01, 0.05, 0.1, 0.3, std::numeric_limits<double>::infinity()}) result.bands.push_back({below});
    double squares = 0;
    uint64_t n_logits = 0;
    const int n_tokens = std::min(a.n_tokens(), b.n_tokens());
    for (int m = 0; m < a.n_moe_layers(); ++m)
        for (int token = 0; token < n_tokens; ++token) {
            const auto x = a.logits(m, token), y = b.logits(m, token);
            for (size_t e = 0; e < x.size(); ++e) squares += std::pow(static_cast<double>(x[e]) - static_cast<double>(y[e]), 2);
            n_logits += x.size();
            const double margin = selection_margin(x, a.ids(m, token));
            const auto band = std::find_if(result.bands.begin(), result.bands.end() - 1, [&](const RouteChanges::Band& it) { return margin < it.below; });
            ++band->decisions;
            ++result.decisions;
            const auto chosen_a = a.ids(m, token), chosen_b = b.ids(m, token);
            if (chosen_a.size() == chosen_b.size() && shared_ids(chosen_a, chosen_b) == chosen_a.size()) continue;
            ++band->changed;
            ++result.changed;
            result.largest_margin_changed = std::max(result.largest_margin_changed, margin);
        }
    if (n_logits > 0) result.rms_logit_difference = std::sqrt(squares / static_cast<double>(n_logits));
    return result;
}

}  // namespace gs
