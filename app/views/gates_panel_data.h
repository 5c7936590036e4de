// The rules side by side on one router output: weights from the recorded logits (always there), errors from the engine's comparison (when it is).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/views/route_data.h"
#include "engine/run/gates.h"

namespace app {

/// One rule's weights on one (token, MoE layer).
struct GateRule {
    enum Kind : uint8_t { kSoft, kHard, kTopK, kPolicy };
    Kind kind = kSoft;
    int k = 0;                             ///< experts used
    std::vector<float> weights;            ///< [E], 0 where not chosen
    double sum = 0;                        ///< Σ weights
    double kept = 0;                       ///< Σ preference of the experts used: how much of the router's wish is served
    /// Of the outputs; only from the engine.
    struct Errors {
        double vs_soft = 0, cosine_vs_soft = 0, vs_native = 0;
    };
    std::optional<Errors> errors;
};

struct GateCurve {
    std::vector<double> k, kept;           ///< [E] k = 1..E; Σ preference of the best k by selection score
    std::vector<double> error_vs_soft, error_vs_native, cosine_vs_soft, sum;   ///< [E], or empty without the engine
    bool has_errors() const { return !error_vs_soft.empty(); }
};

struct GateData {
    int token = -1, moe_layer = -1, native_k = 0;
    std::vector<float> logits, preference; ///< [E]
    std::vector<int> by_score;             ///< experts by the model's own selection score, best first
    std::vector<GateRule> rules;           ///< soft, hard, top-k as trained, policy in force
    GateCurve curve;
    bool policy_is_native = false;
    std::vector<float> output_norms;       ///< [E] ‖y_e‖, empty without the engine
    double shared_norm = 0, soft_norm = 0; ///< 0 without the engine

    float largest_weight() const;
};

/// policy: the one in force for that token at that layer.
GateData gate_data(const gs::TraceSnapshot& trace, int moe_layer, int token, const gs::LayerPolicy& policy);
/// Adds what only the model can tell. The policy's errors: those of its own row when `policy_recorded`, else those of the rule of the same weights,
/// else none (a policy that is only being tried).
void add_errors(GateData& data, const gs::GateComparison& answer, bool policy_recorded);

}  // namespace app
