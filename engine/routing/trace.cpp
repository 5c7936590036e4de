#include "engine/routing/trace.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <unordered_map>

#include "engine/core/check.h"
#include "engine/routing/trace_storage.h"

namespace gs {
namespace {

constexpr int kMaxTokens = 1 << 30;

std::atomic<uint64_t> next_serial{1};

}  // namespace

const char* name_of(Provenance p) {
    constexpr std::array names = {"computed", "what-if", "replayed"};
    return names[static_cast<size_t>(p)];
}
const char* name_of(Phase p) { return p == Phase::kPrefill ? "prefill" : "decode"; }

TraceShared::TraceShared(TraceInfo trace_info) : info(std::move(trace_info)), serial(next_serial.fetch_add(1, std::memory_order_relaxed)) {
    GS_CHECK(info.moe_layers.empty() || (info.router.n_experts >= 1 && info.router.n_experts <= 1024), "MoE layers need experts");
    GS_CHECK(info.selection_bias.empty() || info.selection_bias.size() == info.moe_layers.size(),
             "one selection bias a MoE layer, or none");
    if (info.lacks.logits) no_logits.assign(static_cast<size_t>(info.router.n_experts), std::numeric_limits<float>::quiet_NaN());
}

void TraceShared::set_route(int moe_layer, int token, std::span<const int32_t> ids, std::span<const float> weights) {
    TraceChunk& chunk = chunk_of(token);
    TraceChunk::Slot& slot = chunk.slots[row_of(moe_layer, token)];
    TraceChunk::Routes& routes = chunk.routes[static_cast<size_t>(token % TraceChunk::kRows)];
    if (routes.ids.empty()) {  // the other layers will likely use as many
        routes.ids.reserve(ids.size() * static_cast<size_t>(info.n_moe_layers()));
        routes.weights.reserve(ids.size() * static_cast<size_t>(info.n_moe_layers()));
    }
    slot.offset = static_cast<uint32_t>(routes.ids.size());
    slot.k = static_cast<uint16_t>(ids.size());
    for (int32_t id : ids) {
        GS_CHECK(id >= 0 && id < info.router.n_experts, "expert id out of range");
        routes.ids.push_back(static_cast<uint16_t>(id));
    }
    routes.weights.insert(routes.weights.end(), weights.begin(), weights.end());
}

const TraceInfo& TraceSnapshot::info() const {
    static const TraceInfo none;
    return m_shared ? m_shared->info : none;
}

const TokenRow& TraceSnapshot::token(int token) const {
    GS_CHECK(token >= 0 && token < m_n_tokens, "token outside the snapshot");
    return m_shared->chunk_of(token).tokens[static_cast<size_t>(token % TraceChunk::kRows)];
}

const Policy& TraceSnapshot::policy(int token_index) const { return m_shared->policies[token(token_index).policy]; }

std::span<const float> TraceSnapshot::logits(int moe_layer, int token) const {
    GS_CHECK(token >= 0 && token < m_n_tokens && moe_layer >= 0 && moe_layer < n_moe_layers(), "token or layer outside the snapshot");
    if (m_shared->info.lacks.logits) return m_shared->no_logits;
    const auto n_experts = static_cast<size_t>(m_shared->info.router.n_experts);
    return {m_shared->chunk_of(token).logits.get() + m_shared->row_of(moe_layer, token) * n_experts, n_experts};
}

std::span<const uint16_t> TraceSnapshot::ids(int moe_layer, int token) const {
    GS_CHECK(token >= 0 && token < m_n_tokens && moe_layer >= 0 && moe_layer < n_moe_layers(), "token or layer outside the snapshot");
    const TraceChunk& chunk = m_shared->chunk_of(token);
    const TraceChunk::Slot& slot = chunk.slots[m_shared->row_of(moe_layer, token)];
    return {chunk.routes[static_cast<size_t>(token % TraceChunk::kRows)].ids.data() + slot.offset, slot.k};
}

std::span<const float> TraceSnapshot::weights(int moe_layer, int token) const {
    GS_CHECK(token >= 0 && token < m_n_tokens && moe_layer >= 0 && moe_layer < n_moe_layers(), "token or layer outside the snapshot");
    const TraceChunk& chunk = m_shared->chunk_of(token);
    const TraceChunk::Slot& slot = chunk.slots[m_shared->row_of(moe_layer, token)];
    return {chunk.routes[static_cast<size_t>(token % TraceChunk::kRows)].weights.data() + slot.offset, slot.k};
}

int n_prompt_tokens(const TraceSnapshot& trace) {
    int n = 0;
    while (n < trace.n_tokens() && trace.token(n).phase == Phase::kPrefill) ++n;
    return n;
}

struct TraceWriter::Impl {
    std::shared_ptr<TraceShared> shared;
    int n_open = 0;       ///< rows begun but not published
    int n_policies = 0;
    std::unordered_multimap<std::string, uint32_t> by_text;   ///< of the policies; those that differ can read the same

    explicit Impl(TraceInfo info) : shared(std::make_shared<TraceShared>(std::move(info))) {}
    int n_published() const { return shared->n_published.load(std::memory_order_relaxed); }

    uint32_t index_of(const Policy& policy) {
        const auto newest = static_cast<size_t>(n_policies) - 1;
        if (n_policies > 0 && shared->policies[newest] == policy) return static_cast<uint32_t>(newest);
        // Not one by one: a file may have another policy for each of its millions of tokens.
        const std::string text = policy.to_text();
        const auto [begin, end] = by_text.equal_range(text);
        for (auto it = begin; it != end; ++it) {
            if (shared->policies[it->second] == policy) return it->second;
        }
        by_text.emplace(text, static_cast<uint32_t>(n_policies));
        shared->policies.make(static_cast<size_t>(n_policies)) = policy;
        return static_cast<uint32_t>(n_policies++);
    }

    /// Empties one row, making its chunk if it is the first of it.
    void open_row(int token, const TokenRow& row, uint32_t policy) {
        const auto index = static_cast<size_t>(token) / TraceChunk::kRows;
        const auto in_chunk = static_cast<size_t>(token % TraceChunk::kRows);
        TraceChunk& chunk = in_chunk == 0 ? shared->chunks.make(index) : shared->chunks[index];
        const auto n_layers = static_cast<size_t>(shared->info.n_moe_layers());
        const size_t rows = TraceChunk::kRows * n_layers;
        if (chunk.slots.empty()) chunk.slots.resize(rows);
        if (!chunk.logits && !shared->info.lacks.logits) {
            // Not cleared: a page becomes resident when its row is written.
            chunk.logits = std::shared_ptr<float[]>(new float[rows * static_cast<size_t>(shared->info.router.n_experts)]);
        }
        chunk.tokens[in_chunk] = row;
        chunk.tokens[in_chunk].policy = policy;
        chunk.routes[in_chunk].ids.clear();
        chunk.routes[in_chunk].weights.clear();
        std::fill_n(chunk.slots.begin() + static_cast<std::ptrdiff_t>(in_chunk * n_layers), n_layers, TraceChunk::Slot{});
    }

    bool all_routed() const {
        for (int token = n_published(); token < n_published() + n_open; ++token) {
            const TraceChunk& chunk = shared->chunk_of(token);
            for (int m = 0; m < shared->info.n_moe_layers(); ++m) {
                if (chunk.slots[shared->row_of(m, token)].k == TraceChunk::Slot::kNotSet) return false;
            }
        }
        return true;
    }
};

TraceWriter::TraceWriter(TraceInfo info) : m_impl(std::make_unique<Impl>(std::move(info))) {}
TraceWriter::~TraceWriter() = default;
TraceWriter::TraceWriter(TraceWriter&&) noexcept = default;
TraceWriter& TraceWriter::operator=(TraceWriter&&) noexcept = default;

void TraceWriter::begin_tokens(std::span<const TokenRow> tokens, const Policy& policy) {
    const int first = m_impl->n_published() + m_impl->n_open;
    GS_CHECK(tokens.size() <= static_cast<size_t>(kMaxTokens - first), "more tokens than a trace can hold");
    const uint32_t index = m_impl->index_of(policy);
    for (size_t i = 0; i < tokens.size(); ++i) m_impl->open_row(first + static_cast<int>(i), tokens[i], index);
    m_impl->n_open += static_cast<int>(tokens.size());
}

void TraceWriter::set_route(int moe_layer, int row, std::span<const float> logits, std::span<const int32_t> ids,
                            std::span<const float> weights) {
    TraceShared& shared = *m_impl->shared;
    GS_CHECK(row >= 0 && row < m_impl->n_open, "row was not begun");
    GS_CHECK(moe_layer >= 0 && moe_layer < shared.info.n_moe_layers(), "no such MoE layer");
    const auto n_experts = static_cast<size_t>(shared.info.router.n_experts);
    GS_CHECK(shared.info.lacks.logits ? logits.empty() : logits.size() == n_experts, "one logit for each expert");
    GS_CHECK(ids.size() <= n_experts && ids.size() == weights.size(), "one weight for each id, at most E of them");
    const int token = m_impl->n_published() + row;
    if (!logits.empty()) std::copy(logits.begin(), logits.end(), shared.chunk_of(token).logits.get() + shared.row_of(moe_layer, token) * logits.size());
    shared.set_route(moe_layer, token, ids, weights);
}

void TraceWriter::set_scores(int row, float logprob, float entropy) {
    GS_CHECK(row >= 0 && row < m_impl->n_open, "row was not begun");
    const int token = m_impl->n_published() + row;
    TokenRow& target = m_impl->shared->chunk_of(token).tokens[static_cast<size_t>(token % TraceChunk::kRows)];
    target.logprob = logprob;
    target.entropy = entropy;
}

void TraceWriter::publish() {
    GS_CHECK(m_impl->all_routed(), "every MoE layer of every token must be routed before it is published");
    m_impl->shared->n_published.store(m_impl->n_published() + m_impl->n_open, std::memory_order_release);
    m_impl->n_open = 0;
}

void TraceWriter::abandon() { m_impl->n_open = 0; }

TraceSnapshot TraceWriter::snapshot() const {
    TraceSnapshot out;
    out.m_shared = m_impl->shared;
    out.m_n_tokens = m_impl->shared->n_published.load(std::memory_order_acquire);
    out.m_revision = m_impl->shared->revision(out.m_n_tokens);
    return out;
}

int TraceWriter::n_tokens() const { return m_impl->shared->n_published.load(std::memory_order_acquire); }

}  // namespace gs
