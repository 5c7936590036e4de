#include "engine/routing/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/routing/router_math.h"
#include "engine/routing/router_select.h"

namespace gs {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

bool is_set(const std::vector<uint8_t>& flags, int expert) { return !flags.empty() && flags[expert] != 0; }
bool any(const std::vector<uint8_t>& flags) {
    return std::any_of(flags.begin(), flags.end(), [](uint8_t f) { return f != 0; });
}

/// Selection scores before groups and masks (moe-families.md section 2, step 3). NaN logits become the lowest finite score, so that they
/// come last but can still be taken when nothing else is left.
void selection_scores(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias,
                      RouteRow& row) {
    const size_t n = logits.size();
    const bool by_logits = spec.select_by_logits || spec.score == ScoreFn::kSoftmaxAfterTopK || spec.score == ScoreFn::kSparseMixer;
    if (by_logits) {
        for (size_t e = 0; e < n; ++e) row.selection[e] = scaled_logit(logits[e], policy.temperature);
    } else {
        std::copy(row.preference.begin(), row.preference.end(), row.selection.begin());
    }
    if (!bias.empty() && !spec.select_by_logits) {
        for (size_t e = 0; e < n; ++e) {
            const float biased = row.selection[e] + bias[e];
            row.selection[e] = biased >= kLowest ? biased : kLowest;  // a NaN or -inf in the model's bias: last, but not masked
        }
    }
    if (row.nonfinite) {
        for (size_t e = 0; e < n; ++e) {
            if (std::isnan(logits[e])) row.selection[e] = kLowest;
        }
    }
    for (size_t e = 0; e < n && !policy.masked.empty(); ++e) {
        if (policy.masked[e]) row.selection[e] = kMinusInfinity;
    }
}

/// Score of one group of experts: the largest, or the sum of the two largest that are not masked; -inf when all are, and only then: two NaN logits
/// are the lowest finite score each, and a group of them must still come before one without an expert to choose.
float group_score(GroupScore kind, std::span<const float> scores) {
    float best = kMinusInfinity, second = kMinusInfinity;
    for (float s : scores) {
        if (s > best) {
            second = best;
            best = s;
        } else if (s > second) {
            second = s;
        }
    }
    return kind == GroupScore::kTop2Sum && second > kMinusInfinity ? std::max(best + second, kLowest) : best;
}

/// Group-limited routing (step 4): -inf outside the best groups. Equal groups: lower index first. A forced expert is kept anyway.
void limit_groups(const RouterSpec& spec, const LayerPolicy& policy, std::span<float> selection) {
    float scores[kMaxRouterExperts];
    const int size = spec.n_experts / spec.n_groups;
    for (int g = 0; g < spec.n_groups; ++g)
        scores[g] = group_score(spec.group_score, selection.subspan(static_cast<size_t>(g) * size, size));
    for (int g = 0; g < spec.n_groups; ++g) {
        int better = 0;
        for (int o = 0; o < spec.n_groups; ++o) better += scores[o] > scores[g] || (scores[o] == scores[g] && o < g);
        if (better < spec.n_groups_used) continue;
        for (int e = g * size; e < (g + 1) * size; ++e) {
            if (!is_set(policy.forced, e)) selection[e] = kMinusInfinity;
        }
    }
}

/// Best first by selection score; forced experts enter before all others.
void select(const LayerPolicy& policy, int k, RouteRow& row) {
    row.ids.clear();
    if (!any(policy.forced)) {
        append_best(row.selection, k, row.ids);
        return;
    }
    float part[kMaxRouterExperts];
    const size_t n = row.selection.size();
    for (uint8_t forced : {1, 0}) {
        for (size_t e = 0; e < n; ++e) part[e] = (policy.forced[e] != 0) == (forced != 0) ? row.selection[e] : kMinusInfinity;
        append_best(std::span(part, n), k - row.k(), row.ids);
    }
    std::sort(row.ids.begin(), row.ids.end(), [&](int32_t a, int32_t b) {
        return row.selection[a] > row.selection[b] || (row.selection[a] == row.selection[b] && a < b);
    });
}

float sum_of(std::span<const float> values) {
    float sum = 0;
    for (float v : values) sum += v;
    return sum;
}

/// Divides by the denominator; all-zero weights (every score underflowed) stay zero instead of becoming NaN.
void divide(std::span<float> weights, float denominator) {
    if (denominator <= 0) return;
    for (float& w : weights) w /= denominator;
}

/// Section 7.9: what each chosen expert gets of a softmax over itself and those close behind it, the ones chosen before left out.
void sparse_mixer_weights(const LayerPolicy& policy, std::span<const float> logits, RouteRow& row) {
    constexpr float kTwiceJitter = 0.02f;   // router_jitter_noise of the published models, which files do not have
    float scaled[kMaxRouterExperts];
    for (size_t e = 0; e < logits.size(); ++e) scaled[e] = scaled_logit(logits[e], policy.temperature);
    for (size_t j = 0; j < row.ids.size(); ++j) {
        const float top = scaled[row.ids[j]];
        float sum = 0;
        for (size_t e = 0; e < logits.size(); ++e) {
            const bool left_out = is_set(policy.masked, static_cast<int>(e)) ||
                                  std::find(row.ids.begin(), row.ids.begin() + static_cast<std::ptrdiff_t>(j), static_cast<int32_t>(e)) !=
                                      row.ids.begin() + static_cast<std::ptrdiff_t>(j);
            const bool far = (top - scaled[e]) / std::max(std::fabs(scaled[e]), top) > kTwiceJitter;
            if (!left_out && !far) sum += std::exp(scaled[e] - top);
        }
        row.weights[j] = 1 / sum;
    }
}

/// Steps 6 to 9 for the chosen experts. Soft takes the normalised preference and the model's scale, so that k = E equals it.
void trained_weights(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, RouteRow& row) {
    row.weights.resize(row.ids.size());
    const bool soft = policy.rule == GateRule::kSoft;
    for (size_t j = 0; j < row.ids.size(); ++j) row.weights[j] = row.preference[row.ids[j]];
    if (soft) {
        divide(row.weights, sum_of(row.weights));
    } else if (spec.score == ScoreFn::kSoftmaxAfterTopK) {
        for (size_t j = 0; j < row.ids.size(); ++j) row.weights[j] = scaled_logit(logits[row.ids[j]], policy.temperature);
        softmax_in_place(row.weights);
    } else if (spec.score == ScoreFn::kSparseMixer) {
        sparse_mixer_weights(policy, logits, row);
    }
    if (spec.renormalise && !soft) divide(row.weights, std::max(sum_of(row.weights) + spec.norm_epsilon, spec.norm_floor));
    if (spec.scale != 0 && spec.scale != 1) {
        for (float& w : row.weights) w *= spec.scale;
    }
}

void route_once(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias,
                RouteRow& row) {
    const size_t n = logits.size();
    row.preference.resize(n);
    row.selection.resize(n);
    row.ids.reserve(n);
    row.weights.reserve(n);
    row.nonfinite = scores_of(spec.score, logits, policy.temperature, row.preference);
    selection_scores(spec, policy, logits, bias, row);
    if (spec.n_groups > 1 && policy.rule != GateRule::kSoft) limit_groups(spec, policy, row.selection);
    select(policy, policy.experts_per_token(spec), row);
    trained_weights(spec, policy, logits, row);
}

}  // namespace

bool LayerPolicy::is_native() const {
    return rule == GateRule::kNative && temperature == 1.0f && weight_rule == WeightRule::kAsTrained && !any(masked) && !any(forced);
}

int LayerPolicy::experts_per_token(const RouterSpec& spec) const {
    const int n_masked = static_cast<int>(std::count_if(masked.begin(), masked.end(), [](uint8_t f) { return f != 0; }));
    int left = std::max(spec.n_experts - n_masked, 0);
    if (spec.n_groups > 1 && rule != GateRule::kSoft) {
        const int n_forced = static_cast<int>(std::count_if(forced.begin(), forced.end(), [](uint8_t f) { return f != 0; }));
        left = std::min(left, spec.n_experts / spec.n_groups * spec.n_groups_used + n_forced);
    }
    switch (rule) {
        case GateRule::kNative: return std::min(spec.n_used, left);
        case GateRule::kSoft: return left;
        case GateRule::kHard: return std::min(1, left);
        case GateRule::kTopK: return std::min(k > 0 ? k : spec.n_used, left);
    }
    return 0;
}

void route(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
           RouteRow& row) {
    const size_t n = static_cast<size_t>(spec.n_experts);
    GS_CHECK(logits.size() == n && n >= 1 && n <= kMaxRouterExperts, "one logit for each expert, at most 1024");
    GS_CHECK(selection_bias.empty() || selection_bias.size() == n, "one selection bias for each expert, or none");
    GS_CHECK(policy.masked.empty() || policy.masked.size() == n, "one mask for each expert, or none");
    GS_CHECK(policy.forced.empty() || policy.forced.size() == n, "one force flag for each expert, or none");
    GS_CHECK(policy.temperature > 0, "temperature must be positive");
    GS_CHECK(spec.n_groups <= 1 || spec.n_experts % spec.n_groups == 0, "groups must divide the experts");

    float wanted_sum = 1;
    if (policy.weight_rule == WeightRule::kMatchNativeSum) {
        static const LayerPolicy native;
        route_once(spec, native, logits, selection_bias, row);  // into the same row: no second scratch
        wanted_sum = sum_of(row.weights);
    }
    route_once(spec, policy, logits, selection_bias, row);
    if (policy.weight_rule == WeightRule::kAsTrained) return;
    divide(row.weights, sum_of(row.weights));
    if (policy.weight_rule == WeightRule::kMatchNativeSum) {
        for (float& w : row.weights) w *= wanted_sum;
    }
}

void preference(const RouterSpec& spec, std::span<const float> logits, std::span<float> out) {
    GS_CHECK(out.size() == logits.size(), "preference is as long as the logits");
    scores_of(spec.score, logits, 1.0f, out);
}

}  // namespace gs
