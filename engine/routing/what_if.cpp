#include "engine/routing/what_if.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "engine/routing/trace_storage.h"

namespace gs {
namespace {

std::span<const float> bias_of(const TraceInfo& info, int moe_layer) {
    if (info.selection_bias.empty()) return {};
    return info.selection_bias[static_cast<size_t>(moe_layer)];
}

/// One re-routing, cut into ranges of chunks that may be done side by side: a chunk is written by one thread only.
struct Job {
    const TraceSnapshot& trace;
    std::span<const LayerPolicy> policies;  ///< [M]
    TraceShared& target;

    void run(int first_token, int last_token) const {
        RouteRow row;
        const int n_layers = trace.n_moe_layers();
        for (int token = first_token; token < last_token; ++token) {
            TokenRow& copy = target.chunk_of(token).tokens[static_cast<size_t>(token % TraceChunk::kRows)];
            copy = trace.token(token);
            copy.policy = 0;
            for (int m = 0; m < n_layers; ++m) {
                what_if_route(trace, m, token, policies[static_cast<size_t>(m)], row);
                target.set_route(m, token, row.ids, row.weights);
            }
        }
    }

    /// Another thread for every kRoutesPerThread routes (about 1 ms each with 16 experts; starting one takes some 30 µs), at most as many
    /// as there are processors.
    void run_side_by_side() const {
        constexpr int64_t kRoutesPerThread = 10000, kMostThreads = 8;
        const int n_tokens = trace.n_tokens();
        const int64_t useful = int64_t{n_tokens} * trace.n_moe_layers() / kRoutesPerThread;
        const int64_t most = std::clamp<int64_t>(std::thread::hardware_concurrency(), 1, kMostThreads);
        const auto n_threads = static_cast<int>(std::clamp<int64_t>(useful, 1, most));
        const int n_chunks = (n_tokens + TraceChunk::kRows - 1) / TraceChunk::kRows;
        const auto first_of = [&](int part) { return std::min(n_tokens, n_chunks * part / n_threads * TraceChunk::kRows); };
        std::vector<std::thread> helpers;
        for (int part = 1; part < n_threads; ++part) {
            const auto run_part = [this, &first_of, part] { run(first_of(part), first_of(part + 1)); };
            try {
                helpers.emplace_back(run_part);
            } catch (const std::system_error&) {  // no more threads to be had
                run_part();
            }
        }
        run(0, first_of(1));
        for (std::thread& helper : helpers) helper.join();
    }
};

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
    const int n_tokens = trace.n_tokens();
    for (int first = 0; first < n_tokens; first += TraceChunk::kRows) {
        TraceChunk& chunk = target->chunks.make(static_cast<size_t>(first / TraceChunk::kRows));
        chunk.slots.resize(TraceChunk::kRows * source.info.moe_layers.size());
        chunk.logits = source.chunk_of(first).logits;  // the rows read here are published and will not change
    }
    std::vector<LayerPolicy> policies;
    for (int layer : source.info.moe_layers) policies.push_back(policy.for_layer(layer, source.info.router.n_experts));
    Job{trace, policies, *target}.run_side_by_side();
    target->n_published.store(n_tokens, std::memory_order_release);

    TraceSnapshot out;
    out.m_n_tokens = n_tokens;
    out.m_revision = target->revision(n_tokens);
    out.m_shared = std::move(target);
    return out;
}

}  // namespace gs
