// Synthetic runs of any size: normally distributed logits with an expert preference that drifts from token to token, English-like pieces of
// text, a prompt and a decoded part. Routed by the real router, so every invariant of a trace holds.
#pragma once

#include <cstdint>
#include <string>

#include "engine/routing/trace.h"

namespace gs::test {

struct MakeTrace {
    int n_tokens = 64;
    int n_layers = 4;                   ///< all of them MoE unless n_dense > 0
    int n_dense = 0;                    ///< leading dense layers among them
    RouterSpec router{.n_experts = 16, .n_used = 4, .score = ScoreFn::kSoftmax, .renormalise = true};
    bool selection_bias = false;
    int n_prompt = -1;                  ///< tokens of the prompt; -1: a quarter
    std::string policy = "native";      ///< of the decoded part; the prompt is native
    uint32_t seed = 1;
};

TraceSnapshot make_trace(const MakeTrace& options = {});
/// What make_trace() starts from; for tests that write their own rows.
TraceInfo make_trace_info(const MakeTrace& options = {});

/// True when two traces hold the same run: identity, tokens, policies, logits, ids and weights bit for bit (NaN equals NaN); provenance and
/// revision aside. `why` says what differs.
bool same_run(const TraceSnapshot& a, const TraceSnapshot& b, std::string* why);

}  // namespace gs::test
