// Top-p, threshold, noise and bias: closed forms, planted cases, and plain loops as oracles.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "engine/routing/gate_noise.h"
#include "engine/routing/router.h"

namespace gs {
namespace {

/// Logits whose softmax is `shares`.
std::vector<float> logits_of(const std::vector<double>& shares) {
    std::vector<float> out;
    for (const double s : shares) out.push_back(static_cast<float>(std::log(s)));
    return out;
}

std::vector<float> random_logits(std::mt19937& random, int n) {
    std::normal_distribution<float> normal(0.0f, 1.5f);
    std::vector<float> out(static_cast<size_t>(n));
    for (float& z : out) z = normal(random);
    return out;
}

std::vector<int32_t> ids_of(const RouterSpec& spec, const LayerPolicy& policy, const std::vector<float>& logits, std::vector<float> bias = {}) {
    RouteRow row;
    route(spec, policy, logits, bias, row);
    return row.ids;
}

LayerPolicy top_p(float p, int k = 0) {
    LayerPolicy policy{.rule = GateRule::kTopP, .k = k};
    policy.p = p;
    return policy;
}

LayerPolicy threshold(float tau, int k = 0) {
    LayerPolicy policy{.rule = GateRule::kThreshold, .k = k};
    policy.tau = tau;
    return policy;
}

TEST(TopP, TakesTheFewestExpertsThatReachP) {
    const RouterSpec spec{.n_experts = 4, .n_used = 2};
    const std::vector<float> logits = logits_of({0.1, 0.5, 0.15, 0.25});
    EXPECT_EQ(ids_of(spec, top_p(0.01f), logits), (std::vector<int32_t>{1})) << "at least one";
    EXPECT_EQ(ids_of(spec, top_p(0.49f), logits), (std::vector<int32_t>{1}));
    EXPECT_EQ(ids_of(spec, top_p(0.51f), logits), (std::vector<int32_t>{1, 3}));
    EXPECT_EQ(ids_of(spec, top_p(0.76f), logits), (std::vector<int32_t>{1, 3, 2}));
    EXPECT_EQ(ids_of(spec, top_p(0.91f), logits), (std::vector<int32_t>{1, 3, 2, 0}));
    EXPECT_EQ(ids_of(spec, top_p(0.91f, 2), logits), (std::vector<int32_t>{1, 3})) << "k caps them";
}

TEST(TopP, OfOneIsSoftAndOfLittleIsHard) {
    std::mt19937 random(1);
    for (const ScoreFn score : {ScoreFn::kSoftmax, ScoreFn::kSigmoid}) {
        const RouterSpec spec{.n_experts = 16, .n_used = 4, .score = score, .renormalise = true};
        for (int i = 0; i < 50; ++i) {
            const std::vector<float> logits = random_logits(random, 16);
            RouteRow all, soft;
            route(spec, top_p(1), logits, {}, all);
            route(spec, {.rule = GateRule::kSoft}, logits, {}, soft);
            ASSERT_EQ(all.ids, soft.ids);
            for (size_t j = 0; j < 16; ++j) ASSERT_NEAR(all.weights[j], soft.weights[j], 1e-6f);
            ASSERT_EQ(ids_of(spec, top_p(0.001f), logits), ids_of(spec, {.rule = GateRule::kHard}, logits));
        }
    }
}

/// The definition as a plain loop, in double where it does not decide.
TEST(TopP, AgreesWithItsDefinitionUnderMasksAndForcedExperts) {
    std::mt19937 random(2);
    int n_differ_from_native = 0;
    for (int i = 0; i < 400; ++i) {
        const RouterSpec spec{.n_experts = 12, .n_used = 3};
        LayerPolicy policy = top_p(0.05f + 0.09f * static_cast<float>(random() % 10));
        policy.masked.assign(12, 0);
        policy.forced.assign(12, 0);
        policy.masked[random() % 6] = policy.masked[random() % 6] = 1;
        if (random() % 2) policy.forced[6 + random() % 6] = 1;
        const std::vector<float> logits = random_logits(random, 12);
        RouteRow row;
        route(spec, policy, logits, {}, row);
        double all = 0, taken = 0, last = 0;
        for (size_t e = 0; e < 12; ++e)
            if (!policy.masked[e]) all += static_cast<double>(row.preference[e]);
        size_t n_forced = 0;
        for (size_t j = 0; j < row.ids.size(); ++j) {
            const auto e = static_cast<size_t>(row.ids[j]);
            ASSERT_FALSE(policy.masked[e]);
            taken += static_cast<double>(row.preference[e]);
            n_forced += policy.forced[e];
            if (!policy.forced[e]) last = static_cast<double>(row.preference[e]);   // the worst of the free ones
        }
        ASSERT_EQ(n_forced, static_cast<size_t>(std::count(policy.forced.begin(), policy.forced.end(), 1)));
        ASSERT_GE(taken, static_cast<double>(policy.p) * all - 1e-5);
        if (row.k() > static_cast<int>(std::max<size_t>(n_forced, 1))) {
            ASSERT_LT(taken - last, static_cast<double>(policy.p) * all + 1e-5) << "one less would do";
        }
        n_differ_from_native += row.k() != 3;
    }
    EXPECT_GT(n_differ_from_native, 100);
}

TEST(Threshold, DropsWhatWeighsLessThanTauOfTheHeaviest) {
    const std::vector<float> logits = logits_of({0.4, 0.3, 0.15, 0.1, 0.05});
    for (const bool renormalise : {false, true}) {
        const RouterSpec spec{.n_experts = 5, .n_used = 4, .renormalise = renormalise};
        EXPECT_EQ(ids_of(spec, threshold(0), logits), (std::vector<int32_t>{0, 1, 2, 3})) << "as native";
        EXPECT_EQ(ids_of(spec, threshold(0.3f), logits), (std::vector<int32_t>{0, 1, 2}));
        EXPECT_EQ(ids_of(spec, threshold(0.5f), logits), (std::vector<int32_t>{0, 1}));
        EXPECT_EQ(ids_of(spec, threshold(1), logits), (std::vector<int32_t>{0})) << "at least one";
        EXPECT_EQ(ids_of(spec, threshold(0.1f, 5), logits), (std::vector<int32_t>{0, 1, 2, 3, 4})) << "of the k best";
    }
    RouteRow row;
    route({.n_experts = 5, .n_used = 4, .renormalise = true}, threshold(0.5f), logits, {}, row);
    EXPECT_NEAR(row.weights[0], 4.0f / 7, 1e-5f) << "renormalised over what is left";
    route({.n_experts = 5, .n_used = 4}, threshold(0.5f), logits, {}, row);
    EXPECT_NEAR(row.weights[0], 0.4f, 1e-6f);
}

TEST(Threshold, ComparesTheSoftmaxOverTheChosenWhereThatIsTheWeight) {
    const RouterSpec spec{.n_experts = 4, .n_used = 3, .score = ScoreFn::kSoftmaxAfterTopK};
    RouteRow row;
    route(spec, threshold(0.25f), logits_of({0.4, 0.11, 0.09, 0.4}), {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{0, 3, 1}));
    route(spec, threshold(0.3f), logits_of({0.4, 0.11, 0.09, 0.4}), {}, row);
    EXPECT_EQ(row.ids, (std::vector<int32_t>{0, 3}));
    EXPECT_NEAR(row.weights[0], 0.5f, 1e-6f);
}

TEST(Threshold, NeverDropsAForcedExpert) {
    LayerPolicy policy = threshold(0.9f);
    policy.forced = {0, 0, 0, 1};
    EXPECT_EQ(ids_of({.n_experts = 4, .n_used = 3}, policy, logits_of({0.5, 0.3, 0.15, 0.05})), (std::vector<int32_t>{0, 3}));
}

TEST(GateNoise, HasTheMomentsOfANormalDistribution) {
    double sum = 0, squares = 0, fourth = 0, neighbours = 0, before = 0;
    int within_one = 0, n = 0;
    for (int position = 0; position < 200; ++position)
        for (int layer = 0; layer < 20; ++layer)
            for (int expert = 0; expert < 64; ++expert, ++n) {
                const double x = static_cast<double>(gate_noise(7, position, layer, expert));
                sum += x;
                squares += x * x;
                fourth += x * x * x * x;
                neighbours += x * before;
                before = x;
                within_one += std::fabs(x) < 1;
                ASSERT_LT(std::fabs(x), 4.9);
            }
    const double root = 1 / std::sqrt(static_cast<double>(n));
    EXPECT_NEAR(sum / n, 0, 5 * root);
    EXPECT_NEAR(squares / n, 1, 5 * 1.4 * root);
    EXPECT_NEAR(fourth / n, 3 - 0.15, 5 * 9.8 * root);
    EXPECT_NEAR(neighbours / n, 0, 5 * root) << "neighbouring experts are independent";
    EXPECT_NEAR(static_cast<double>(within_one) / n, 0.6827, 0.004 + 5 * 0.47 * root);
}

TEST(GateNoise, IsWrittenDown) {   // these bits are in trace files: a changed generator would tell other routes for the same policy
    const float values[] = {gate_noise(0, 0, 0, 0), gate_noise(1, 0, 0, 0), gate_noise(0, 1, 0, 0), gate_noise(0, 0, 1, 0), gate_noise(0, 0, 0, 1), gate_noise(42, 1000, 47, 255)};
    for (size_t i = 0; i < std::size(values); ++i)
        for (size_t j = 0; j < i; ++j) EXPECT_NE(values[i], values[j]);
    EXPECT_EQ(values[0], -0x1.7d3274p+0f);
    EXPECT_EQ(values[5], 0x1.eea4d4p-3f);
}

TEST(GateNoise, MovesSelectionAndWeightsButNotThePreference) {
    std::mt19937 random(3);
    const RouterSpec spec{.n_experts = 16, .n_used = 4, .renormalise = true};
    LayerPolicy noisy;
    noisy.noise = 1;
    noisy.seed = 5;
    noisy.layer = 3;
    int n_moved = 0;
    for (int position = 0; position < 100; ++position) {
        const std::vector<float> logits = random_logits(random, 16);
        RouteRow native, row, by_hand;
        route(spec, {}, logits, {}, native);
        route(spec, noisy, logits, {}, row, position);
        EXPECT_EQ(row.preference, native.preference);
        std::vector<float> sum = logits;
        for (int e = 0; e < 16; ++e) sum[static_cast<size_t>(e)] += gate_noise(5, position, 3, e);
        route(spec, {}, sum, {}, by_hand);
        EXPECT_EQ(row.ids, by_hand.ids);
        EXPECT_EQ(row.weights, by_hand.weights);
        n_moved += row.ids != native.ids;
        RouteRow again;
        route(spec, noisy, logits, {}, again, position);
        EXPECT_EQ(again.weights, row.weights);
        noisy.noise = 0;
        route(spec, noisy, logits, {}, again, position);
        EXPECT_EQ(again.weights, native.weights);
        noisy.noise = 1;
    }
    EXPECT_GT(n_moved, 50);
}

TEST(PolicyBias, MovesTheSelectionScoreAndNothingElse) {
    const std::vector<float> logits = logits_of({0.4, 0.3, 0.2, 0.1});
    for (const ScoreFn score : {ScoreFn::kSoftmax, ScoreFn::kSoftmaxAfterTopK}) {
        const RouterSpec spec{.n_experts = 4, .n_used = 2, .score = score};
        LayerPolicy policy;
        policy.bias = {-3, 0, 0, 3};
        RouteRow row, native;
        route(spec, policy, logits, {}, row);
        route(spec, {}, logits, {}, native);
        EXPECT_EQ(row.ids, (std::vector<int32_t>{3, 1}));
        EXPECT_EQ(row.preference, native.preference);
        EXPECT_FLOAT_EQ(row.selection[3] - native.selection[3], 3);
        if (score == ScoreFn::kSoftmax) {
            EXPECT_FLOAT_EQ(row.weights[0], 0.1f) << "the weight has no bias";
        }
    }
    LayerPolicy policy;
    policy.bias = {0, 0, 0, 9};
    EXPECT_EQ(ids_of({.n_experts = 4, .n_used = 1, .score = ScoreFn::kSigmoid}, policy, logits, {0, 20, 0, 0}), (std::vector<int32_t>{1})) << "beside the model's own";
    EXPECT_EQ(ids_of({.n_experts = 4, .n_used = 1, .select_by_logits = true}, policy, logits), (std::vector<int32_t>{3}));
    policy.masked = {0, 0, 0, 1};
    EXPECT_EQ(ids_of({.n_experts = 4, .n_used = 1}, policy, logits), (std::vector<int32_t>{0})) << "a mask is stronger";
    EXPECT_FALSE(policy.is_native());
}

}  // namespace
}  // namespace gs
