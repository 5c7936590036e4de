#include "engine/routing/what_if.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/make_trace.h"

namespace gs {
namespace {

TEST(WhatIf, ThePolicyOfTheRunReproducesIt) {
    for (bool bias : {false, true}) {
        const TraceSnapshot trace =
            test::make_trace({.n_tokens = 200, .n_layers = 5, .n_dense = 1, .selection_bias = bias, .n_prompt = 0, .policy = "k=2,k@3=7"});
        std::string why;
        EXPECT_TRUE(test::same_run(trace, what_if_trace(trace, *Policy::parse("k=2,k@3=7")), &why)) << why;
        EXPECT_FALSE(test::same_run(trace, what_if_trace(trace, Policy{}), &why));
    }
}

TEST(WhatIf, IsATraceOfItsOwnWithOtherRoutesAndItsProvenance) {
    const TraceSnapshot trace = test::make_trace({.n_tokens = 150, .n_layers = 3});
    const Policy policy = *Policy::parse("k=1,mask@1=3");
    const TraceSnapshot what_if = what_if_trace(trace, policy);
    EXPECT_EQ(what_if.info().provenance, Provenance::kWhatIf);
    EXPECT_EQ(trace.info().provenance, Provenance::kComputed) << "the run itself is untouched";
    EXPECT_NE(what_if.revision(), trace.revision());
    ASSERT_EQ(what_if.n_tokens(), 150);
    RouteRow row;
    for (int t = 0; t < 150; ++t) {
        EXPECT_EQ(what_if.policy(t), policy);
        EXPECT_EQ(what_if.token(t).text, trace.token(t).text);
        for (int m = 0; m < 3; ++m) {
            ASSERT_TRUE(std::ranges::equal(what_if.logits(m, t), trace.logits(m, t)));
            what_if_route(trace, m, t, policy.for_layer(m, 16), row);
            ASSERT_TRUE(std::ranges::equal(what_if.ids(m, t), row.ids));
            ASSERT_TRUE(std::ranges::equal(what_if.weights(m, t), row.weights));
            ASSERT_EQ(row.k(), 1);
            if (m == 1) {
                ASSERT_NE(row.ids[0], 3) << "masked in this layer";
            }
        }
    }
}

TEST(WhatIf, ALongRunIsDoneInPartsWithTheSameResult) {
    const TraceSnapshot trace =
        test::make_trace({.n_tokens = 3001, .n_layers = 20, .router = {.n_experts = 8, .n_used = 2}, .n_prompt = 0});
    std::string why;
    EXPECT_TRUE(test::same_run(trace, what_if_trace(trace, Policy{}), &why)) << why;
}

TEST(WhatIf, LayersOfThePolicyAreThoseOfTheModelNotRowsOfTheTrace) {
    const TraceSnapshot trace = test::make_trace({.n_tokens = 5, .n_layers = 4, .n_dense = 2});
    const TraceSnapshot what_if = what_if_trace(trace, *Policy::parse("k@2=1"));
    EXPECT_EQ(what_if.ids(0, 0).size(), 1u) << "row 0 is layer 2";
    EXPECT_EQ(what_if.ids(1, 0).size(), 4u);
}

TEST(WhatIf, AnswersForTheTokensOfItsSnapshotOnly) {
    TraceWriter writer(test::make_trace_info({.n_layers = 1}));
    std::vector<float> logits(16, 0.0f);
    const std::vector<int32_t> ids = {0};
    const std::vector<float> weights = {1};
    TraceSnapshot early;
    for (int t = 0; t < 10; ++t) {
        logits[static_cast<size_t>(t)] = 9;
        const TokenRow row;
        writer.begin_tokens(std::span(&row, 1), Policy{});
        writer.set_route(0, 0, logits, ids, weights);
        writer.publish();
        if (t == 4) early = writer.snapshot();
    }
    EXPECT_EQ(what_if_trace(early, Policy{}).n_tokens(), 5);
    EXPECT_TRUE(what_if_trace(TraceSnapshot{}, Policy{}).empty());
}

}  // namespace
}  // namespace gs
