#include "engine/routing/repetition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "engine/routing/importance.h"
#include "tests/routing/planted_routes.h"

namespace gs {
namespace {

using test::add_token;
using test::uniform_routes;

TEST(Repetition, UniformRoutersLandOnThePublishedNulls) {
    struct Row {
        int n_experts, k;
        double first, any;
    };
    const int n = 20000;
    for (const Row& row : {Row{8, 2, 12.5, 46.4}, Row{32, 4, 3.12, 43.1}, Row{64, 8, 1.56, 67.9}, Row{128, 8, 0.78, 41.2}}) {
        const LayerRoutes routes = uniform_routes(n, row.n_experts, row.k, 9);
        const std::vector<int16_t> one(static_cast<size_t>(n), 0);
        const Repetition r = consecutive_repetition(routes, one, 20, 1);
        EXPECT_NEAR(100 * r.uniform_first, row.first, 0.00501);
        EXPECT_NEAR(100 * r.uniform_any, row.any, 0.0501);
        EXPECT_NEAR(r.first, r.uniform_first, 4 * std::sqrt(r.uniform_first / n));
        EXPECT_NEAR(r.any, r.uniform_any, 4 * std::sqrt(0.25 / n));
        EXPECT_NEAR(r.shuffled_first.mean, r.first, 0.01);
        EXPECT_EQ(r.n_pairs, static_cast<uint32_t>(n - 1));
    }
}

TEST(Repetition, StaysWithinSegmentsAndKeepsTheirLoads) {
    // Text 0 uses expert 0 only, text 1 alternates between 1 and 2.
    LayerRoutes routes;
    routes.n_experts = 4;
    std::vector<int16_t> texts;
    for (int t = 0; t < 100; ++t) {
        texts.push_back(t < 50 ? 0 : 1);
        add_token(routes, {t < 50 ? 0 : 1 + t % 2});
    }
    const Repetition r = consecutive_repetition(routes, texts, 200, 1);
    EXPECT_EQ(r.n_pairs, 98u);
    EXPECT_EQ(r.first, 0.5) << "all of one text, none of the other";
    EXPECT_NEAR(r.shuffled_first.mean, 0.5 + 0.5 * (2 * 25.0 * 24 / (50 * 49)), 0.02) << "the loads of each text, in any order";
    EXPECT_LT(r.first, r.shuffled_first.band.low) << "alternation is less than chance";
}

TEST(IdEffect, AnIdThatDecidesAndOneThatDoesNot) {
    LayerRoutes by_id;
    by_id.n_experts = 16;
    std::vector<int32_t> ids;
    for (int t = 0; t < 600; ++t) {
        ids.push_back(t * 7 % 30);
        const int id = ids.back();
        add_token(by_id, {id % 16, (id + 3) % 16});
    }
    const IdEffect decides = token_id_effect(by_id, ids, 16, 50, 1);
    EXPECT_EQ(decides.n_ids, 30);
    EXPECT_DOUBLE_EQ(decides.jaccard, 1);
    EXPECT_DOUBLE_EQ(decides.same_first, 1);
    EXPECT_LT(decides.shuffled.band.high, 0.3);
    const IdEffect chance = token_id_effect(uniform_routes(600, 16, 2, 4), ids, 16, 200, 1);
    EXPECT_TRUE(chance.shuffled.band.holds(chance.jaccard));
    // Two of 16: one in common in 2 * 14 / 120 of cases (a third in common), both in 1 / 120.
    EXPECT_NEAR(chance.uniform, 28.0 / 120 / 3 + 1.0 / 120, 1e-12);
    EXPECT_NEAR(chance.shuffled.mean, chance.uniform, 0.01);
    const std::vector<int32_t> once = {1, 2, 3};
    EXPECT_EQ(token_id_effect(uniform_routes(3, 16, 2, 4), once, 16, 5, 1).n_ids, 0);
}

TEST(Importance, SumsAndMeansByDefinition) {
    LayerRoutes routes;
    routes.n_experts = 3;
    routes.add(std::vector<uint16_t>{0, 1}, std::vector<float>{0.75f, 0.25f});
    routes.add(std::vector<uint16_t>{1, 0}, std::vector<float>{0.5f, 0.5f});
    routes.add(std::vector<uint16_t>{0}, std::vector<float>{1});
    const SlotOutputs outputs{.norm = {2, 4, 6, 8, 10}, .part = {1.5f, 1, 3, 4, 10}, .cosine = {1, 0, 0.5f, 0.5f, 1}, .orthogonal = {0.8f, 0.6f, 0.6f, 0.8f, 1}};
    const std::vector<ExpertImportance> all = expert_importance(routes, outputs);
    EXPECT_EQ(all[0].n, 3u);
    EXPECT_EQ(all[0].frequency, 1);
    EXPECT_DOUBLE_EQ(all[0].weighted_frequency, 2.25);
    EXPECT_DOUBLE_EQ(all[0].mean_weight, 0.75);
    EXPECT_DOUBLE_EQ(all[0].ean_sum, 20);
    EXPECT_DOUBLE_EQ(all[0].ean_mean, 20.0 / 3);
    EXPECT_DOUBLE_EQ(all[0].weighted_ean, 15.5);
    EXPECT_DOUBLE_EQ(all[0].reap, 15.5 / 3);
    EXPECT_EQ(all[0].max_norm, 10);
    EXPECT_NEAR(all[0].cosine, 2.5 / 3, 1e-7);
    EXPECT_EQ(all[2].n, 0u);
    EXPECT_EQ(all[2].reap, 0);
    const SingleExpertCosine top = single_expert_cosine(routes, outputs);
    EXPECT_EQ(top.n, 3u);
    EXPECT_NEAR(top.cosine, (1 + 0.5 + 1) / 3, 1e-7);
    EXPECT_NEAR(top.orthogonal, (0.8 + 0.6 + 1) / 3, 1e-7);
    EXPECT_EQ(expert_importance(routes, {})[0].reap, 0) << "not measured";
    EXPECT_EQ(importance_nulls(routes, {})[0].reap.band.high, 0);
    EXPECT_EQ(importance_nulls(routes, outputs)[2].ean_mean.band.high, 0) << "never used: there is no mean to compare";
    const double values[] = {3, 5, 3};
    EXPECT_EQ(rank_of(values, 1), 1);
    EXPECT_EQ(rank_of(values, 0), 2);
    EXPECT_EQ(rank_of(values, 2), 3);
}

/// 8 experts, 2 a token; the norms of the planted one are larger.
struct NormedLayer {
    LayerRoutes routes = uniform_routes(1500, 8, 2, 11);
    SlotOutputs outputs;
    explicit NormedLayer(float planted) {
        std::mt19937_64 random(3);
        std::lognormal_distribution<float> norm(0, 0.4f);
        for (size_t slot = 0; slot < routes.ids.size(); ++slot) {
            outputs.norm.push_back(norm(random) * (routes.ids[slot] == 6 ? planted : 1));
            outputs.part.push_back(outputs.norm.back() * routes.weights[slot]);
            outputs.cosine.push_back(std::uniform_real_distribution<float>(0, 1)(random));
            outputs.orthogonal.push_back(0.5f);
        }
    }
};

TEST(Importance, FiguresOfExpertsAlikeLieInTheirBandsAndAPlantedOneDoesNot) {
    const auto beyond = [](const NormedLayer& layer, double ExpertImportance::*value) {
        const std::vector<ExpertImportance> all = expert_importance(layer.routes, layer.outputs);
        const std::vector<ImportanceNull> nulls = importance_nulls(layer.routes, layer.outputs);
        const auto figures = importance_figures();
        const auto figure = std::find_if(figures.begin(), figures.end(), [&](const ImportanceFigure& f) { return f.value == value; });
        std::vector<int> out;
        for (size_t e = 0; e < all.size(); ++e)
            if (figure->beyond_chance(all[e], nulls[e])) out.push_back(static_cast<int>(e));
        return out;
    };
    using I = ExpertImportance;
    size_t outside = 0;
    for (const ImportanceFigure& f : importance_figures()) outside += beyond(NormedLayer(1), f.value).size();
    EXPECT_LE(outside, 9u) << "5 % of 72, and some luck";
    for (double I::*value : {&I::ean_mean, &I::ean_sum, &I::reap, &I::weighted_ean}) {
        const std::vector<int> out = beyond(NormedLayer(1.5f), value);
        EXPECT_NE(std::find(out.begin(), out.end(), 6), out.end());
    }
    EXPECT_EQ(beyond(NormedLayer(1.5f), &I::frequency), beyond(NormedLayer(1), &I::frequency)) << "norms have no part in it";
}

TEST(Importance, SumsKeepTheExpertsUsage) {
    const NormedLayer layer(1);
    const std::vector<ImportanceNull> nulls = importance_nulls(layer.routes, layer.outputs);
    const std::vector<ExpertImportance> all = expert_importance(layer.routes, layer.outputs);
    double sum = 0;
    for (size_t e = 0; e < all.size(); ++e) {
        EXPECT_DOUBLE_EQ(nulls[e].ean_sum.band.high, nulls[e].ean_mean.band.high * all[e].n);
        EXPECT_DOUBLE_EQ(nulls[e].frequency.mean, 0.25);
        sum += nulls[e].ean_sum.mean;
    }
    EXPECT_NEAR(sum, std::accumulate(layer.outputs.norm.begin(), layer.outputs.norm.end(), 0.0), 1e-6) << "what is expected of all experts is what there is";
}

}  // namespace
}  // namespace gs
