// The gating comparison: soft, hard and top-k on one true hidden state of a real model (product.md D4).
//
// y is the routed sum Σ w_e y_e(x); a shared expert's output is the same under every rule and is stated apart.
#pragma once

#include <string>
#include <vector>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/decode/decoder.h"
#include "engine/routing/trace.h"

namespace gs {

/// One rule on one hidden state.
struct GateRow {
    std::string rule;                    ///< "native", "soft", "hard", "topk", "policy" (the one in force)
    int k = 0;                           ///< experts used
    std::vector<float> weights;          ///< [E] applied weights, 0 where not chosen
    std::vector<int32_t> ids;            ///< chosen, best first
    double sum = 0;                      ///< Σ weights
    double error_vs_soft = 0, cosine_vs_soft = 0;      ///< ‖y − y_soft‖/‖y_soft‖, cos(y, y_soft)
    double error_vs_native = 0, cosine_vs_native = 0;
};

struct GateComparison {
    int token = 0, moe_layer = 0, layer = 0;           ///< moe_layer: row in TraceInfo::moe_layers; layer: blk.N
    uint64_t trace_revision = 0;                       ///< of the run it belongs to
    std::vector<float> logits, preference;             ///< [E]
    std::vector<GateRow> rows;                         ///< native, policy, soft, hard, then topk for k = 1..E
    std::vector<float> output_norms;                   ///< [E] ‖y_e‖
    double shared_norm = 0, soft_norm = 0;             ///< ‖shared output‖ (0 without), ‖y_soft‖

    const GateRow* find(const std::string& rule, int k = -1) const;   ///< null if there is none
};

/// From a probe's expert outputs; pure. policy: the one in force for that token, at that position.
GateComparison compare_gates(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> selection_bias,
                             const Decoder::Probe& probe, int position = 0);

/// Runs the tokens of `trace` up to `token` unless the decoder's cache holds them already (cached_tokens positions of this very run), each under
/// its recorded policy, then probes. Errors: kInput "wrong_model" when the trace is of another model; kCancelled; those of Decoder.
Result<GateComparison> gate_comparison(Decoder& decoder, const TraceSnapshot& trace, int token, int moe_layer, int cached_tokens,
                                       const CancelFlag* cancel = nullptr);

}  // namespace gs
