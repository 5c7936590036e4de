#include "engine/routing/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/routing/ablate.h"
#include "engine/routing/gate_noise.h"
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

/// Adds to selection scores; a NaN or -inf in a bias puts its expert last, but does not mask it.
void add_bias(std::span<const float> bias, std::span<float> selection) {
    for (size_t e = 0; e < bias.size(); ++e) {
        const float biased = selection[e] + bias[e];
        selection[e] = biased >= kLowest ? biased : kLowest;
    }
}

/// Selection scores before groups and masks (moe-families.md section 2, step 3). NaN logits become the lowest finite score, so that they
/// come last but can still be taken when nothing else is left. scores: [E] of these logits.
void selection_scores(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> scores,
                      std::span<const float> bias, RouteRow& row) {
    const size_t n = logits.size();
    const bool by_logits = spec.select_by_logits || spec.score == ScoreFn::kSoftmaxAfterTopK || spec.score == ScoreFn::kSparseMixer;
    if (by_logits) {
        for (size_t e = 0; e < n; ++e) row.selection[e] = scaled_logit(logits[e], policy.temperature);
    } else {
        std::copy(scores.begin(), scores.end(), row.selection.begin());
    }
    if (!spec.select_by_logits) add_bias(bias, row.selection);
    add_bias(policy.bias, row.selection);
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

/// kTopP: row.ids hold all candidates, best first. Those stay that are forced, and of the others the first ones until their preference and that of
/// the forced ones reaches p of all candidates'.
void keep_top_p(const LayerPolicy& policy, int most, std::span<const float> scores, RouteRow& row) {
    float all = 0, taken = 0;
    int n_free = most;
    for (size_t e = 0; e < scores.size(); ++e) {
        if (row.selection[e] == kMinusInfinity) continue;
        all += scores[e];
        if (!is_set(policy.forced, static_cast<int>(e))) continue;
        taken += scores[e];
        --n_free;
    }
    const bool any_forced = n_free < most;
    bool is_first = !any_forced;
    std::erase_if(row.ids, [&](int32_t id) {
        if (is_set(policy.forced, id)) return false;
        const bool enough = policy.p < 1 && taken >= policy.p * all;
        if (n_free <= 0 || (enough && !is_first)) return true;
        is_first = false;
        taken += scores[static_cast<size_t>(id)];
        --n_free;
        return false;
    });
}

/// Section 2, steps 6 and 7: what the chosen experts' weights are before they are renormalised.
void scores_of_chosen(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> scores, RouteRow& row) {
    row.weights.resize(row.ids.size());
    for (size_t j = 0; j < row.ids.size(); ++j) row.weights[j] = scores[static_cast<size_t>(row.ids[j])];
    if (policy.rule == GateRule::kSoft) {
        divide(row.weights, sum_of(row.weights));
    } else if (spec.score == ScoreFn::kSoftmaxAfterTopK) {
        for (size_t j = 0; j < row.ids.size(); ++j) row.weights[j] = scaled_logit(logits[row.ids[j]], policy.temperature);
        softmax_in_place(row.weights);
    } else if (spec.score == ScoreFn::kSparseMixer) {
        sparse_mixer_weights(policy, logits, row);
    }
}

/// kThreshold: drops the chosen experts that are not forced and weigh less than tau times the heaviest. False if none did.
bool drop_light(const LayerPolicy& policy, RouteRow& row) {
    const float least = policy.tau * *std::max_element(row.weights.begin(), row.weights.end());
    size_t n_kept = 0;
    for (size_t j = 0; j < row.ids.size(); ++j)
        if (row.weights[j] >= least || is_set(policy.forced, row.ids[j])) row.ids[n_kept++] = row.ids[j];
    const bool any_dropped = n_kept < row.ids.size();
    row.ids.resize(n_kept);
    return any_dropped;
}

/// Steps 6 to 9 for the chosen experts. Soft takes the normalised preference and the model's scale, so that k = E equals it.
void trained_weights(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> scores, RouteRow& row) {
    const bool soft = policy.rule == GateRule::kSoft;
    scores_of_chosen(spec, policy, logits, scores, row);
    if (policy.rule == GateRule::kThreshold && !row.ids.empty() && drop_light(policy, row)) scores_of_chosen(spec, policy, logits, scores, row);
    if (spec.renormalise && !soft) divide(row.weights, std::max(sum_of(row.weights) + spec.norm_epsilon, spec.norm_floor));
    if (spec.scale != 0 && spec.scale != 1) {
        for (float& w : row.weights) w *= spec.scale;
    }
}

/// given: the choice, where it is not the rule's.
void route_once(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias,
                RouteRow& row, int position, const std::span<const int32_t>* given = nullptr) {
    const size_t n = logits.size();
    row.preference.resize(n);
    row.selection.resize(n);
    row.ids.reserve(n);
    row.weights.reserve(n);
    row.nonfinite = scores_of(spec.score, logits, policy.temperature, row.preference);
    std::span<const float> scores = row.preference;
    if (policy.noise > 0) {
        row.noisy_logits.resize(n);
        row.noisy_preference.resize(n);
        for (size_t e = 0; e < n; ++e)
            row.noisy_logits[e] = noisy_logit(logits[e], policy.noise, policy.seed, position, policy.layer, static_cast<int>(e));
        logits = row.noisy_logits;
        scores_of(spec.score, logits, policy.temperature, row.noisy_preference);
        scores = row.noisy_preference;
    }
    selection_scores(spec, policy, logits, scores, bias, row);
    if (spec.n_groups > 1 && policy.rule != GateRule::kSoft) limit_groups(spec, policy, row.selection);
    if (given) row.ids.assign(given->begin(), given->end());
    else select(policy, policy.first_k(spec), row);
    if (!given && policy.rule == GateRule::kTopP) keep_top_p(policy, policy.experts_per_token(spec), scores, row);
    trained_weights(spec, policy, logits, scores, row);
}

}  // namespace

bool LayerPolicy::is_native() const {
    return rule == GateRule::kNative && temperature == 1.0f && weight_rule == WeightRule::kAsTrained && !any(masked) && !any(forced) &&
           swapped.empty() && !any(zeroed) && noise == 0 && capacity == 0 && std::all_of(bias.begin(), bias.end(), [](float b) { return b == 0; });
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
        case GateRule::kTopK:
        case GateRule::kThreshold: return std::min(chosen_k(spec), left);
        case GateRule::kTopP: return k > 0 ? std::min(k, left) : left;
        case GateRule::kExpertChoice: return left;
    }
    return 0;
}

int LayerPolicy::first_k(const RouterSpec& spec) const {
    if (rule == GateRule::kTopP) return spec.n_experts;
    const int most = experts_per_token(spec);
    return rule == GateRule::kExpertChoice ? std::min(chosen_k(spec), most) : most;
}

namespace {

void route_checked(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
                   RouteRow& row, int position, const std::span<const int32_t>* given) {
    const size_t n = static_cast<size_t>(spec.n_experts);
    GS_CHECK(logits.size() == n && n >= 1 && n <= kMaxRouterExperts, "one logit for each expert, at most 1024");
    GS_CHECK(selection_bias.empty() || selection_bias.size() == n, "one selection bias for each expert, or none");
    GS_CHECK(policy.masked.empty() || policy.masked.size() == n, "one mask for each expert, or none");
    GS_CHECK(policy.forced.empty() || policy.forced.size() == n, "one force flag for each expert, or none");
    GS_CHECK(policy.bias.empty() || policy.bias.size() == n, "one bias for each expert, or none");
    GS_CHECK(policy.zeroed.empty() || policy.zeroed.size() == n, "one zero flag for each expert, or none");
    GS_CHECK(policy.temperature > 0, "temperature must be positive");
    GS_CHECK(spec.n_groups <= 1 || spec.n_experts % spec.n_groups == 0, "groups must divide the experts");

    float wanted_sum = 1;
    if (policy.weight_rule == WeightRule::kMatchNativeSum) {
        static const LayerPolicy native;
        route_once(spec, native, logits, selection_bias, row, position);  // into the same row: no second scratch
        wanted_sum = sum_of(row.weights);
    }
    route_once(spec, policy, logits, selection_bias, row, position, given);
    if (policy.weight_rule != WeightRule::kAsTrained) divide(row.weights, sum_of(row.weights));
    if (policy.weight_rule == WeightRule::kMatchNativeSum) {
        for (float& w : row.weights) w *= wanted_sum;
    }
    ablate(policy, row.ids, row.weights);
}

}  // namespace

void route(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
           RouteRow& row, int position) {
    route_checked(spec, policy, logits, selection_bias, row, position, nullptr);
}

void weigh(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
           std::span<const int32_t> ids, RouteRow& row, int position) {
    route_checked(spec, policy, logits, selection_bias, row, position, &ids);
}

void preference(const RouterSpec& spec, std::span<const float> logits, std::span<float> out) {
    GS_CHECK(out.size() == logits.size(), "preference is as long as the logits");
    scores_of(spec.score, logits, 1.0f, out);
}

}  // namespace gs
