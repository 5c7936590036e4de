#include "engine/routing/what_if.h"

#include <algorithm>
#include <functional>
#include <system_error>
#include <thread>

#include "engine/core/check.h"
#include "engine/routing/batch_routing.h"
#include "engine/routing/trace_storage.h"

namespace gs {
namespace {

std::span<const float> bias_of(const TraceInfo& info, int moe_layer) {
    if (info.selection_bias.empty()) return {};
    return info.selection_bias[static_cast<size_t>(moe_layer)];
}

/// Calls work(part) for each part, side by side; at most as many as make sense for so many routes. Another thread for every kRoutesPerThread routes (about 1 ms
/// each with 16 experts; starting one takes some 30 µs), at most as many as there are processors.
void side_by_side(int64_t n_routes, int n_parts, const std::function<void(int first, int last)>& work) {
    constexpr int64_t kRoutesPerThread = 10000, kMostThreads = 8;
    const int64_t most = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, kMostThreads);
    const auto n_threads = static_cast<int>(std::clamp<int64_t>(n_routes / kRoutesPerThread, 1, most));
    const auto first_of = [&](int thread) { return n_parts * thread / n_threads; };
    std::vector<std::thread> helpers;
    for (int thread = 1; thread < n_threads; ++thread) {
        const auto run = [&work, first = first_of(thread), last = first_of(thread + 1)] { work(first, last); };
        try {
            helpers.emplace_back(run);
        } catch (const std::system_error&) {  // no more threads to be had
            run();
        }
    }
    work(0, first_of(1));
    for (std::thread& helper : helpers) helper.join();
}

/// One re-routing, cut into ranges of chunks that may be done side by side: a chunk is written by one thread only.
struct Job {
    const TraceSnapshot& trace;
    std::span<const LayerPolicy> policies;  ///< [M]
    TraceShared& target;
    std::vector<BatchRoutes> batches;       ///< [M], of the layers whose policy is by batch

    void run(int first_token, int last_token) const {
        RouteRow row;
        const int n_layers = trace.n_moe_layers();
        for (int token = first_token; token < last_token; ++token) {
            TokenRow& copy = target.chunk_of(token).tokens[static_cast<size_t>(token % TraceChunk::kRows)];
            copy = trace.token(token);
            copy.policy = 0;
            for (int m = 0; m < n_layers; ++m) {
                const auto layer = static_cast<size_t>(m), t = static_cast<size_t>(token);
                if (policies[layer].is_by_batch()) {
                    target.set_route(m, token, batches[layer].ids_of(t), batches[layer].weights_of(t));
                    continue;
                }
                what_if_route(trace, m, token, policies[layer], row);
                target.set_route(m, token, row.ids, row.weights);
            }
        }
    }

    void run_side_by_side() {
        const int n_tokens = trace.n_tokens(), n_layers = trace.n_moe_layers(), n_chunks = (n_tokens + TraceChunk::kRows - 1) / TraceChunk::kRows;
        const int64_t n_routes = int64_t{n_tokens} * n_layers;
        batches.resize(static_cast<size_t>(n_layers));
        if (std::any_of(policies.begin(), policies.end(), [](const LayerPolicy& p) { return p.is_by_batch(); }))
            side_by_side(n_routes, n_layers, [this](int first, int last) {
                for (int m = first; m < last; ++m)
                    if (policies[static_cast<size_t>(m)].is_by_batch()) batches[static_cast<size_t>(m)] = what_if_batch(trace, m, policies[static_cast<size_t>(m)]);
            });
        side_by_side(n_routes, n_chunks, [&](int first, int last) { run(std::min(n_tokens, first * TraceChunk::kRows), std::min(n_tokens, last * TraceChunk::kRows)); });
    }
};

}  // namespace

void what_if_route(const TraceSnapshot& trace, int moe_layer, int token, const LayerPolicy& layer_policy, RouteRow& row) {
    const TraceInfo& info = trace.info();
    route(info.router, layer_policy, trace.logits(moe_layer, token), bias_of(info, moe_layer), row, token);
}

BatchRoutes what_if_batch(const TraceSnapshot& trace, int moe_layer, const LayerPolicy& layer_policy) {
    const TraceInfo& info = trace.info();
    const int n_prompt = n_prompt_tokens(trace);
    const auto n_experts = static_cast<size_t>(trace.n_experts());
    BatchRouter router;
    BatchRoutes all, part;
    std::vector<float> logits;
    for (int first = 0; first < trace.n_tokens(); first += kExpertChoiceBlock) {
        const int last = std::min(first + kExpertChoiceBlock, trace.n_tokens());
        logits.clear();
        for (int t = first; t < last; ++t) {
            const auto row = trace.logits(moe_layer, t);
            logits.insert(logits.end(), row.begin(), row.end());
        }
        GS_CHECK(logits.size() == static_cast<size_t>(last - first) * n_experts, "one logit for each expert");
        router.route(info.router, layer_policy, logits, bias_of(info, moe_layer), {first, n_prompt}, part);
        for (size_t t = 0; t < part.ends.size(); ++t) all.append(part.ids_of(t), part.weights_of(t));
        all.nonfinite = all.nonfinite || part.nonfinite;
    }
    return all;
}

TraceSnapshot what_if_trace(const TraceSnapshot& trace, const Policy& policy) {
    if (!trace.m_shared) return {};
    if (!trace.has_logits()) return trace;
    const TraceShared& source = *trace.m_shared;
    TraceInfo info = source.info;
    info.provenance = Provenance::kWhatIf;
    auto target = std::make_shared<TraceShared>(std::move(info));
    target->policies.make(0) = policy;
    const int n_tokens = trace.n_tokens();
    for (int first = 0; first < n_tokens; first += TraceChunk::kRows) {
        TraceChunk& chunk = target->chunks.make(static_cast<size_t>(first / TraceChunk::kRows));
        chunk.slots.resize(TraceChunk::kRows * source.info.moe_layers.size());
        chunk.logits = source.chunk_of(first).logits;  // the rows read here are published and will not change
    }
    std::vector<LayerPolicy> policies;
    for (int layer : source.info.moe_layers) policies.push_back(policy.for_layer(layer, source.info.router.n_experts));
    Job{trace, policies, *target, {}}.run_side_by_side();
    target->n_published.store(n_tokens, std::memory_order_release);

    TraceSnapshot out;
    out.m_n_tokens = n_tokens;
    out.m_revision = target->revision(n_tokens);
    out.m_shared = std::move(target);
    return out;
}

}  // namespace gs
