// Routing into memory that is shared with whoever draws it (engine/routing/shared_routing.h).
//
// A warp a token and layer. The preference is computed anew, step by step as engine/routing/router_math.cpp does it with its four lanes and nothing fused:
// the picture must not change with the way that its values took, and the router's own exponentials are the device's.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/routing_share.h"

namespace gs::cuda {

/// `to`: the beginning of the layout's memory. rows.first_position + rows.n_rows <= layout.n_positions; has_shared_preference(rows.score), or that plane
/// is left as it is.
void share_rows(cudaStream_t stream, const SharedRows& rows, const SharedLayout& layout, float* to);

}  // namespace gs::cuda
