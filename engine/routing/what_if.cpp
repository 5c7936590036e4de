#include "engine/routing/what_if.h"

#include "engine/core/check.h"
#include "engine/routing/trace_storage.h"

namespace gs {
namespace {

std::span<const float> bias_of(const TraceInfo& info, int moe_layer) {
    if (info.selection_bias.empty()) return {};
    return info.selection_bias[static_cast<size_t>(moe_layer)];
}

}  // namespace

void what_if_route(const TraceSnapshot& trace, int moe_layer, int token, const LayerPolicy& layer_policy, RouteRow& row) {
    const TraceInfo& info = trace.info();
    route(info.router, layer_policy, trace.logits(moe_layer, token), bias_of(info, moe_layer), row);
}

TraceSnapshot what_if_trace(const TraceSnapshot& trace, const Policy& policy) {
    if (!trace.m_shared) return {};
    const TraceShared& source = *trace.m_shared;
    TraceInfo info = source.info;
    info.provenance = Provenance::kWhatIf;
    auto target = std::make_shared<TraceShared>(std::move(info));
    target->policies.make(0) = policy;

    const int n_layers = source.info.n_moe_layers(), n_tokens = trace.n_tokens();
    std::vector<LayerPolicy> policies;
    for (int layer : source.info.moe_layers) policies.push_back(policy.for_layer(layer, source.info.router.n_experts));
    RouteRow row;
    for (int token = 0; token < n_tokens; ++token) {
        const auto in_chunk = static_cast<size_t>(token % TraceChunk::kRows);
        const TraceChunk& from = source.chunk_of(token);
        if (in_chunk == 0) {
            TraceChunk& fresh = target->chunks.make(static_cast<size_t>(token) / TraceChunk::kRows);
            fresh.slots.resize(TraceChunk::kRows * static_cast<size_t>(n_layers));
            fresh.logits = from.logits;  // the rows read here are published and will not change
        }
        TokenRow& copy = target->chunk_of(token).tokens[in_chunk];
        copy = from.tokens[in_chunk];
        copy.policy = 0;
        for (int m = 0; m < n_layers; ++m) {
            what_if_route(trace, m, token, policies[static_cast<size_t>(m)], row);
            target->set_route(m, token, row.ids, row.weights);
        }
    }
    target->n_published.store(n_tokens, std::memory_order_release);

    TraceSnapshot out;
    out.m_n_tokens = n_tokens;
    out.m_revision = target->revision(n_tokens);
    out.m_shared = std::move(target);
    return out;
}

}  // namespace gs
