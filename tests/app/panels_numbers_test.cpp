// The numbers behind the pictures, against direct computation from the trace.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "app/views/heatmap_panel_picture.h"
#include "app/views/histogram_panel_layout.h"
#include "app/views/layer_stats.h"
#include "app/views/route_data.h"
#include "app/widgets/value_axis.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;
using gs::test::MakeTrace;

gs::RouterSpec router_of(int n_experts, int k) { return {.n_experts = n_experts, .n_used = k, .score = gs::ScoreFn::kSoftmax, .renormalise = true}; }

/// A trace that grows: snapshots of one writer at several lengths.
struct Growing {
    explicit Growing(int n_layers = 3) : writer(gs::test::make_trace_info({.n_layers = n_layers})) {}
    gs::TraceSnapshot add(int n, gs::Phase phase, uint32_t seed) {
        const gs::TraceInfo info = gs::test::make_trace_info({.n_layers = static_cast<int>(writer.snapshot().info().moe_layers.size())});
        std::vector<gs::TokenRow> rows(static_cast<size_t>(n));
        for (auto& row : rows) row.phase = phase;
        writer.begin_tokens(rows, {});
        gs::RouteRow route;
        std::vector<float> logits(static_cast<size_t>(info.router.n_experts));
        uint32_t state = seed * 2654435761u + 1;
        for (int t = 0; t < n; ++t) {
            for (int m = 0; m < info.n_moe_layers(); ++m) {
                for (float& z : logits) state = state * 1664525u + 1013904223u, z = static_cast<float>(state >> 8) / static_cast<float>(1 << 22);
                gs::route(info.router, {}, logits, {}, route);
                writer.set_route(m, t, logits, route.ids, route.weights);
            }
        }
        writer.publish();
        return writer.snapshot();
    }
    gs::TraceWriter writer;
};

TEST(RouteData, AppliedWeightsOfAColumnAreTheRecordedOnesAndNothingElse) {
    const gs::TraceSnapshot trace = make_trace();
    RouteReader reader;
    reader.set_trace(trace);
    std::vector<float> column(static_cast<size_t>(trace.n_experts()));
    for (int token = 0; token < trace.n_tokens(); ++token) {
        reader.column(Quantity::kAppliedWeight, 1, token, column);
        const auto ids = trace.ids(1, token);
        EXPECT_EQ(std::count_if(column.begin(), column.end(), [](float v) { return !std::isnan(v); }), static_cast<long>(ids.size()));
        for (size_t slot = 0; slot < ids.size(); ++slot) EXPECT_EQ(column[ids[slot]], trace.weights(1, token)[slot]);
    }
}

TEST(RouteData, PreferenceSumsToOneAndRanksFollowIt) {
    const gs::TraceSnapshot trace = make_trace();
    RouteReader reader;
    reader.set_trace(trace);
    std::vector<float> column(16);
    reader.column(Quantity::kPreference, 2, 5, column);
    // 16 terms, each within a few roundings of its share of 1.
    EXPECT_NEAR(std::accumulate(column.begin(), column.end(), 0.0), 1.0, 16 * 4 * std::numeric_limits<float>::epsilon());
    std::vector<int> rank_seen(17, 0);
    for (int e = 0; e < 16; ++e) {
        const ExpertFacts facts = reader.facts(2, 5, e);
        EXPECT_EQ(facts.preference, column[static_cast<size_t>(e)]);
        ++rank_seen[static_cast<size_t>(facts.preference_rank)];
        // Softmax without bias: the chosen are exactly the k best by preference.
        EXPECT_EQ(facts.slot >= 0, facts.preference_rank <= 4) << e;
        EXPECT_EQ(facts.slot < 0, std::isnan(facts.weight));
    }
    for (int rank = 1; rank <= 16; ++rank) EXPECT_EQ(rank_seen[static_cast<size_t>(rank)], 1) << rank;
}

TEST(RouteData, MarginIsWorstChosenMinusBestRejectedAndAbsentWhenAllAreChosen) {
    RouteReader reader;
    const gs::TraceSnapshot trace = make_trace();
    reader.set_trace(trace);
    const auto logits = trace.logits(0, 7);
    std::vector<float> sorted(logits.begin(), logits.end());
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    EXPECT_EQ(reader.scalar(RouteScalar::kMargin, 0, 7), sorted[3] - sorted[4]);
    reader.set_trace(make_trace({.router = router_of(4, 4)}));
    EXPECT_TRUE(std::isnan(reader.scalar(RouteScalar::kMargin, 0, 7)));
}

TEST(RouteData, TokensUnderAnotherPolicyAreReadUnderIt) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 40, .n_prompt = 10, .policy = "k=2,mask@*=3"});
    RouteReader reader;
    reader.set_trace(trace);
    std::vector<float> column(16);
    reader.column(Quantity::kSelectionScore, 0, 5, column);
    EXPECT_FALSE(std::isnan(column[3]));
    reader.column(Quantity::kSelectionScore, 0, 20, column);
    EXPECT_TRUE(std::isnan(column[3])) << "a masked expert has no selection score";
    EXPECT_EQ(reader.facts(0, 5, 0).k, 4);
    EXPECT_EQ(reader.facts(0, 20, 0).k, 2);
}

TEST(TraceFollower, TellsAppendingFromAnotherRun) {
    Growing run;
    TraceFollower follower;
    const auto first = run.add(5, gs::Phase::kPrefill, 1);
    EXPECT_EQ(follower.update(first), 0);
    const uint64_t generation = follower.generation();
    EXPECT_EQ(follower.update(first), 5) << "unchanged: nothing is new";
    EXPECT_EQ(follower.update(run.add(3, gs::Phase::kDecode, 2)), 5);
    EXPECT_EQ(follower.generation(), generation);
    EXPECT_EQ(follower.update(make_trace({.n_tokens = 20})), 0);
    EXPECT_NE(follower.generation(), generation);
    EXPECT_EQ(follower.update({}), 0);
}

TEST(LayerStats, CountsSumToTokensTimesKAndSharesToK) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 200, .n_layers = 6, .n_dense = 1});
    RunStats stats;
    EXPECT_TRUE(stats.update(trace, gs::PhaseFilter::kBoth));
    EXPECT_FALSE(stats.update(trace, gs::PhaseFilter::kBoth)) << "the same trace is not counted twice";
    ASSERT_EQ(stats.n_layers(), trace.n_moe_layers());
    for (int m = 0; m < stats.n_layers(); ++m) {
        const LayerStats& layer = stats.layer(m);
        EXPECT_EQ(std::accumulate(layer.load.counts.begin(), layer.load.counts.end(), 0u), 200u * 4u);
        double shares = 0;
        for (int e = 0; e < 16; ++e) shares += layer.share(e);
        EXPECT_NEAR(shares, 4.0, 1e-12);
        EXPECT_EQ(layer.load.counts, gs::layer_load(trace, m, gs::PhaseFilter::kBoth).counts);
    }
}

TEST(LayerStats, PhasesAddUpToBoth) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 64, .n_prompt = 20});
    RunStats both, prefill, decode;
    both.update(trace, gs::PhaseFilter::kBoth);
    prefill.update(trace, gs::PhaseFilter::kPrefill);
    decode.update(trace, gs::PhaseFilter::kDecode);
    EXPECT_EQ(prefill.layer(0).load.n_tokens, 20u);
    EXPECT_EQ(decode.layer(0).load.n_tokens, 44u);
    for (size_t e = 0; e < 16; ++e)
        EXPECT_EQ(both.layer(3).load.counts[e], prefill.layer(3).load.counts[e] + decode.layer(3).load.counts[e]);
    EXPECT_TRUE(both.update(trace, gs::PhaseFilter::kDecode)) << "another phase is another answer";
    EXPECT_EQ(both.layer(3).load.counts, decode.layer(3).load.counts);
}

TEST(LayerStats, CountingAsTokensArriveEqualsCountingAtTheEnd) {
    Growing run;
    RunStats live;
    gs::TraceSnapshot last;
    for (uint32_t step = 0; step < 70; ++step) {             // past one chunk of the trace
        last = run.add(step == 0 ? 9 : 1, step == 0 ? gs::Phase::kPrefill : gs::Phase::kDecode, step + 1);
        EXPECT_TRUE(live.update(last, gs::PhaseFilter::kBoth));
    }
    for (int m = 0; m < live.n_layers(); ++m) EXPECT_EQ(live.layer(m).load.counts, gs::layer_load(last, m, gs::PhaseFilter::kBoth).counts);
    EXPECT_EQ(live.layer(0).load.n_tokens, 78u);
}

TEST(LayerStats, MixedKGivesTheMeanK) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 40, .n_prompt = 10, .policy = "k=2"});
    RunStats stats;
    stats.update(trace, gs::PhaseFilter::kBoth);
    EXPECT_EQ(stats.layer(0).load.n_assignments, 10u * 4u + 30u * 2u);
    EXPECT_DOUBLE_EQ(stats.layer(0).mean_k, 2.5);
    EXPECT_DOUBLE_EQ(stats.layer(0).null.share, 2.5 / 16);
}

TEST(LayerStats, NullsOfAUniformRouterMatchItsSimulation) {
    // The synthetic router draws k of E independently for each token when every logit is fresh noise: the mean of the metrics over many layers
    // must come close to the closed forms. 200 layers, so the mean's own noise is SD/√200; metrics vary by at most a third of themselves here.
    Growing run(200);
    const gs::TraceSnapshot trace = run.add(300, gs::Phase::kPrefill, 99);
    RunStats stats;
    stats.update(trace, gs::PhaseFilter::kBoth);
    for (const BalanceMetric metric : {BalanceMetric::kEntropy, BalanceMetric::kEffective, BalanceMetric::kCv, BalanceMetric::kGini, BalanceMetric::kMaxVio}) {
        double mean = 0;
        for (int m = 0; m < stats.n_layers(); ++m) mean += value_of(metric, stats.layer(m)) / stats.n_layers();
        const double null = null_of(metric, stats.layer(0));
        // 7 % = three standard errors (3 · 0.33 / √200) for the spread metrics; the extreme-value form of MaxVio is itself good to about 10 % at E = 16.
        EXPECT_NEAR(mean, null, (metric == BalanceMetric::kMaxVio ? 0.17 : 0.07) * null) << fact_of(metric).name;
    }
}

TEST(LayerStats, OrderByLoadFallsAndBreaksTiesByExpert) {
    gs::LayerLoad load;
    load.counts = {3, 7, 3, 0, 7};
    EXPECT_EQ(order_by_load(load), (std::vector<int>{1, 4, 0, 2, 3}));
    LayerStats stats;
    stats.load = load;
    EXPECT_EQ(stats.rank(4), 2);
    EXPECT_EQ(stats.rank(3), 5);
}

TEST(HeatmapPicture, AppendingFillsOnlyNewColumnsAndKeepsTheRevision) {
    Growing run;
    RoutePicture picture;
    const PictureSpec spec{.kind = PictureKind::kTokenExpert, .quantity = Quantity::kPreference, .moe_layer = 1};
    EXPECT_TRUE(picture.update(run.add(5, gs::Phase::kPrefill, 1), spec));
    const uint64_t revision = picture.revision();
    const gs::TraceSnapshot longer = run.add(2, gs::Phase::kDecode, 2);
    EXPECT_TRUE(picture.update(longer, spec));
    EXPECT_FALSE(picture.update(longer, spec));
    EXPECT_EQ(picture.revision(), revision) << "the heatmap then uploads the new columns alone";
    EXPECT_EQ(picture.n_cols(), 7);
    RoutePicture fresh;
    fresh.update(longer, spec);
    for (int col = 0; col < 7; ++col)
        for (int row = 0; row < 16; ++row) EXPECT_EQ(picture.value(col, row), fresh.value(col, row));
    PictureSpec other = spec;
    other.moe_layer = 2;
    EXPECT_TRUE(picture.update(longer, other));
    EXPECT_NE(picture.revision(), revision);
}

TEST(HeatmapPicture, SettingsThatAPictureDoesNotUseDoNotRebuildIt) {
    const gs::TraceSnapshot trace = make_trace();
    RoutePicture picture;
    picture.update(trace, {.kind = PictureKind::kTokenExpert, .token = 3});
    EXPECT_FALSE(picture.update(trace, {.kind = PictureKind::kTokenExpert, .scalar = RouteScalar::kMargin, .token = 9, .phase = gs::PhaseFilter::kDecode}));
}

TEST(HeatmapPicture, LayerByExpertShowsSharesAndLeavesDenseLayersWithoutValue) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 100, .n_layers = 5, .n_dense = 2});
    RoutePicture picture;
    picture.update(trace, {.kind = PictureKind::kLayerExpert});
    ASSERT_EQ(picture.n_rows(), 5);
    ASSERT_EQ(picture.n_cols(), 16);
    for (int layer = 0; layer < 5; ++layer) {
        double sum = 0;
        for (int e = 0; e < 16; ++e) sum += static_cast<double>(picture.value(e, layer));
        if (layer < 2) {
            EXPECT_TRUE(std::isnan(sum)) << "dense layer " << layer;
        } else {
            EXPECT_NEAR(sum, 4.0, 16 * 1e-6) << "shares of the tokens sum to k";
        }
    }
    EXPECT_EQ(picture.pick_of(3, 1).moe_layer, -1);
    EXPECT_EQ(picture.pick_of(3, 2), (Pick{.token = -1, .moe_layer = 0, .expert = 3}));
}

TEST(HeatmapPicture, PicksMapThereAndBack) {
    const gs::TraceSnapshot trace = make_trace({.n_layers = 5, .n_dense = 1});
    for (const PictureKind kind : {PictureKind::kTokenExpert, PictureKind::kLayerExpert, PictureKind::kTokenLayer}) {
        RoutePicture picture;
        picture.update(trace, {.kind = kind, .moe_layer = 2});
        const Pick pick = picture.pick_of(6, 3);
        EXPECT_EQ(picture.col_of(pick), 6);
        EXPECT_EQ(picture.row_of(pick), 3);
    }
    RoutePicture picture;
    picture.update(trace, {.kind = PictureKind::kTokenExpert, .moe_layer = 2});
    EXPECT_EQ(picture.row_of({.token = 1, .moe_layer = 0, .expert = 5}), -1) << "expert 5 of another layer is another expert";
}

TEST(HeatmapPicture, OneTokenShowsThatTokenInEveryLayer) {
    const gs::TraceSnapshot trace = make_trace();
    RoutePicture picture;
    picture.update(trace, {.kind = PictureKind::kLayerExpert, .quantity = Quantity::kAppliedWeight, .over_run = false, .token = 11});
    for (int layer = 0; layer < 4; ++layer) {
        const auto ids = trace.ids(layer, 11);
        for (size_t slot = 0; slot < ids.size(); ++slot) EXPECT_EQ(picture.value(ids[slot], layer), trace.weights(layer, 11)[slot]);
    }
}

TEST(HeatmapPicture, RangesAreFixedUnlessAskedForOrWithoutLimit) {
    const gs::TraceSnapshot trace = make_trace();
    RoutePicture picture;
    picture.update(trace, {.kind = PictureKind::kTokenExpert});
    EXPECT_EQ(color_range(picture, trace.info().router, false).high, 1);
    const ValueRange data = color_range(picture, trace.info().router, true);
    EXPECT_EQ(data.high, picture.data_range().high);
    EXPECT_LT(data.high, 1);
    EXPECT_EQ(data.low, 0) << "preferences start so near to 0 that the bar says 0";
    picture.update(trace, {.kind = PictureKind::kTokenExpert, .quantity = Quantity::kAppliedWeight});
    EXPECT_EQ(color_range(picture, trace.info().router, true).low, 0) << "what is not chosen weighs nothing";
    EXPECT_EQ(color_range(picture, trace.info().router, true).high, picture.data_range().high);
    picture.update(trace, {.kind = PictureKind::kTokenLayer, .scalar = RouteScalar::kEntropy});
    EXPECT_EQ(color_range(picture, trace.info().router, true).low > 0, picture.data_range().low >= 0.1f * picture.data_range().high);
    picture.update(trace, {.kind = PictureKind::kTokenLayer, .scalar = RouteScalar::kEntropy});
    EXPECT_FLOAT_EQ(color_range(picture, trace.info().router, false).high, std::log(16.0f));
    const ValueRange flat = RoutePicture().data_range();
    EXPECT_LT(flat.low, flat.high) << "never an empty range";
}

TEST(ValueAxis, TicksAreRoundAndReachNoFurtherThanTheAxis) {
    for (const double high : {0.03, 0.25, 0.6, 1.0, 7.3, 100.0}) {
        const auto ticks = axis_ticks(high, 5, false);
        EXPECT_GE(ticks.size(), 2u) << high;
        EXPECT_LE(ticks.size(), 5u) << high;
        EXPECT_EQ(ticks.front().value, 0);
        EXPECT_LE(ticks.back().value, high * (1 + 1e-9));
        EXPECT_GE(round_up_axis(high), high * (1 - 1e-9));
        EXPECT_LE(round_up_axis(high), 2 * high);
    }
    EXPECT_EQ(axis_ticks(0.25, 3, true).back().label, "20 %");
    EXPECT_EQ(round_up_axis(0), 1);
}

TEST(HistogramLayout, CellsStayReadableAtManyLayersAndNeverLeaveTheRoom) {
    for (const int n : {1, 7, 30, 48, 94}) {
        for (const auto& [width, height] : {std::pair{300.0f, 200.0f}, std::pair{640.0f, 360.0f}, std::pair{1400.0f, 800.0f}}) {
            const CellGrid grid = place_cells(n, width, height, 80, 54, 5);
            EXPECT_GE(grid.cell_width, 79.9f);
            EXPECT_GE(grid.cell_height, 53.9f);
            EXPECT_GE(grid.n_columns * grid.n_rows, n);
            EXPECT_LE(grid.cell_width * static_cast<float>(grid.n_columns) + 5.0f * static_cast<float>(grid.n_columns - 1), width + 0.1f);
            EXPECT_TRUE(grid.scrolls || grid.cell_height * static_cast<float>(grid.n_rows) <= height + 0.1f);
        }
    }
}

}  // namespace
}  // namespace app::test
