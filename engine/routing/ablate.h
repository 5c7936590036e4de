// What a policy takes from experts that are already chosen and weighed: their place (swap) or their contribution (zero). Routing around an expert is a
// mask and happens before.
#pragma once

#include <cstdint>
#include <span>

#include "engine/routing/router.h"

namespace gs {

/// Applies LayerPolicy::swapped in order, then ::zeroed. ids, weights: [k] of one token, ids distinct before and after; with neither list they stay as
/// they are to the bit.
void ablate(const LayerPolicy& policy, std::span<int32_t> ids, std::span<float> weights);

}  // namespace gs
