// A back end's side of memory that it shares with whoever draws (engine/routing/shared_routing.h).
#pragma once

#include <cstdint>

#include "engine/routing/shared_routing.h"

namespace gs {

/// Routing of n_layers MoE layers one behind the other, in the back end's memory, of rows that lie at first_position and behind it.
struct SharedRows {
    const float* logits = nullptr;               ///< [n_layers, n_rows, E]
    const float* weights = nullptr;              ///< [n_layers, n_rows, k_stride]; row r uses the first n_used[r]
    const int32_t* ids = nullptr;                ///< likewise
    const int32_t* n_used = nullptr;             ///< [n_layers, n_rows]
    int k_stride = 0, moe_layer = 0, n_layers = 0, n_rows = 0, first_position = 0;
    ScoreFn score = ScoreFn::kSoftmax;
};

/// A back end's side of shared memory. Gone before the back end is.
class RoutingShare {
public:
    virtual ~RoutingShare() = default;
    /// Of a run, behind the operations so far, waited for by nobody. Left out as a whole where not all rows have a position: a picture that reaches beyond
    /// the layout is not drawn from here.
    virtual void put(uint64_t run, const SharedRows& rows) = 0;
};

}  // namespace gs
