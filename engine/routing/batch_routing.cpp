#include "engine/routing/batch_routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"

namespace gs {

int expert_capacity(int n_tokens, int k, int n_experts, float factor) {
    const double share = static_cast<double>(n_tokens) * k / n_experts * static_cast<double>(factor);
    constexpr double kRounding = 1e-6;   // a factor such as 1.1 is not what it says in f32: 100 tokens must not have room for one more
    return static_cast<int>(std::clamp(std::ceil(share * (1 - kRounding)), 1.0, static_cast<double>(std::max(n_tokens, 1))));
}

int capacity_k(const RouterSpec& spec, const LayerPolicy& policy) {
    if (policy.rule == GateRule::kSoft) return spec.n_experts;
    return policy.rule == GateRule::kHard ? 1 : policy.rule == GateRule::kNative ? spec.n_used : policy.chosen_k(spec);
}

void BatchRoutes::clear() {
    ids.clear();
    weights.clear();
    ends.clear();
    nonfinite = false;
}

void BatchRoutes::append(std::span<const int32_t> row_ids, std::span<const float> row_weights) {
    ids.insert(ids.end(), row_ids.begin(), row_ids.end());
    weights.insert(weights.end(), row_weights.begin(), row_weights.end());
    ends.push_back(ids.size());
}

void BatchRouter::forget_from(int position, int n_experts) {
    m_taken.resize(static_cast<size_t>(n_experts), 0);
    while (m_ends.size() > static_cast<size_t>(position)) {
        m_ends.pop_back();
        const size_t end = m_ends.empty() ? 0 : m_ends.back();
        for (; m_ids.size() > end; m_ids.pop_back()) --m_taken[m_ids.back()];
    }
    m_ends.resize(static_cast<size_t>(position), m_ids.size());
}

void BatchRouter::remember(std::span<const int32_t> ids) {
    for (const int32_t id : ids) {
        ++m_taken[static_cast<size_t>(id)];
        m_ids.push_back(static_cast<uint16_t>(id));
    }
    m_ends.push_back(m_ids.size());
}

void BatchRouter::choose_by_token(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias,
                                  int position, int n_prompt, BatchRoutes& out) {
    gs::route(spec, policy, logits, bias, m_row, position);
    out.nonfinite = out.nonfinite || m_row.nonfinite;
    if (policy.capacity > 0) {
        const int most = expert_capacity(std::max(n_prompt, position + 1), capacity_k(spec, policy), spec.n_experts, policy.capacity);
        size_t n_kept = 0;
        for (size_t j = 0; j < m_row.ids.size(); ++j) {
            if (m_taken[static_cast<size_t>(m_row.ids[j])] >= most) continue;
            m_row.ids[n_kept] = m_row.ids[j];
            m_row.weights[n_kept++] = m_row.weights[j];
        }
        m_row.ids.resize(n_kept);
        m_row.weights.resize(n_kept);
    }
    remember(m_row.ids);
    out.append(m_row.ids, m_row.weights);
}

/// Groups are about how a token spreads over experts and do not count here.
void BatchRouter::choose_by_expert(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias,
                                   int first_position, int capacity, BatchRoutes& out) {
    RouterSpec free_spec = spec;
    free_spec.n_groups = free_spec.n_groups_used = 1;
    const auto n_experts = static_cast<size_t>(spec.n_experts), n_tokens = logits.size() / n_experts;
    std::vector<float> scores(logits.size());   // [T, E]
    for (size_t t = 0; t < n_tokens; ++t) {
        gs::route(free_spec, policy, logits.subspan(t * n_experts, n_experts), bias, m_row, first_position + static_cast<int>(t));
        out.nonfinite = out.nonfinite || m_row.nonfinite;
        std::copy(m_row.selection.begin(), m_row.selection.end(), scores.begin() + static_cast<std::ptrdiff_t>(t * n_experts));
    }
    std::vector<std::vector<int32_t>> chosen(n_tokens);
    std::vector<size_t> order(n_tokens);
    for (size_t e = 0; e < n_experts; ++e) {
        if (!policy.masked.empty() && policy.masked[e] != 0) continue;
        for (size_t t = 0; t < n_tokens; ++t) order[t] = t;
        const size_t n_taken = std::min(static_cast<size_t>(capacity), n_tokens);
        const auto score = [&](size_t t) { return scores[t * n_experts + e]; };
        std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n_taken), order.end(),
                          [&](size_t a, size_t b) { return score(a) > score(b) || (score(a) == score(b) && a < b); });
        for (size_t i = 0; i < n_taken; ++i) chosen[order[i]].push_back(static_cast<int32_t>(e));
    }
    for (size_t t = 0; t < n_tokens; ++t) {
        const float* row = scores.data() + t * n_experts;
        std::stable_sort(chosen[t].begin(), chosen[t].end(), [row](int32_t a, int32_t b) { return row[a] > row[b]; });
        weigh(free_spec, policy, logits.subspan(t * n_experts, n_experts), bias, chosen[t], m_row, first_position + static_cast<int>(t));
        remember(m_row.ids);
        out.append(m_row.ids, m_row.weights);
    }
}

void BatchRouter::route(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
                        BatchPlace place, BatchRoutes& out) {
    const auto n_experts = static_cast<size_t>(spec.n_experts);
    GS_CHECK(n_experts > 0 && logits.size() % n_experts == 0 && place.first_position >= 0, "rows of one logit for each expert");
    out.clear();
    forget_from(place.first_position, spec.n_experts);
    const int end = place.first_position + static_cast<int>(logits.size() / n_experts);
    const auto rows = [&](int first, int last) {
        return logits.subspan(static_cast<size_t>(first - place.first_position) * n_experts, static_cast<size_t>(last - first) * n_experts);
    };
    for (int position = place.first_position; position < end;) {
        const int block_end = std::min({(position / kExpertChoiceBlock + 1) * kExpertChoiceBlock, end, std::max(place.n_prompt, position + 1)});
        const int n = block_end - position, k = policy.chosen_k(spec);
        const float factor = policy.capacity > 0 ? policy.capacity : 1.0f;
        const bool enough = static_cast<double>(n) * k * static_cast<double>(factor) >= spec.n_experts;
        if (policy.rule == GateRule::kExpertChoice && position < place.n_prompt && enough) {
            choose_by_expert(spec, policy, rows(position, block_end), selection_bias, position, expert_capacity(n, k, spec.n_experts, factor), out);
        } else {
            for (int p = position; p < block_end; ++p) choose_by_token(spec, policy, rows(p, p + 1), selection_bias, p, place.n_prompt, out);
        }
        position = block_end;
    }
}

}  // namespace gs
