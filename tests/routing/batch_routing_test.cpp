#include "engine/routing/batch_routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "engine/routing/what_if.h"
#include "tests/support/make_trace.h"

namespace gs {
namespace {

std::vector<float> random_logits(std::mt19937& random, int n_tokens, int n_experts) {
    std::normal_distribution<float> normal(0.0f, 1.5f);
    std::vector<float> out(static_cast<size_t>(n_tokens * n_experts));
    for (float& z : out) z = normal(random);
    return out;
}

LayerPolicy capacity_policy(float factor, GateRule rule = GateRule::kNative) {
    LayerPolicy policy{.rule = rule};
    policy.capacity = factor;
    return policy;
}

std::vector<int> loads(const BatchRoutes& routes, int n_experts) {
    std::vector<int> out(static_cast<size_t>(n_experts));
    for (const int32_t id : routes.ids) ++out[static_cast<size_t>(id)];
    return out;
}

TEST(Capacity, IsTheCeilingOfAnExpertsShare) {
    EXPECT_EQ(expert_capacity(100, 1, 10, 1.0f), 10);
    EXPECT_EQ(expert_capacity(100, 1, 10, 1.1f), 11) << "not 12, though 1.1f is a little more than 1.1";
    EXPECT_EQ(expert_capacity(100, 4, 16, 1.25f), 32);
    EXPECT_EQ(expert_capacity(101, 1, 10, 1.0f), 11);
    EXPECT_EQ(expert_capacity(1, 2, 64, 0.5f), 1);
    EXPECT_EQ(expert_capacity(10, 4, 8, 100.0f), 10) << "an expert takes a token once";
}

TEST(Capacity, DropsInTokenOrderAndLeavesTheOtherWeights) {
    // Everybody wants expert 0 most and expert 1 next; T k / E = 6 * 2 / 4 = 3.
    const RouterSpec spec{.n_experts = 4, .n_used = 2, .renormalise = true};
    std::vector<float> logits;
    for (int t = 0; t < 6; ++t) logits.insert(logits.end(), {3, 2, 0, 0});
    BatchRoutes routes;
    BatchRouter().route(spec, capacity_policy(1), logits, {}, {0, 6}, routes);
    RouteRow free_row;
    route(spec, {}, std::span(logits).first(4), {}, free_row);
    for (size_t t = 0; t < 6; ++t) {
        ASSERT_EQ(routes.ids_of(t).size(), t < 3 ? 2u : 0u) << t;
        if (t < 3) {
            EXPECT_TRUE(std::ranges::equal(routes.weights_of(t), free_row.weights));
        }
    }
    BatchRouter().route(spec, capacity_policy(1, GateRule::kHard), logits, {}, {0, 6}, routes);
    EXPECT_EQ(loads(routes, 4), (std::vector<int>{2, 0, 0, 0})) << "k = 1: ceil(6 / 4)";
}

TEST(Capacity, AgreesWithAPlainCountAndNeverExceedsIt) {
    std::mt19937 random(4);
    for (const float factor : {0.5f, 1.0f, 1.5f, 100.0f}) {
        const RouterSpec spec{.n_experts = 8, .n_used = 3};
        const int n_prompt = 40, n = 60;
        const std::vector<float> logits = random_logits(random, n, 8);
        BatchRoutes routes;
        BatchRouter().route(spec, capacity_policy(factor), logits, {}, {0, n_prompt}, routes);
        std::vector<int> taken(8);
        RouteRow row;
        size_t n_dropped = 0;
        for (int t = 0; t < n; ++t) {
            route(spec, {}, std::span(logits).subspan(static_cast<size_t>(t) * 8, 8), {}, row);
            const int most = static_cast<int>(std::ceil(std::max(n_prompt, t + 1) * 3.0 / 8 * static_cast<double>(factor)));
            std::vector<int32_t> kept;
            for (const int32_t id : row.ids)
                if (taken[static_cast<size_t>(id)] < most) {
                    ++taken[static_cast<size_t>(id)];
                    kept.push_back(id);
                } else {
                    ++n_dropped;
                }
            ASSERT_TRUE(std::ranges::equal(routes.ids_of(static_cast<size_t>(t)), kept)) << t;
        }
        if (factor != 1.5f) {
            EXPECT_EQ(n_dropped == 0, factor == 100.0f);
        }
    }
}

TEST(Capacity, ComesOutTheSameInPartsAndAfterGoingBack) {
    std::mt19937 random(5);
    const RouterSpec spec{.n_experts = 8, .n_used = 2};
    const std::vector<float> logits = random_logits(random, 50, 8);
    const auto rows = [&](int first, int n) { return std::span(logits).subspan(static_cast<size_t>(first) * 8, static_cast<size_t>(n) * 8); };
    BatchRoutes whole, part, joined;
    BatchRouter().route(spec, capacity_policy(1), logits, {}, {0, 50}, whole);
    BatchRouter router;
    router.route(spec, capacity_policy(1), rows(0, 37), {}, {0, 50}, part);   // overwritten from 20 on
    for (const auto& [first, n] : {std::pair{0, 20}, std::pair{20, 1}, std::pair{21, 29}}) {
        router.route(spec, capacity_policy(1), rows(first, n), {}, {first, 50}, part);
        for (size_t t = 0; t < part.ends.size(); ++t) joined.append(part.ids_of(t), part.weights_of(t));
    }
    EXPECT_EQ(joined.ids, whole.ids);
    EXPECT_EQ(joined.ends, whole.ends);
    EXPECT_EQ(joined.weights, whole.weights);
}

TEST(ExpertChoice, EveryExpertTakesItsBestTokens) {
    std::mt19937 random(6);
    const RouterSpec spec{.n_experts = 8, .n_used = 2};
    const int n = 40;
    const std::vector<float> logits = random_logits(random, n, 8);
    BatchRoutes routes;
    BatchRouter().route(spec, capacity_policy(1.5f, GateRule::kExpertChoice), logits, {}, {0, n}, routes);
    EXPECT_EQ(loads(routes, 8), std::vector<int>(8, 15)) << "40 * 2 / 8 * 1.5 each: perfectly balanced";
    std::vector<std::vector<float>> preferences;
    RouteRow row;
    for (size_t t = 0; t < static_cast<size_t>(n); ++t) {
        route(spec, {}, std::span(logits).subspan(t * 8, 8), {}, row);
        preferences.push_back(row.preference);
        for (size_t j = 0; j < routes.ids_of(t).size(); ++j) EXPECT_EQ(routes.weights_of(t)[j], row.preference[static_cast<size_t>(routes.ids_of(t)[j])]);
    }
    for (int32_t e = 0; e < 8; ++e)
        for (size_t t = 0; t < static_cast<size_t>(n); ++t) {
            const auto better = std::count_if(preferences.begin(), preferences.end(), [&](const auto& p) { return p[static_cast<size_t>(e)] > preferences[t][static_cast<size_t>(e)]; });
            const auto ids = routes.ids_of(t);
            EXPECT_EQ(std::find(ids.begin(), ids.end(), e) != ids.end(), better < 15);
        }
}

TEST(ExpertChoice, TokensOfTheAnswerAndTinyBlocksRouteByTopK) {
    std::mt19937 random(7);
    const RouterSpec spec{.n_experts = 8, .n_used = 2};
    const std::vector<float> logits = random_logits(random, 30, 8);
    BatchRoutes routes;
    BatchRouter().route(spec, {.rule = GateRule::kExpertChoice}, logits, {}, {0, 20}, routes);
    RouteRow row;
    for (size_t t = 20; t < 30; ++t) {
        route(spec, {}, std::span(logits).subspan(t * 8, 8), {}, row);
        EXPECT_TRUE(std::ranges::equal(routes.ids_of(t), row.ids));
    }
    BatchRouter().route(spec, {.rule = GateRule::kExpertChoice}, std::span(logits).first(24), {}, {0, 3}, routes);
    EXPECT_EQ(routes.ids_of(0).size(), 2u);
    LayerPolicy masked{.rule = GateRule::kExpertChoice};
    masked.masked = {0, 1, 0, 0, 0, 0, 0, 0};
    BatchRouter().route(spec, masked, logits, {}, {0, 30}, routes);
    EXPECT_EQ(loads(routes, 8)[1], 0);
}

TEST(WhatIfByBatch, IsWhatTheRouterSaysOfTheWholeRun) {
    const TraceSnapshot trace = test::make_trace({.n_tokens = 700, .n_layers = 3, .n_prompt = 600});
    ASSERT_EQ(n_prompt_tokens(trace), 600);
    for (const char* text : {"capacity=1", "expert-choice", "rule@1=expert-choice", "k=2,capacity=0.5,noise=1"}) {
        const Policy policy = *Policy::parse(text);
        const TraceSnapshot what_if = what_if_trace(trace, policy);
        for (int m = 0; m < 3; ++m) {
            BatchRouter router;
            BatchRoutes routes;
            std::vector<float> logits;
            for (int t = 0; t < 700; ++t) logits.insert(logits.end(), trace.logits(m, t).begin(), trace.logits(m, t).end());
            router.route(trace.info().router, policy.for_layer(m, 16), logits, {}, {0, 600}, routes);
            size_t n_dropped = 0;
            for (int t = 0; t < 700; ++t) {
                ASSERT_TRUE(std::ranges::equal(what_if.ids(m, t), routes.ids_of(static_cast<size_t>(t)))) << text << " layer " << m << " token " << t;
                ASSERT_TRUE(std::ranges::equal(what_if.weights(m, t), routes.weights_of(static_cast<size_t>(t))));
                n_dropped += what_if.ids(m, t).size() < 4;
            }
            EXPECT_GT(n_dropped + static_cast<size_t>(policy.for_layer(m, 16).is_native()), 0u);
        }
    }
}

}  // namespace
}  // namespace gs
