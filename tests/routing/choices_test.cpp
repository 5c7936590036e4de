#include "engine/routing/choices.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "engine/routing/what_if.h"
#include "tests/support/make_trace.h"

namespace gs {
namespace {

/// Round to nearest even, as hardware does.
float to_bf16(float x) {
    uint32_t bits = std::bit_cast<uint32_t>(x);
    bits += 0x7fff + (bits >> 16 & 1);
    return std::bit_cast<float>(bits & 0xffff0000u);
}

Choice choice_of(const RouterSpec& spec, const LayerPolicy& policy, const std::vector<float>& logits, LogitError error = {}, const std::vector<float>& bias = {},
                 std::vector<uint16_t> used = {}) {
    RouteRow row;
    route(spec, policy, logits, bias, row);
    if (used.empty()) used.assign(row.ids.begin(), row.ids.end());
    Choice out;
    describe_choice(spec, policy, !bias.empty(), logits, row, used, error, out);
    return out;
}

TEST(Choices, HalfAStepOfBf16IsTheMostThatRoundingMoves) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> values(-30, 30);
    float largest_share = 0;
    for (int i = 0; i < 20000; ++i) {
        const float x = values(random), moved = std::fabs(to_bf16(x) - x);
        ASSERT_LE(moved, half_bf16_step(x)) << x;
        largest_share = std::max(largest_share, moved / half_bf16_step(x));
    }
    EXPECT_GT(largest_share, 0.99f);
    EXPECT_EQ(half_bf16_step(1.0f), 1.0f / 256);
    EXPECT_EQ(half_bf16_step(-5.0f), 4.0f / 256);
    EXPECT_EQ(half_bf16_step(0.0f), 0);
}

TEST(Choices, TheBorderLiesBetweenWorstChosenAndBestRejected) {
    const RouterSpec spec{.n_experts = 5, .n_used = 2};
    const Choice clear = choice_of(spec, {}, {3, 1, 2, 0, -1});
    EXPECT_EQ(clear.worst_chosen, 2);
    EXPECT_EQ(clear.best_rejected, 1);
    EXPECT_FALSE(clear.is_tie || clear.is_fragile);
    const Choice tie = choice_of(spec, {}, {3, 1, 2, 2, 2});
    EXPECT_EQ(tie.worst_chosen, 2);
    EXPECT_EQ(tie.best_rejected, 3);
    EXPECT_TRUE(tie.is_tie && tie.is_fragile);
    EXPECT_EQ(choice_of(spec, {.rule = GateRule::kSoft}, {3, 1, 2, 2, 2}).worst_chosen, -1) << "all are chosen: no border";
    LayerPolicy forced{.rule = GateRule::kTopK, .k = 2};
    forced.forced = {0, 0, 0, 0, 1};
    forced.masked = {0, 0, 1, 0, 0};
    const Choice free = choice_of(spec, forced, {3, 1, 2, 0, -1});
    EXPECT_EQ(free.worst_chosen, 0) << "a forced expert is no matter of the score";
    EXPECT_EQ(free.best_rejected, 1) << "nor is a masked one";
}

/// What "fragile" promises: rounding the logits to bf16 changes the set only where a choice was called fragile, and it often is then.
TEST(Choices, NoChoiceThatRoundingToBf16ChangesIsCalledClear) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal(0, 1.5f);
    int n_changed = 0, n_fragile = 0;
    for (const bool biased : {false, true}) {
        std::vector<float> bias;
        for (int e = 0; biased && e < 64; ++e) bias.push_back(0.05f * normal(random));
        const RouterSpec spec{.n_experts = 64, .n_used = 8, .score = ScoreFn::kSigmoid};
        for (int i = 0; i < 3000; ++i) {
            std::vector<float> logits(64), rounded(64);
            for (size_t e = 0; e < 64; ++e) rounded[e] = to_bf16(logits[e] = normal(random));
            RouteRow exact, coarse;
            route(spec, {}, logits, bias, exact);
            route(spec, {}, rounded, bias, coarse);
            std::sort(exact.ids.begin(), exact.ids.end());
            std::sort(coarse.ids.begin(), coarse.ids.end());
            const bool fragile = choice_of(spec, {}, logits, {}, bias).is_fragile;
            n_fragile += fragile;
            n_changed += exact.ids != coarse.ids;
            ASSERT_TRUE(fragile || exact.ids == coarse.ids) << i;
        }
    }
    EXPECT_GT(n_changed, 20);
    EXPECT_LT(n_fragile, 12 * n_changed) << "and it does not cry wolf";
}

TEST(Choices, AnErrorGivenIsComparedWithTheGapOfTheLogits) {
    const RouterSpec spec{.n_experts = 3, .n_used = 1};
    EXPECT_FALSE(choice_of(spec, {}, {1.0f, 0.8f, 0}, {.rms = 0.1f}).is_fragile) << "0.2 > 0.141";
    EXPECT_TRUE(choice_of(spec, {}, {1.0f, 0.8f, 0}, {.rms = 0.15f}).is_fragile);
    EXPECT_FALSE(choice_of(spec, {}, {1.0f, 0.8f, 0}).is_fragile) << "bf16 knows them to 0.004 and 0.002";
}

TEST(Choices, WhatACapacityDroppedIsFoundAgainInTheTrace) {
    const TraceSnapshot run = test::make_trace({.n_tokens = 300, .n_layers = 2, .n_prompt = 200});
    const Policy policy = *Policy::parse("capacity=0.75");
    const TraceSnapshot what_if = what_if_trace(run, policy);
    ChoiceReader reader;
    uint64_t n_dropped = 0;
    for (int m = 0; m < 2; ++m)
        for (int t = 0; t < 300; ++t) {
            const Choice& choice = reader.read(what_if, m, t, {});
            RouteRow row;
            what_if_route(run, m, t, LayerPolicy{}, row);
            ASSERT_EQ(choice.dropped.size() + what_if.ids(m, t).size(), row.ids.size());
            for (const int32_t id : choice.dropped) EXPECT_EQ(std::count(what_if.ids(m, t).begin(), what_if.ids(m, t).end(), id), 0);
            n_dropped += choice.dropped.size();
            EXPECT_TRUE(reader.read(run, m, t, {}).dropped.empty());
        }
    EXPECT_GT(n_dropped, 0u);
    const ChoicesByPosition parts = choices_by_position(what_if, 10, {});
    ASSERT_EQ(parts.bins.size(), 10u);
    ChoiceCounts all;
    for (const auto& bin : parts.bins) all += bin.counts;
    EXPECT_EQ(all.dropped, n_dropped);
    EXPECT_EQ(all.wanted, 300u * 2 * 4);
    EXPECT_EQ(all.decisions, 600u);
    EXPECT_EQ(parts.bins[0].counts.dropped, 0u) << "experts fill up in token order";
    EXPECT_GT(parts.bins[6].counts.dropped_share(), parts.bins[3].counts.dropped_share());
    EXPECT_EQ(parts.bins.back().end_token, 300);
}

}  // namespace
}  // namespace gs
