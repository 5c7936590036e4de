#include "engine/routing/ablate.h"

#include <algorithm>

namespace gs {

void ablate(const LayerPolicy& policy, std::span<int32_t> ids, std::span<float> weights) {
    for (const ExpertSwap& swap : policy.swapped) {
        const auto from = std::find(ids.begin(), ids.end(), swap.from), to = std::find(ids.begin(), ids.end(), swap.to);
        if (from == ids.end()) continue;
        if (!policy.masked.empty() && policy.masked[static_cast<size_t>(swap.to)] != 0) continue;
        if (to != ids.end()) *to = swap.from;
        *from = swap.to;
    }
    if (policy.zeroed.empty()) return;
    for (size_t j = 0; j < ids.size(); ++j) {
        if (policy.zeroed[static_cast<size_t>(ids[j])] != 0) weights[j] = 0;
    }
}

}  // namespace gs
