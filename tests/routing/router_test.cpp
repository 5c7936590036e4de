// What must hold for any router and policy (product.md, "Gating, defined once").
#include "engine/routing/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/support/check_capture.h"

namespace gs {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kEps = std::numeric_limits<float>::epsilon();

std::vector<float> random_logits(std::mt19937& random, int n, float spread = 1.5f) {
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> out(static_cast<size_t>(n));
    for (float& z : out) z = normal(random);
    return out;
}

/// Specs of the kinds that the families use, over E experts.
std::vector<RouterSpec> some_specs(int n_experts, int k) {
    std::vector<RouterSpec> out;
    for (ScoreFn score : {ScoreFn::kSoftmax, ScoreFn::kSigmoid, ScoreFn::kSoftmaxAfterTopK, ScoreFn::kSqrtSoftplus}) {
        for (bool renormalise : {false, true}) {
            out.push_back({.n_experts = n_experts, .n_used = k, .score = score, .renormalise = renormalise});
        }
    }
    out.push_back({.n_experts = n_experts, .n_used = k, .score = ScoreFn::kSigmoid, .select_by_logits = true});
    out.push_back({.n_experts = n_experts, .n_used = k, .score = ScoreFn::kSoftmax, .scale = 16});
    out.push_back({.n_experts = n_experts, .n_used = k, .score = ScoreFn::kSparseMixer});
    return out;
}

LayerPolicy policy_of(GateRule rule, int k = 0) {
    LayerPolicy policy;
    policy.rule = rule;
    policy.k = k;
    return policy;
}

double sum(const std::vector<float>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

/// The k best by a plain sort, as an oracle.
std::vector<int32_t> best_of(const std::vector<float>& scores, int k) {
    std::vector<int32_t> ids(scores.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
    ids.resize(static_cast<size_t>(k));
    return ids;
}

TEST(Router, ChoosesTheKBestBySelectionScoreForEveryKAndSize) {
    std::mt19937 random(1);
    for (int n_experts : {1, 2, 3, 8, 16, 60, 64, 128, 256, 1024}) {
        for (int k = 1; k <= n_experts; k = k < 12 ? k + 1 : k * 2 - k % 3) {
            for (const RouterSpec& spec : some_specs(n_experts, k)) {
                std::vector<float> logits = random_logits(random, n_experts);
                for (float& z : logits) z = std::round(z * 4) / 4;  // plenty of ties
                RouteRow row;
                route(spec, LayerPolicy{}, logits, {}, row);
                ASSERT_EQ(row.ids, best_of(row.selection, k)) << "E " << n_experts << " k " << k;
                ASSERT_EQ(row.weights.size(), row.ids.size());
            }
        }
    }
}

TEST(Router, SelectionScoresAreThoseOfTheFamily) {
    std::mt19937 random(2);
    const std::vector<float> logits = random_logits(random, 16), bias = random_logits(random, 16, 0.3f);
    RouteRow row;
    route({.n_experts = 16, .n_used = 2, .score = ScoreFn::kSigmoid}, LayerPolicy{}, logits, bias, row);
    for (int e = 0; e < 16; ++e) EXPECT_EQ(row.selection[e], row.preference[e] + bias[e]);
    route({.n_experts = 16, .n_used = 2, .score = ScoreFn::kSoftmaxAfterTopK}, LayerPolicy{}, logits, {}, row);
    EXPECT_EQ(row.selection, logits);
    route({.n_experts = 16, .n_used = 1, .score = ScoreFn::kSigmoid, .select_by_logits = true}, LayerPolicy{}, logits, {}, row);
    EXPECT_EQ(row.selection, logits);
}

TEST(Router, PreferenceAgreesWithDoublePrecision) {
    std::mt19937 random(3);
    for (int n_experts : {1, 5, 16, 128, 257}) {
        const std::vector<float> logits = random_logits(random, n_experts, 6.0f);
        const double top = *std::max_element(logits.begin(), logits.end());
        double total = 0;
        for (float z : logits) total += std::exp(z - top);
        std::vector<float> softmax(logits.size()), sigmoid(logits.size()), root(logits.size());
        preference({.n_experts = n_experts, .score = ScoreFn::kSoftmax}, logits, softmax);
        preference({.n_experts = n_experts, .score = ScoreFn::kSigmoid}, logits, sigmoid);
        preference({.n_experts = n_experts, .score = ScoreFn::kSqrtSoftplus}, logits, root);
        for (size_t e = 0; e < logits.size(); ++e) {
            // The argument of exp is rounded once (relative error |z - top| eps); exp itself, sum and division add a few eps.
            const double p = std::exp(logits[e] - top) / total;
            EXPECT_NEAR(softmax[e], p, p * kEps * (8 + std::fabs(logits[e] - top) + std::log2(n_experts + 1)));
            const double s = 1 / (1 + std::exp(-static_cast<double>(logits[e])));
            EXPECT_NEAR(sigmoid[e], s, s * kEps * 8);
            EXPECT_NEAR(root[e], std::sqrt(std::log1p(std::exp(static_cast<double>(logits[e])))), 8 * kEps * root[e]);
        }
    }
}

TEST(Router, AllExpertsWithSoftmaxWeightsAreTheSoftMixture) {
    std::mt19937 random(4);
    for (const RouterSpec& spec : some_specs(16, 4)) {
        const bool softmax = spec.score == ScoreFn::kSoftmax || spec.score == ScoreFn::kSoftmaxAfterTopK;
        if (!softmax && !spec.renormalise) continue;  // such weights do not sum to 1: not the normalised preference
        const std::vector<float> logits = random_logits(random, 16);
        RouteRow all, soft;
        route(spec, policy_of(GateRule::kTopK, 16), logits, {}, all);
        route(spec, policy_of(GateRule::kSoft), logits, {}, soft);
        EXPECT_EQ(all.ids, soft.ids);
        // Both divide the same numbers by sums that differ by the order of 16 additions.
        for (int j = 0; j < 16; ++j) EXPECT_NEAR(all.weights[j], soft.weights[j], 16 * kEps * soft.weights[j]);
        EXPECT_NEAR(sum(soft.weights), spec.scale, 16 * kEps * spec.scale);
    }
}

TEST(Router, SparseMixerLeavesOutWhatWasChosenOrMasked) {
    const RouterSpec spec{.n_experts = 4, .n_used = 2, .score = ScoreFn::kSparseMixer};
    const std::vector<float> ties = {1.0f, 1.0f, 1.0f, 0.5f};
    RouteRow row;
    route(spec, LayerPolicy{}, ties, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{0, 1}));
    EXPECT_FLOAT_EQ(row.weights[0], 1.0f / 3) << "all three tie";
    EXPECT_FLOAT_EQ(row.weights[1], 0.5f) << "without the first";
    LayerPolicy masked;
    masked.masked = {0, 0, 1, 0};
    route(spec, masked, ties, {}, row);
    EXPECT_FLOAT_EQ(row.weights[0], 0.5f);
    EXPECT_FLOAT_EQ(row.weights[1], 1);
    const std::vector<float> negative{-3, -1, -2, -1.0001f};
    route(spec, policy_of(GateRule::kTopK, 4), negative, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{1, 3, 2, 0}));
    for (const float w : row.weights) EXPECT_TRUE(w > 0 && w <= 1) << "negative logits too";
    EXPECT_NEAR(row.weights[0], 1 / (1 + std::exp(-0.0001)), 1e-6);
}

TEST(Router, OneExpertIsHardGating) {
    std::mt19937 random(5);
    for (const RouterSpec& spec : some_specs(16, 4)) {
        const std::vector<float> logits = random_logits(random, 16);
        RouteRow one, hard;
        route(spec, policy_of(GateRule::kTopK, 1), logits, {}, one);
        route(spec, policy_of(GateRule::kHard), logits, {}, hard);
        EXPECT_EQ(one.ids, hard.ids);
        EXPECT_EQ(one.weights, hard.weights);
        EXPECT_EQ(hard.ids, best_of(hard.selection, 1));
    }
}

TEST(Router, TopKWithTheModelsOwnKIsBitIdenticalToNative) {
    std::mt19937 random(6);
    for (const RouterSpec& spec : some_specs(16, 4)) {
        const std::vector<float> logits = random_logits(random, 16);
        RouteRow native, own, explicit_k;
        route(spec, LayerPolicy{}, logits, {}, native);
        route(spec, policy_of(GateRule::kTopK, 0), logits, {}, own);
        route(spec, policy_of(GateRule::kTopK, 4), logits, {}, explicit_k);
        EXPECT_EQ(native.ids, own.ids);
        EXPECT_EQ(native.weights, own.weights);
        EXPECT_EQ(native.weights, explicit_k.weights);
    }
}

TEST(Router, AMaskedExpertNeverAppears) {
    std::mt19937 random(7);
    for (const RouterSpec& spec : some_specs(16, 4)) {
        for (GateRule rule : {GateRule::kNative, GateRule::kSoft, GateRule::kHard, GateRule::kTopK}) {
            LayerPolicy policy = policy_of(rule, 16);
            policy.masked.assign(16, 0);
            for (int n_masked = 0; n_masked < 15; ++n_masked) {
                policy.masked[random() % 16] = 1;
                RouteRow row;
                route(spec, policy, random_logits(random, 16), {}, row);
                EXPECT_EQ(row.k(), policy.experts_per_token(spec));
                for (int32_t id : row.ids) EXPECT_FALSE(policy.masked[id]);
                for (int e = 0; e < 16; ++e) EXPECT_EQ(row.selection[e] == -kInf, policy.masked[e] != 0);
            }
        }
    }
}

TEST(Router, MasksReduceKWhenFewerRemainAndNoneWhenAllAreMasked) {
    const RouterSpec spec{.n_experts = 4, .n_used = 3};
    LayerPolicy policy;
    policy.masked = {1, 0, 1, 0};
    RouteRow row;
    route(spec, policy, std::vector<float>{4, 3, 2, 1}, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{1, 3}));
    policy.masked = {1, 1, 1, 1};
    route(spec, policy, std::vector<float>{4, 3, 2, 1}, {}, row);
    EXPECT_EQ(row.k(), 0);
    EXPECT_EQ(policy.experts_per_token(spec), 0);
}

TEST(Router, ForcedExpertsComeFirstIntoTheSetAndCountTowardsK) {
    const RouterSpec spec{.n_experts = 6, .n_used = 2};
    const std::vector<float> logits = {0, 5, 4, 3, 2, 1};
    LayerPolicy policy;
    policy.forced = {1, 0, 0, 0, 0, 0};
    RouteRow row;
    route(spec, policy, logits, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{1, 0})) << "best first by selection score, the forced one too";
    policy.forced = {1, 0, 0, 1, 0, 1};  // more than k: the best of them
    route(spec, policy, logits, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{3, 5}));
    policy.masked = {0, 0, 0, 1, 0, 0};  // a mask is stronger
    route(spec, policy, logits, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{5, 0}));
}

TEST(Router, AForcedExpertIsKeptOutsideItsGroup) {
    RouterSpec spec{.n_experts = 8, .n_used = 2, .score = ScoreFn::kSigmoid, .n_groups = 4, .n_groups_used = 1};
    LayerPolicy policy;
    policy.forced.assign(8, 0);
    policy.forced[7] = 1;
    RouteRow row;
    route(spec, policy, std::vector<float>{3, 2, 1, 0, -1, -2, -3, -4}, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{0, 7}));
}

TEST(Router, AGroupOfNanComesBeforeOneThatIsMasked) {
    const RouterSpec spec{.n_experts = 4, .n_used = 1, .score = ScoreFn::kSigmoid, .n_groups = 2, .n_groups_used = 1};
    LayerPolicy policy;
    policy.masked = {1, 1, 0, 0};
    RouteRow row;
    route(spec, policy, std::vector<float>(4, kNan), {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{2}));
}

TEST(Router, GroupsLimitKToTheExpertsTheyHold) {
    RouterSpec spec{.n_experts = 8, .n_used = 2, .n_groups = 4, .n_groups_used = 2};
    RouteRow row;
    const LayerPolicy all = policy_of(GateRule::kTopK, 8);
    route(spec, all, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{7, 6, 5, 4}));
    EXPECT_EQ(all.experts_per_token(spec), 4);
    route(spec, policy_of(GateRule::kSoft), std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, {}, row);
    EXPECT_EQ(row.k(), 8) << "the soft mixture is over all experts";
}

TEST(Router, ANanLogitComesLastAndIsReported) {
    for (const RouterSpec& spec : some_specs(5, 5)) {
        RouteRow row;
        route(spec, LayerPolicy{}, std::vector<float>{kNan, -kInf, 1, kInf, -100}, {}, row);
        EXPECT_TRUE(row.nonfinite);
        EXPECT_EQ(row.ids.front(), 3);
        EXPECT_EQ(row.ids.back(), 0) << "NaN sorts last";
        for (float w : row.weights) EXPECT_TRUE(std::isfinite(w));
        for (float p : row.preference) EXPECT_TRUE(std::isfinite(p));
        route(spec, LayerPolicy{}, std::vector<float>(5, kNan), {}, row);
        EXPECT_TRUE(row.nonfinite);
        EXPECT_EQ(row.ids, (std::vector<int32_t>{0, 1, 2, 3, 4}));
        for (float w : row.weights) EXPECT_TRUE(std::isfinite(w));
        route(spec, LayerPolicy{}, std::vector<float>(5, 0.5f), {}, row);
        EXPECT_FALSE(row.nonfinite) << "the flag is of this token only";
    }
}

TEST(Router, ABrokenSelectionBiasPutsItsExpertLastAndNeverBreaksTheOrder) {
    std::vector<float> bias(64, 0.0f), logits(64, 0.0f);
    for (size_t e = 0; e < bias.size(); e += 3) bias[e] = e % 2 ? kNan : -kInf;
    RouteRow row;
    route({.n_experts = 64, .n_used = 64, .score = ScoreFn::kSigmoid}, LayerPolicy{}, logits, bias, row);
    EXPECT_EQ(row.k(), 64);
    EXPECT_EQ(row.ids, best_of(row.selection, 64));
    EXPECT_EQ(row.ids.back() % 3, 0);
}

TEST(Router, TemperatureDividesTheLogits) {
    std::mt19937 random(8);
    for (const RouterSpec& spec : some_specs(16, 4)) {
        const std::vector<float> logits = random_logits(random, 16);
        std::vector<float> divided = logits;
        for (float& z : divided) z /= 0.7f;
        LayerPolicy warm;
        warm.temperature = 0.7f;
        RouteRow a, b;
        route(spec, warm, logits, {}, a);
        route(spec, LayerPolicy{}, divided, {}, b);
        EXPECT_EQ(a.ids, b.ids);
        EXPECT_EQ(a.weights, b.weights);
        EXPECT_EQ(a.preference, b.preference);
    }
}

TEST(Router, WeightRulesFixTheSum) {
    std::mt19937 random(9);
    for (const RouterSpec& spec : some_specs(16, 4)) {
        for (int k : {1, 3, 7, 16}) {
            const std::vector<float> logits = random_logits(random, 16);
            LayerPolicy policy = policy_of(GateRule::kTopK, k);
            RouteRow native, trained, one, match;
            route(spec, LayerPolicy{}, logits, {}, native);
            route(spec, policy, logits, {}, trained);
            policy.weight_rule = WeightRule::kSumToOne;
            route(spec, policy, logits, {}, one);
            policy.weight_rule = WeightRule::kMatchNativeSum;
            route(spec, policy, logits, {}, match);
            EXPECT_NEAR(sum(one.weights), 1, 16 * kEps);
            EXPECT_NEAR(sum(match.weights), sum(native.weights), 32 * kEps * sum(native.weights));
            EXPECT_EQ(one.ids, trained.ids);
            EXPECT_EQ(match.ids, trained.ids);
            EXPECT_EQ(match.preference, trained.preference);
            for (int j = 0; j < k; ++j) {  // the rule scales all weights of a token alike
                EXPECT_NEAR(one.weights[j] * sum(trained.weights), trained.weights[j], 32 * kEps * trained.weights[j]);
            }
        }
    }
}

TEST(Router, AConstantAddedToSoftmaxLogitsChangesNothing) {
    const RouterSpec spec{.n_experts = 4, .n_used = 2, .renormalise = true};
    RouteRow a, b;
    route(spec, LayerPolicy{}, std::vector<float>{1, 2, 3, 4}, {}, a);
    route(spec, LayerPolicy{}, std::vector<float>{65, 66, 67, 68}, {}, b);  // exact in single precision
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(a.weights, b.weights);
}

TEST(Router, KnowsWhichPoliciesAreNative) {
    EXPECT_TRUE(LayerPolicy{}.is_native());
    EXPECT_FALSE(policy_of(GateRule::kTopK).is_native());
    LayerPolicy policy;
    policy.masked = {0, 0};
    EXPECT_TRUE(policy.is_native());
    policy.masked = {0, 1};
    EXPECT_FALSE(policy.is_native());
    policy = {};
    policy.temperature = 2;
    EXPECT_FALSE(policy.is_native());
}

TEST(Router, RefusesShapesThatDoNotFit) {
    RouteRow row;
    const RouterSpec spec{.n_experts = 4, .n_used = 2};
    EXPECT_CHECK_FAILS(route(spec, {}, std::vector<float>(3), {}, row), "one logit");
    EXPECT_CHECK_FAILS(route(spec, {}, std::vector<float>(4), std::vector<float>(2), row), "selection bias");
    LayerPolicy policy;
    policy.masked = {1};
    EXPECT_CHECK_FAILS(route(spec, policy, std::vector<float>(4), {}, row), "mask");
    policy = {};
    policy.temperature = 0;
    EXPECT_CHECK_FAILS(route(spec, policy, std::vector<float>(4), {}, row), "temperature");
}

}  // namespace
}  // namespace gs
