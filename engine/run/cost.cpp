#include "engine/run/cost.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/model/model_sizes.h"
#include "engine/run/k_grid.h"

namespace gs {
namespace {

double n_expert_slots(const CostModel& model, double experts) {
    if (!model.spec.is_moe()) return 0;
    return (experts < 0 ? model.spec.router.n_used : experts) * static_cast<double>(model.spec.moe_layers.size());
}

}  // namespace

double mean_experts(const ModelSpec& spec, const Policy& policy) {
    if (!spec.is_moe() || !policy.check(spec.router, spec.n_layers)) return -1;
    double sum = 0;
    for (const int layer : spec.moe_layers) sum += k_of(policy, spec.router, layer);
    return sum / static_cast<double>(spec.moe_layers.size());
}

CostModel cost_model(const ModelCard& card) {
    CostModel m{.spec = card.spec, .total_params = card.total_params, .active_params = card.active_params, .lookup_params = card.lookup_params,
                .weight_bytes = card.weight_bytes, .dense_bytes_per_token = card.dense_bytes_per_token, .expert_bytes = card.expert_bytes};
    m.kv_bytes_per_position = card.n_ctx > 0 ? card.kv_bytes / static_cast<uint64_t>(card.n_ctx) : 0;
    return m;
}

CostModel cost_model(const ModelEstimate& e, KvType kv_type) {
    return {.spec = e.spec, .total_params = e.total_params, .active_params = e.active_params, .lookup_params = e.lookup_params, .weight_bytes = e.weight_bytes,
            .dense_bytes_per_token = e.dense_bytes_per_token, .expert_bytes = e.expert_bytes, .kv_bytes_per_position = kv_bytes(e.spec, 1, kv_type)};
}

double attention_flops(const ModelSpec& spec, int n_ctx) {
    double sum = 0;
    for (int l = 0; l < spec.n_layers; ++l) {
        int seen = n_ctx;
        if (static_cast<size_t>(l) < spec.attention.size()) {
            const LayerAttention& a = spec.attention[static_cast<size_t>(l)];
            if (a.window > 0) seen = std::min(seen, a.window);
            if (a.chunk > 0) seen = (n_ctx - 1) % a.chunk + 1;
        }
        sum += 2.0 * spec.n_heads * (spec.head_dim_k + spec.head_dim_v) * seen;
    }
    return sum;
}

TokenCost token_cost(const CostModel& model, int n_ctx, double experts) {
    GS_CHECK(n_ctx >= 1, "a token sees itself");
    const double slots = n_expert_slots(model, experts), more = slots - n_expert_slots(model, -1);
    TokenCost c;
    c.total_params = static_cast<double>(model.total_params);
    c.active_params = static_cast<double>(model.active_params) + more * static_cast<double>(model.expert_params());
    c.flops_weights = 2 * (c.active_params - static_cast<double>(model.lookup_params));
    c.flops_attention = attention_flops(model.spec, n_ctx);
    c.bytes_weights = static_cast<double>(model.dense_bytes_per_token) + slots * static_cast<double>(model.expert_bytes);
    c.bytes_cache = c.memory_cache = static_cast<double>(model.kv_bytes_per_position) * n_ctx;
    c.memory_weights = static_cast<double>(model.weight_bytes);
    return c;
}

TokenCost dense_of_same_total(const CostModel& model, int n_ctx) {
    TokenCost c = token_cost(model, n_ctx, model.spec.router.n_experts);
    c.active_params = c.total_params;
    c.flops_weights = 2 * (c.active_params - static_cast<double>(model.lookup_params));
    return c;
}

TokenCost dense_of_same_active(const CostModel& model, int n_ctx, double experts) {
    TokenCost c = token_cost(model, n_ctx, experts);
    const double idle = static_cast<double>(model.spec.router.n_experts) * static_cast<double>(model.spec.moe_layers.size()) - n_expert_slots(model, experts);
    c.total_params = c.active_params;
    c.memory_weights -= std::max(idle, 0.0) * static_cast<double>(model.expert_bytes);
    return c;
}

double usd_per_million(double usd_per_hour, double tokens_per_s) {
    return usd_per_hour > 0 && tokens_per_s > 0 ? usd_per_hour / (tokens_per_s * 3600) * 1e6 : 0;
}

}  // namespace gs
