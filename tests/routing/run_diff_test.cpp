#include "engine/routing/run_diff.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/routing/metrics.h"
#include "tests/support/make_trace.h"

namespace gs {
namespace {

struct Decision {
    std::vector<float> logits;
    std::vector<int32_t> ids;
};
struct Row {
    int32_t id;
    std::string text;
    std::vector<Decision> layers;
};

/// Tokens at `layers` MoE layers of four experts.
TraceSnapshot write(const std::vector<Row>& rows, TraceLacks lacks = {}) {
    TraceInfo info;
    info.router = {.n_experts = 4, .n_used = 2};
    info.n_layers = static_cast<int>(rows.front().layers.size());
    for (int m = 0; m < info.n_layers; ++m) info.moe_layers.push_back(m);
    info.lacks = lacks;
    TraceWriter writer(info);
    for (const Row& row : rows) {
        const TokenRow token{.id = row.id, .text = row.text};
        writer.begin_tokens(std::span(&token, 1), Policy{});
        for (int m = 0; m < info.n_layers; ++m) {
            const Decision& d = row.layers[static_cast<size_t>(m)];
            const std::vector<float> weights(d.ids.size(), 0.5f);
            writer.set_route(m, 0, lacks.logits ? std::span<const float>() : std::span(d.logits), d.ids, weights);
        }
        writer.publish();
    }
    return writer.snapshot();
}

const std::vector<float> kFlat = {3, 2, 1, 0}, kClose = {3, 2, 1.875f, 0};

TEST(RunDiff, OfARunWithItselfFindsNothing) {
    const TraceSnapshot run = test::make_trace({.n_tokens = 50, .n_layers = 3});
    const RunDiff diff = diff_runs(run, run);
    EXPECT_EQ(diff.pairs.size(), 50u);
    EXPECT_EQ(diff.first_token_difference, -1);
    EXPECT_DOUBLE_EQ(diff.agreement, 1);
    EXPECT_DOUBLE_EQ(diff.kl, 0);
    EXPECT_EQ(diff.any_layer_flip_rate, 0);
    EXPECT_TRUE(diff.flips.empty());
    EXPECT_FALSE(diff.first_divergence);
    EXPECT_NEAR(diff.agreement_null, 4.0 / 16, 1e-12);
}

TEST(RunDiff, FindsPlantedFlipsWithTheirMarginsClearestFirst) {
    const TraceSnapshot a = write({{1, "a", {{kFlat, {0, 1}}, {kFlat, {0, 1}}}}, {2, "b", {{kClose, {0, 1}}, {kFlat, {0, 1}}}}, {3, "c", {{kFlat, {0, 1}}, {kFlat, {0, 1}}}}});
    const TraceSnapshot b = write({{1, "a", {{kFlat, {1, 0}}, {kFlat, {0, 1}}}}, {2, "b", {{kFlat, {0, 2}}, {kFlat, {2, 3}}}}, {3, "c", {{kFlat, {0, 1}}, {kFlat, {0, 1}}}}});
    const RunDiff diff = diff_runs(a, b);
    ASSERT_EQ(diff.flips.size(), 2u);   // another order of the same set is none
    EXPECT_EQ(diff.flips[0].moe_layer, 1);
    EXPECT_FLOAT_EQ(diff.flips[0].margin, 1);
    EXPECT_EQ(diff.flips[0].left, 0);
    EXPECT_EQ(diff.flips[0].entered, 2);
    EXPECT_EQ(diff.flips[0].n_shared, 0);
    EXPECT_EQ(diff.flips[1].moe_layer, 0);
    EXPECT_FLOAT_EQ(diff.flips[1].margin, 0.125f);
    EXPECT_EQ(diff.flips[1].left, 1);
    EXPECT_EQ(diff.flips[1].entered, 2);
    ASSERT_TRUE(diff.first_divergence);
    EXPECT_EQ(diff.pairs[static_cast<size_t>(diff.first_divergence->pair)].a, 1);
    EXPECT_EQ(diff.first_divergence->moe_layer, 0);
    EXPECT_NEAR(diff.layers[0].agreement, (1 + 0.5 + 1) / 3, 1e-12);
    EXPECT_NEAR(diff.layers[1].agreement, 2.0 / 3, 1e-12);
    EXPECT_NEAR(diff.any_layer_flip_rate, 1.0 / 3, 1e-12);
    EXPECT_NEAR(diff.mean_flipped_layers, 2.0 / 3, 1e-12);
    EXPECT_NEAR(diff.agreement_null, 0.5, 1e-12);                       // k/E
    EXPECT_NEAR(diff.mean_flipped_null, 2 * (1 - 1.0 / 6), 1e-9);       // C(4, 2) = 6 sets
    EXPECT_NEAR(diff.any_layer_flip_null, 1 - 1.0 / 36, 1e-9);
}

TEST(RunDiff, KlIsThatOfThePreferences) {
    const std::vector<float> other = {0, 0, 0, 0};
    const RunDiff diff = diff_runs(write({{1, "a", {{kFlat, {0, 1}}}}}), write({{1, "a", {{other, {0, 1}}}}}));
    double sum = 0, expected = 0;
    for (const float z : kFlat) sum += std::exp(z);
    for (const float z : kFlat) expected += std::exp(z) / sum * std::log(std::exp(z) / sum * 4);
    EXPECT_NEAR(diff.kl, expected, 1e-6);
    EXPECT_NEAR(diff.layers[0].kl, expected, 1e-6);
}

TEST(RunDiff, PairsTokensAcrossAnInsertion) {
    const std::vector<Decision> d = {{kFlat, {0, 1}}};
    const RunDiff diff = diff_runs(write({{1, "a", d}, {2, "b", d}, {3, "c", d}}), write({{1, "a", d}, {9, "x", d}, {2, "b", d}, {3, "c", d}}));
    const std::vector<TokenPair> expected = {{0, 0}, {1, 2}, {2, 3}};
    EXPECT_EQ(diff.pairs, expected);
    EXPECT_EQ(diff.first_token_difference, 1);
    EXPECT_EQ(diff.paired_by, PairedBy::kIds);
}

TEST(RunDiff, PairsByTextWhereTheTokenizersDiffer) {
    const std::vector<Decision> d = {{kFlat, {0, 1}}};
    // The same id means another text: ids cannot be compared. "llama" is one token here and two there.
    const TraceSnapshot a = write({{1, "A ", d}, {2, "llama", d}, {3, " is", d}, {4, "!", d}}), b = write({{1, "A", d}, {2, " ", d}, {5, "llama", d}, {7, " i", d}, {8, "s", d}, {9, "!", d}});
    const RunDiff diff = diff_runs(a, b);
    EXPECT_EQ(diff.paired_by, PairedBy::kText);
    const std::vector<TokenPair> expected = {{1, 2}, {3, 5}};
    EXPECT_EQ(diff.pairs, expected);
}

TEST(RunDiff, PairsByPlaceWithoutIdsAndTextAndKnowsNoMarginsWithoutLogits) {
    const TraceLacks nothing{.logits = true, .weights = true, .token_ids = true, .text = true, .phases = true};
    const TraceSnapshot a = write({{0, "", {{{}, {0, 1}}}}, {0, "", {{{}, {0, 1}}}}}, nothing), b = write({{5, "x", {{kFlat, {0, 1}}}}, {6, "y", {{kFlat, {2, 1}}}}, {7, "z", {{kFlat, {2, 1}}}}});
    const RunDiff diff = diff_runs(a, b);
    EXPECT_EQ(diff.paired_by, PairedBy::kPlace);
    EXPECT_EQ(diff.pairs.size(), 2u);
    EXPECT_TRUE(std::isnan(diff.kl));
    ASSERT_EQ(diff.flips.size(), 1u);
    EXPECT_TRUE(std::isnan(diff.flips[0].margin));
    EXPECT_DOUBLE_EQ(diff.agreement, 0.75);
}

TEST(RunDiff, SaysWhyRoutersOfOtherSizesCannotBeCompared) {
    const RunDiff diff = diff_runs(test::make_trace({.n_tokens = 1, .n_layers = 2}), test::make_trace({.n_tokens = 1, .n_layers = 3}));
    EXPECT_FALSE(diff.comparable());
    EXPECT_NE(diff.not_comparable.find("2 MoE layers of 16 experts in A, 3 of 16 in B"), std::string::npos);
    EXPECT_EQ(diff.pairs.size(), 1u);   // the texts can be compared all the same
    EXPECT_TRUE(diff.layers.empty());
}

TEST(RunDiff, OfUniformIndependentRoutersLandsOnItsNulls) {
    const auto uniform = [](uint32_t seed) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal;
        std::vector<Row> rows;
        for (int32_t t = 0; t < 20000; ++t) {
            Row row{t, "", {}};
            for (int m = 0; m < 2; ++m) {
                Decision d{{normal(random), normal(random), normal(random), normal(random)}, {}};
                RouteRow route_row;
                route({.n_experts = 4, .n_used = 2}, {}, d.logits, {}, route_row);
                d.ids = route_row.ids;
                row.layers.push_back(d);
            }
            rows.push_back(row);
        }
        return write(rows);
    };
    const RunDiff diff = diff_runs(uniform(11), uniform(12));
    EXPECT_NEAR(diff.agreement_null, 0.5, 1e-12);
    EXPECT_NEAR(diff.agreement, diff.agreement_null, 0.01);
    EXPECT_NEAR(diff.mean_flipped_layers, diff.mean_flipped_null, 0.02);
}

}  // namespace
}  // namespace gs
