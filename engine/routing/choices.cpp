#include "engine/routing/choices.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/routing/what_if.h"

namespace gs {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct ExpertSet {
    uint64_t bits[16] = {};   // 1,024

    explicit ExpertSet(std::span<const int32_t> ids) {
        for (const int32_t id : ids) bits[id / 64] |= uint64_t{1} << (id % 64);
    }
    bool has(int expert) const { return (bits[expert / 64] >> (expert % 64) & 1) != 0; }
};

/// An expert whose score decides: not masked, not outside the kept groups, not forced.
bool is_free(const LayerPolicy& policy, const RouteRow& row, int expert) {
    const auto e = static_cast<size_t>(expert);
    return row.selection[e] != kMinusInfinity && (policy.forced.empty() || policy.forced[e] == 0);
}

/// What an error of 1 in the logit of `expert` moves its selection score by.
float slope(const RouterSpec& spec, const RouteRow& row, int expert, float logit) {
    const float p = row.preference[static_cast<size_t>(expert)];
    if (spec.score == ScoreFn::kSqrtSoftplus) return p > 0 ? 1 / (2 * p * (1 + std::exp(-logit))) : 0;   // d sqrt(ln(1 + e^z)) / dz
    return p * (1 - p);
}

bool selects_by_logits(const RouterSpec& spec) {
    return spec.select_by_logits || spec.score == ScoreFn::kSoftmaxAfterTopK || spec.score == ScoreFn::kSparseMixer;
}

/// What decides between two experts: the logit, or with a bias the selection score; and how far an error of its logit moves it.
struct Known {
    float value = 0, error = 0;
};

Known known(const RouterSpec& spec, const LayerPolicy& policy, bool has_bias, std::span<const float> logits, const RouteRow& row, LogitError error, int expert) {
    const auto e = static_cast<size_t>(expert);
    const float z = policy.noise > 0 ? row.noisy_logits[e] : logits[e];   // noise is added to what the model computes
    const float off = error.rms > 0 ? error.rms : half_bf16_step(logits[e]);
    if (!has_bias) return {z, off};
    const float scaled = off / policy.temperature;
    if (selects_by_logits(spec)) return {row.selection[e], scaled};
    return {row.selection[e], scaled * slope(spec, row, expert, z / policy.temperature) * (1 + scaled)};   // the last factor bounds what the slope leaves out
}

/// Under an rms error the two at the border; under rounding, which has a limit, the ranges of all: whether some chosen one may fall below some rejected one.
bool may_turn(const RouterSpec& spec, const LayerPolicy& policy, bool has_bias, std::span<const float> logits, const RouteRow& row, LogitError error,
              const Choice& choice, const ExpertSet& chosen) {
    const auto known_of = [&](int expert) { return known(spec, policy, has_bias, logits, row, error, expert); };
    if (error.rms > 0) {
        const Known w = known_of(choice.worst_chosen), b = known_of(choice.best_rejected);
        return w.value - b.value <= std::hypot(w.error, b.error);
    }
    float low = std::numeric_limits<float>::infinity(), high = kMinusInfinity;
    for (int e = 0; e < spec.n_experts; ++e) {
        if (!is_free(policy, row, e)) continue;
        const Known k = known_of(e);
        if (chosen.has(e)) low = std::min(low, k.value - k.error);
        else high = std::max(high, k.value + k.error);
    }
    return low <= high;
}

}  // namespace

float half_bf16_step(float value) {
    if (value == 0 || !std::isfinite(value)) return 0;
    return std::ldexp(1.0f, std::ilogb(value) - 8);
}

void describe_choice(const RouterSpec& spec, const LayerPolicy& policy, bool has_bias, std::span<const float> logits, const RouteRow& row,
                     std::span<const uint16_t> used, LogitError error, Choice& out) {
    out.worst_chosen = out.best_rejected = -1;
    out.margin = 0;
    out.is_tie = out.is_fragile = false;
    out.dropped.clear();
    // Under expert choice tokens are chosen, not experts: a token's own border means nothing.
    if (policy.rule == GateRule::kExpertChoice) return;
    for (const int32_t id : row.ids)
        if (policy.capacity > 0 && std::find(used.begin(), used.end(), static_cast<uint16_t>(id)) == used.end()) out.dropped.push_back(id);
    const ExpertSet chosen(row.ids);
    const auto score = [&](int e) { return row.selection[static_cast<size_t>(e)]; };
    for (int e = 0; e < spec.n_experts; ++e) {
        if (!is_free(policy, row, e)) continue;
        if (chosen.has(e) && (out.worst_chosen < 0 || score(e) <= score(out.worst_chosen))) out.worst_chosen = e;
        if (!chosen.has(e) && (out.best_rejected < 0 || score(e) > score(out.best_rejected))) out.best_rejected = e;
    }
    if (out.worst_chosen < 0 || out.best_rejected < 0) {
        out.worst_chosen = out.best_rejected = -1;
        return;
    }
    out.margin = score(out.worst_chosen) - score(out.best_rejected);
    out.is_tie = out.margin == 0;
    const bool biased = (has_bias && !spec.select_by_logits) || !policy.bias.empty();
    out.is_fragile = out.is_tie || may_turn(spec, policy, biased, logits, row, error, out, chosen);
}

const Choice& ChoiceReader::read(const TraceSnapshot& trace, int moe_layer, int token, LogitError error) {
    const TraceInfo& info = trace.info();
    if (m_trace != trace.revision() >> 32) {
        m_trace = trace.revision() >> 32;
        m_policies.clear();
    }
    const size_t index = trace.token(token).policy;
    if (index >= m_policies.size()) m_policies.resize(index + 1);
    std::vector<LayerPolicy>& layers = m_policies[index];
    if (layers.empty())
        for (const int layer : info.moe_layers) layers.push_back(trace.policy(token).for_layer(layer, info.router.n_experts));
    const LayerPolicy& policy = layers[static_cast<size_t>(moe_layer)];
    what_if_route(trace, moe_layer, token, policy, m_row);
    describe_choice(info.router, policy, !info.selection_bias.empty(), trace.logits(moe_layer, token), m_row, trace.ids(moe_layer, token), error, m_choice);
    return m_choice;
}

void ChoiceCounts::add(const Choice& choice, size_t n_used) {
    ++decisions;
    with_border += choice.worst_chosen >= 0;
    ties += choice.is_tie;
    fragile += choice.is_fragile;
    wanted += n_used + choice.dropped.size();
    dropped += choice.dropped.size();
}

ChoiceCounts& ChoiceCounts::operator+=(const ChoiceCounts& more) {
    decisions += more.decisions;
    with_border += more.with_border;
    ties += more.ties;
    fragile += more.fragile;
    wanted += more.wanted;
    dropped += more.dropped;
    return *this;
}

ChoiceCounts count_choices(const TraceSnapshot& trace, int moe_layer, int first_token, int end_token, LogitError error) {
    GS_CHECK(first_token >= 0 && end_token <= trace.n_tokens(), "tokens of the run");
    ChoiceReader reader;
    ChoiceCounts counts;
    for (int t = first_token; t < end_token; ++t) counts.add(reader.read(trace, moe_layer, t, error), trace.ids(moe_layer, t).size());
    return counts;
}

ChoicesByPosition choices_by_position(const TraceSnapshot& trace, int n_bins, LogitError error) {
    GS_CHECK(n_bins > 0, "at least one part");
    ChoicesByPosition out;
    const int n_tokens = trace.n_tokens(), n = std::min(n_bins, n_tokens);
    for (int i = 0; i < n; ++i) {
        const auto edge = [&](int part) { return static_cast<int>(static_cast<int64_t>(n_tokens) * part / n); };
        ChoicesByPosition::Bin bin{edge(i), edge(i + 1), {}};
        for (int m = 0; m < trace.n_moe_layers(); ++m) bin.counts += count_choices(trace, m, bin.first_token, bin.end_token, error);
        out.bins.push_back(bin);
    }
    return out;
}

}  // namespace gs
