#include "engine/routing/coactivation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/routing/planted_routes.h"

namespace gs {
namespace {

using test::add_token;
using test::uniform_routes;

/// metrics.md section 2: the column "co-activation all / adjacent" (of DeepSeekMoE-16B it is 2.65 and rounds to 2.6).
TEST(CoActivation, UniformRoutersHaveThePublishedNulls) {
    struct Row {
        int n_experts, k;
        double all, adjacent;
    };
    for (const Row& row : {Row{8, 2, 14.3, 14.3}, Row{32, 4, 9.7, 4.8}, Row{64, 8, 11.1, 2.8}, Row{64, 6, 7.9, 2.6}, Row{128, 8, 5.5, 1.4}, Row{256, 8, 2.7, 0.7}, Row{512, 10, 1.8, 0.35}}) {
        const LayerRoutes routes = uniform_routes(50, row.n_experts, row.k, 1);
        EXPECT_NEAR(100 * co_activation(routes, PairMode::kAll).uniform, row.all, 0.0501);
        EXPECT_NEAR(100 * co_activation(routes, PairMode::kAdjacent).uniform, row.adjacent, 0.0501);
    }
}

TEST(CoActivation, AUniformRouterLandsOnItsNullInBothModes) {
    const int n = 20000;
    const LayerRoutes routes = uniform_routes(n, 16, 4, 5);
    for (const PairMode mode : {PairMode::kAll, PairMode::kAdjacent}) {
        const CoActivation pairs = co_activation(routes, mode);
        const double sd = std::sqrt(pairs.uniform * (1 - pairs.uniform) / (n / 4.0));
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 16; ++j) {
                if (i == j) continue;
                EXPECT_NEAR(pairs.share(i, j), pairs.uniform, 5 * sd);
                EXPECT_NEAR(pairs.expected_share(i, j), pairs.uniform, 0.1 * pairs.uniform) << "even loads";
            }
        int beyond = 0, all = 0;
        pairs.count_beyond(beyond, all);
        EXPECT_EQ(all, 120);
        EXPECT_LE(beyond, 14) << "5 % of 120, or a few more";
    }
}

TEST(CoActivation, CountsPlantedPairsByDefinition) {
    LayerRoutes routes;
    routes.n_experts = 5;
    for (int t = 0; t < 30; ++t) add_token(routes, {0, 1, 2});   // 1 stands between 0 and 2
    for (int t = 0; t < 10; ++t) add_token(routes, {3, 0, 4});
    const CoActivation all = co_activation(routes, PairMode::kAll), adjacent = co_activation(routes, PairMode::kAdjacent);
    EXPECT_EQ(all.tokens, (std::vector<uint32_t>{40, 30, 30, 10, 10}));
    EXPECT_EQ(all.share(0, 1), 0.75);
    EXPECT_EQ(all.share(1, 0), 1);
    EXPECT_EQ(all.share(0, 2), 0.75);
    EXPECT_EQ(adjacent.share(0, 2), 0) << "never neighbours in a ranking";
    EXPECT_EQ(adjacent.share(0, 1), 0.75);
    EXPECT_EQ(adjacent.share(3, 4), 0);
    EXPECT_EQ(all.share(3, 4), 1);
    EXPECT_DOUBLE_EQ(all.jaccard(0, 1), 0.75);
    EXPECT_DOUBLE_EQ(all.lift(0, 1), 30.0 * 40 / (40 * 30));
    EXPECT_TRUE(std::isnan(all.share(2, 2)));
    for (int i = 0; i < 5; ++i)
        for (int j = 0; j < 5; ++j) EXPECT_EQ(all.pairs[all.at(i, j)], all.pairs[all.at(j, i)]);
}

/// Three cells, three parameters: quasi-independence fits any three experts exactly. And whatever the loads, rows keep their sums.
TEST(CoActivation, ExpectedPairsKeepTheLoads) {
    LayerRoutes three;
    three.n_experts = 3;
    for (int t = 0; t < 50; ++t) add_token(three, {0, 1});
    for (int t = 0; t < 20; ++t) add_token(three, {1, 2});
    for (int t = 0; t < 10; ++t) add_token(three, {2, 0});
    const CoActivation exact = co_activation(three, PairMode::kAll);
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) EXPECT_NEAR(exact.expected[exact.at(i, j)], exact.pairs[exact.at(i, j)], 1e-6);

    LayerRoutes skewed;   // expert 0 in every second token, the others as they come
    skewed.n_experts = 10;
    Shuffler random(4);
    for (int t = 0; t < 3000; ++t) {
        const int a = static_cast<int>(1 + random.below(4)), b = static_cast<int>(5 + random.below(5));
        if (t % 2 == 0) add_token(skewed, {0, a, b});
        else add_token(skewed, {a, b, a % 4 + 1});
    }
    for (const PairMode mode : {PairMode::kAll, PairMode::kAdjacent}) {
        const CoActivation pairs = co_activation(skewed, mode);
        for (int i = 0; i < 10; ++i) {
            double expected = 0, observed = 0;
            for (int j = 0; j < 10; ++j) expected += pairs.expected[pairs.at(i, j)], observed += pairs.pairs[pairs.at(i, j)];
            EXPECT_NEAR(expected, observed, 1e-5 * observed + 1e-9) << i;
        }
    }
}

/// Loads far from even, choices independent but for the loads: pairs lie on the load-aware null, though far from the uniform one.
TEST(CoActivation, UnevenLoadsAloneAreNoFinding) {
    LayerRoutes routes;
    routes.n_experts = 12;
    Shuffler random(8);
    std::vector<int> urn;   // experts by weights 12, 11, … 1
    for (int e = 0; e < 12; ++e) urn.insert(urn.end(), static_cast<size_t>(12 - e), e);
    for (int t = 0; t < 8000; ++t) {
        int a = 0, b = 0;
        while (a == b) a = urn[random.below(urn.size())], b = urn[random.below(urn.size())];
        add_token(routes, {a, b});
    }
    const CoActivation pairs = co_activation(routes, PairMode::kAll);
    EXPECT_GT(pairs.share(6, 0), 1.4 * pairs.uniform);
    int beyond = 0, all = 0;
    pairs.count_beyond(beyond, all);
    EXPECT_EQ(all, 66);
    EXPECT_LE(beyond, 10);
    EXPECT_NEAR(pairs.ratio(6, 0), 1, 0.25);
}

TEST(CoActivation, AnExpertInEveryTokenIsExpectedEverywhere) {
    LayerRoutes routes;
    routes.n_experts = 4;
    for (int t = 0; t < 90; ++t) add_token(routes, {0, 1 + t % 3});
    const CoActivation pairs = co_activation(routes, PairMode::kAll);
    for (int j = 1; j < 4; ++j) {
        EXPECT_EQ(pairs.share(j, 0), 1);
        EXPECT_NEAR(pairs.expected_share(j, 0), 1, 0.05);
    }
    const CoActivation none = co_activation(LayerRoutes{.n_experts = 4}, PairMode::kAll);
    EXPECT_TRUE(std::isnan(none.share(0, 1)));
    LayerRoutes single;
    single.n_experts = 3;
    for (int t = 0; t < 9; ++t) add_token(single, {t % 3});
    EXPECT_EQ(co_activation(single, PairMode::kAll).uniform, 0) << "k = 1 has no pairs";
}

TEST(CrossLayerFlow, PlantedPathsAndIndependentLayers) {
    LayerRoutes first, second;
    first.n_experts = second.n_experts = 4;
    for (int t = 0; t < 400; ++t) {
        add_token(first, {t % 4, (t + 1) % 4});
        add_token(second, {(t % 4 + 2) % 4});
    }
    const CrossLayerFlow flow = cross_layer_flow(first, second);
    EXPECT_EQ(flow.share(0, 2), 0.5) << "expert 0 is the first choice of half of its tokens";
    EXPECT_EQ(flow.share(0, 1), 0.5);
    EXPECT_EQ(flow.share(0, 0), 0);
    EXPECT_EQ(flow.lift(0, 2), 2);
    EXPECT_EQ(flow.uniform, 0.25);
    EXPECT_FALSE(flow.band(0, 2).holds(flow.share(0, 2)));

    const CrossLayerFlow chance = cross_layer_flow(uniform_routes(6000, 12, 3, 1), uniform_routes(6000, 12, 3, 2));
    int beyond = 0, all = 0;
    chance.count_beyond(beyond, all);
    EXPECT_EQ(all, 144);
    EXPECT_LE(beyond, 16);
    for (int e = 0; e < 12; ++e) EXPECT_NEAR(chance.share(e, 5), 0.25, 0.06);
}

}  // namespace
}  // namespace gs
