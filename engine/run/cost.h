// What a token costs: parameters, floating-point operations, bytes and memory, of a model and of dense models to compare it with.
//
//   operations of a token = 2 · (weights that multiply it) + attention over the context
//     weights: the active parameters without an embedding that is looked up only (norms and biases, a thousandth, are counted with them)
//     attention: for each layer 2 · heads · (dk + dv) · keys seen, products of queries with keys and of probabilities with values; of latent attention the
//     compressed form, which the engine computes; windows and chunks see no more keys than they hold
//   bytes read by a decoded token = weights that multiply it, as stored, + keys and values of the context
//
// With the model's own k the parameters are those of `gatescope info`.
#pragma once

#include <cstdint>

#include "engine/model/model.h"
#include "engine/run/run_types.h"

namespace gs {

/// Sizes of a model, from a loaded one or from a file's header.
struct CostModel {
    ModelSpec spec;
    uint64_t total_params = 0, active_params = 0, lookup_params = 0;
    uint64_t weight_bytes = 0, dense_bytes_per_token = 0, expert_bytes = 0;
    uint64_t kv_bytes_per_position = 0;          ///< keys and values of one position, all layers

    /// Parameters of one routed expert of one MoE layer.
    uint64_t expert_params() const { return 3 * static_cast<uint64_t>(spec.n_embd) * static_cast<uint64_t>(spec.expert_ff); }
};
CostModel cost_model(const ModelCard& card);
CostModel cost_model(const ModelEstimate& estimate, KvType kv_type);

/// Experts that a token uses under the policy, mean over the MoE layers. -1, which stands for the model's own number below, of a dense model and of a
/// policy that does not fit the model.
double mean_experts(const ModelSpec& spec, const Policy& policy);

struct TokenCost {
    double total_params = 0, active_params = 0;
    double flops_weights = 0, flops_attention = 0;   ///< of one token at the end of the context
    double bytes_weights = 0, bytes_cache = 0;       ///< read by one decoded token at the end of the context
    double memory_weights = 0, memory_cache = 0;     ///< resident for that context
    double flops() const { return flops_weights + flops_attention; }
    double bytes() const { return bytes_weights + bytes_cache; }
    double memory() const { return memory_weights + memory_cache; }
};

/// n_ctx: tokens of context, the token itself included, >= 1. experts: mean number of experts that a token uses in a MoE layer; below 0: the model's own.
TokenCost token_cost(const CostModel& model, int n_ctx, double experts = -1);
/// As large in all, but every parameter used for every token: the model with all of its experts, or itself when it is dense.
TokenCost dense_of_same_total(const CostModel& model, int n_ctx);
/// Computes and reads as much per token as the MoE does, and holds no more than that.
TokenCost dense_of_same_active(const CostModel& model, int n_ctx, double experts = -1);

/// Operations of attention for one token that sees n_ctx positions, itself included, over all layers.
double attention_flops(const ModelSpec& spec, int n_ctx);

/// US dollars for a million tokens at a rented machine's hourly price and a measured speed; 0 where either is 0.
double usd_per_million(double usd_per_hour, double tokens_per_s);

}  // namespace gs
