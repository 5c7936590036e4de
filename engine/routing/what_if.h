// What recorded logits can answer without running the model: who would be chosen, with what weight, under another policy. Hidden states
// are not re-run, so deeper layers would in truth see other inputs: everything here has provenance *what-if*.
#pragma once

#include "engine/routing/batch_routing.h"
#include "engine/routing/metrics.h"
#include "engine/routing/policy.h"
#include "engine/routing/trace.h"

namespace gs {

/// Routes one recorded (token, MoE layer) under another policy. layer_policy: see Policy::for_layer. Needs router logits.
void what_if_route(const TraceSnapshot& trace, int moe_layer, int token, const LayerPolicy& layer_policy, RouteRow& row);

/// One MoE layer of a run under a policy that is by batch (batch_routing.h): of each token in turn, the prompt's and the answer's. For any other
/// policy the same as token by token.
BatchRoutes what_if_batch(const TraceSnapshot& trace, int moe_layer, const LayerPolicy& layer_policy);

/// A whole run re-routed from its recorded logits. 4,096 tokens x 30 layers x 16 experts take a few ms.
/// The result is a trace of its own: same tokens and logits, other ids and weights, Provenance::kWhatIf. A run
/// without router logits cannot be re-routed: it comes back as it is.
TraceSnapshot what_if_trace(const TraceSnapshot& trace, const Policy& policy);

}  // namespace gs
