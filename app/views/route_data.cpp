#include "app/views/route_data.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "app/widgets/token_text.h"

#include "engine/routing/metrics.h"

namespace app {
namespace {

/// Same rows in memory: one run, at two lengths.
bool same_rows(const gs::TraceSnapshot& before, const gs::TraceSnapshot& now) {
    if (before.empty() || now.n_tokens() < before.n_tokens()) return false;
    const int last = before.n_tokens() - 1;
    return &before.token(0) == &now.token(0) && &before.token(last) == &now.token(last);
}

}  // namespace

int TraceFollower::update(const gs::TraceSnapshot& trace) {
    const bool unchanged = trace.revision() == m_trace.revision() && trace.n_tokens() == m_trace.n_tokens();
    if (unchanged && (trace.empty() || same_rows(m_trace, trace))) return trace.n_tokens();
    const int first_new = same_rows(m_trace, trace) ? m_trace.n_tokens() : 0;
    if (first_new == 0) ++m_generation;
    m_trace = trace;
    return first_new;
}

void RouteReader::set_trace(const gs::TraceSnapshot& trace) {
    const uint64_t before = m_follower.generation();
    m_follower.update(trace);
    if (m_follower.generation() != before) m_policies.clear();
}

const gs::LayerPolicy& RouteReader::policy(int moe_layer, int token) {
    const size_t index = trace().token(token).policy;
    if (index >= m_policies.size()) m_policies.resize(index + 1);
    std::vector<gs::LayerPolicy>& layers = m_policies[index];
    if (layers.empty()) {
        const gs::TraceInfo& info = trace().info();
        for (int layer : info.moe_layers) layers.push_back(trace().policy(token).for_layer(layer, info.router.n_experts));
    }
    return layers[static_cast<size_t>(moe_layer)];
}

void RouteReader::column(Quantity quantity, int moe_layer, int token, std::span<float> out) {
    const gs::RouterSpec& spec = trace().info().router;
    if (quantity == Quantity::kAppliedWeight) {
        std::fill(out.begin(), out.end(), kNoValue);
        const auto ids = trace().ids(moe_layer, token);
        const auto weights = trace().weights(moe_layer, token);
        for (size_t slot = 0; slot < ids.size(); ++slot) out[ids[slot]] = trace().has_weights() ? weights[slot] : 1.0f;
        return;
    }
    if (!trace().has_logits()) return std::fill(out.begin(), out.end(), kNoValue);
    const gs::LayerPolicy& in_force = policy(moe_layer, token);
    if (quantity == Quantity::kPreference && in_force.temperature == 1.0f) {
        gs::preference(spec, trace().logits(moe_layer, token), out);
        return;
    }
    gs::what_if_route(trace(), moe_layer, token, in_force, m_row);
    const std::vector<float>& from = quantity == Quantity::kPreference ? m_row.preference : m_row.selection;
    std::transform(from.begin(), from.end(), out.begin(), [](float v) { return std::isfinite(v) ? v : kNoValue; });
}

float RouteReader::scalar(RouteScalar what, int moe_layer, int token) {
    if (what == RouteScalar::kTopWeight) {
        const auto weights = trace().weights(moe_layer, token);
        return weights.empty() || !trace().has_weights() ? kNoValue : *std::max_element(weights.begin(), weights.end());
    }
    if (!trace().has_logits()) return kNoValue;
    if (what == RouteScalar::kMargin) {
        const double margin = gs::selection_margin(trace().logits(moe_layer, token), trace().ids(moe_layer, token));
        return std::isfinite(margin) ? static_cast<float>(margin) : kNoValue;
    }
    m_scratch.resize(static_cast<size_t>(trace().n_experts()));
    column(Quantity::kPreference, moe_layer, token, m_scratch);
    return static_cast<float>(gs::router_entropy(m_scratch));
}

ExpertFacts RouteReader::facts(int moe_layer, int token, int expert) {
    ExpertFacts facts;
    const auto e = static_cast<size_t>(expert);
    if (trace().has_logits()) {
        gs::what_if_route(trace(), moe_layer, token, policy(moe_layer, token), m_row);
        facts.logit = trace().logits(moe_layer, token)[e];
        facts.preference = m_row.preference[e];
        facts.selection = m_row.selection[e];
        facts.preference_rank = 1;
        for (size_t i = 0; i < m_row.preference.size(); ++i) {
            const float other = m_row.preference[i];
            facts.preference_rank += other > facts.preference || (other == facts.preference && i < e);
        }
    }
    // Chosen or not is what was recorded, not what the rule would give again.
    const auto ids = trace().ids(moe_layer, token);
    const auto weights = trace().weights(moe_layer, token);
    facts.k = static_cast<int>(ids.size());
    facts.weight_sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (size_t slot = 0; slot < ids.size(); ++slot) {
        if (ids[slot] != expert) continue;
        facts.slot = static_cast<int>(slot);
        facts.weight = weights[slot];
    }
    return facts;
}

const char* name_of(Quantity quantity) {
    constexpr std::array names = {"preference", "selection score", "applied weight"};
    return names[static_cast<size_t>(quantity)];
}
const char* name_of(RouteScalar scalar) {
    constexpr std::array names = {"top-1 weight", "router entropy", "selection margin"};
    return names[static_cast<size_t>(scalar)];
}
const char* title_of(Quantity quantity) { return name_of(quantity); }
const char* title_of(RouteScalar scalar) {
    constexpr std::array titles = {"top-1 weight", "entropy, nats", "margin, logits"};
    return titles[static_cast<size_t>(scalar)];
}

std::string token_label(const gs::TraceSnapshot& trace, int token, int max_chars) {
    if (!trace.info().lacks.text) return short_token(trace.token(token).text, max_chars);
    return trace.info().lacks.token_ids ? fmt::format("#{}", token + 1) : fmt::format("id {}", trace.token(token).id);
}

const char* what_is_lacking(const gs::TraceSnapshot& trace, Quantity quantity) {
    if (quantity == Quantity::kAppliedWeight) return trace.has_weights() ? nullptr : "this recorded run holds no weights: 1 for every chosen expert";
    return trace.has_logits() ? nullptr : "this recorded run holds no router logits: nothing to show";
}

int moe_row_of(const gs::TraceInfo& info, int layer) {
    const auto found = std::find(info.moe_layers.begin(), info.moe_layers.end(), layer);
    return found == info.moe_layers.end() ? -1 : static_cast<int>(found - info.moe_layers.begin());
}
int model_layer(const gs::TraceInfo& info, int moe_layer) {
    return moe_layer >= 0 && moe_layer < info.n_moe_layers() ? info.moe_layers[static_cast<size_t>(moe_layer)] : -1;
}
int n_model_layers(const gs::TraceInfo& info) { return std::max(info.n_layers, info.moe_layers.empty() ? 0 : info.moe_layers.back() + 1); }

Pick effective_pick(const gs::TraceSnapshot& trace, const Pick& selected) {
    Pick pick = selected;
    if (pick.token < 0 || pick.token >= trace.n_tokens()) pick.token = trace.n_tokens() - 1;
    if (pick.moe_layer < 0 || pick.moe_layer >= trace.n_moe_layers()) pick.moe_layer = trace.n_moe_layers() == 0 ? -1 : trace.n_moe_layers() / 2;
    if (pick.expert >= trace.n_experts()) pick.expert = -1;
    return pick;
}

}  // namespace app
