// The gating comparison from recorded logits, and what the engine's answer adds; the policy taken apart and joined.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "app/views/gates_panel_data.h"
#include "app/views/layer_policy_panel_edit.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

gs::LayerPolicy topk(int k) {
    gs::LayerPolicy policy;
    policy.rule = gs::GateRule::kTopK;
    policy.k = k;
    return policy;
}

/// An engine answer on random expert outputs for that token.
gs::GateComparison answer_for(const gs::TraceSnapshot& trace, int moe_layer, int token, const gs::LayerPolicy& policy) {
    gs::Decoder::Probe probe;
    const auto logits = trace.logits(moe_layer, token);
    probe.router_logits.assign(logits.begin(), logits.end());
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    probe.expert_outputs.resize(logits.size() * 8);
    for (float& v : probe.expert_outputs) v = normal(random);
    gs::GateComparison answer = gs::compare_gates(trace.info().router, policy, {}, probe);
    answer.token = token;
    answer.moe_layer = moe_layer;
    return answer;
}

TEST(GateData, RulesHoldTheirDefinitions) {
    const gs::TraceSnapshot trace = make_trace();
    const GateData data = gate_data(trace, 1, 9, topk(2));
    ASSERT_EQ(data.rules.size(), 4u);
    const GateRule &soft = data.rules[0], &hard = data.rules[1], &native = data.rules[2], &policy = data.rules[3];
    EXPECT_EQ(soft.k, 16);
    EXPECT_EQ(hard.k, 1);
    EXPECT_EQ(native.k, 4);
    EXPECT_EQ(data.native_k, 4);
    EXPECT_EQ(policy.k, 2);
    // Sums of up to 16 floats near 1.
    EXPECT_NEAR(soft.sum, 1, 1e-5);
    EXPECT_NEAR(native.sum, 1, 1e-5);
    EXPECT_NEAR(soft.kept, 1, 1e-5);
    const auto best = static_cast<size_t>(data.by_score[0]);
    EXPECT_GT(hard.weights[best], 0);
    EXPECT_EQ(std::count_if(policy.weights.begin(), policy.weights.end(), [](float w) { return w > 0; }), 2);
    // Recorded and recomputed native weights are the same numbers.
    for (size_t slot = 0; slot < 4; ++slot) EXPECT_EQ(native.weights[trace.ids(1, 9)[slot]], trace.weights(1, 9)[slot]);
    EXPECT_FALSE(soft.errors.has_value()) << "outputs need the model";
    EXPECT_FALSE(data.curve.has_errors());
}

TEST(GateData, KeptPreferenceGrowsToAllOfIt) {
    const GateData data = gate_data(make_trace(), 0, 3, {});
    ASSERT_EQ(data.curve.kept.size(), 16u);
    for (size_t i = 1; i < 16; ++i) EXPECT_GE(data.curve.kept[i], data.curve.kept[i - 1]);
    EXPECT_NEAR(data.curve.kept.back(), 1, 1e-5);
    EXPECT_NEAR(data.curve.kept[3], data.rules[2].kept, 1e-12);
}

TEST(GateData, TheEnginesAnswerGivesEachRuleItsOwnError) {
    const gs::TraceSnapshot trace = make_trace();
    const gs::GateComparison answer = answer_for(trace, 1, 9, topk(2));
    GateData data = gate_data(trace, 1, 9, topk(2));
    add_errors(data, answer, true);
    ASSERT_TRUE(data.curve.has_errors());
    ASSERT_TRUE(data.rules[3].errors.has_value());
    EXPECT_EQ(data.rules[0].errors->vs_soft, 0);
    EXPECT_EQ(data.rules[2].errors->vs_native, 0);
    EXPECT_EQ(data.rules[1].errors->vs_soft, answer.find("hard")->error_vs_soft);
    EXPECT_EQ(data.rules[3].errors->vs_soft, answer.find("topk", 2)->error_vs_soft);
    EXPECT_EQ(data.curve.error_vs_native[3], answer.find("topk", 4)->error_vs_native);
    EXPECT_EQ(data.output_norms.size(), 16u);
}

TEST(GateData, APolicyBeingTriedBorrowsTheErrorOfTheRuleWithItsWeights) {
    const gs::TraceSnapshot trace = make_trace();
    const gs::GateComparison answer = answer_for(trace, 1, 9, {});
    GateData tried = gate_data(trace, 1, 9, topk(3));
    add_errors(tried, answer, false);
    ASSERT_TRUE(tried.rules[3].errors.has_value());
    EXPECT_EQ(tried.rules[3].errors->vs_soft, answer.find("topk", 3)->error_vs_soft);
    gs::LayerPolicy masked = topk(3);
    masked.masked.assign(16, 0);
    masked.masked[static_cast<size_t>(tried.by_score[0])] = 1;
    GateData unknown = gate_data(trace, 1, 9, masked);
    add_errors(unknown, answer, false);
    EXPECT_FALSE(unknown.rules[3].errors.has_value()) << "no rule of the answer has these weights";
}

TEST(GateData, AnAnswerOfAnotherWidthIsNotDrawn) {
    GateData data = gate_data(make_trace({.router = {.n_experts = 8, .n_used = 2, .renormalise = true}}), 1, 9, {});
    add_errors(data, answer_for(make_trace(), 1, 9, {}), true);
    EXPECT_FALSE(data.curve.has_errors());
}

TEST(LayerPolicyEdit, SplittingAndJoiningKeepsEveryLayersRule) {
    const std::vector<int> moe_layers = {1, 2, 3, 5, 6, 7, 9};
    for (const char* text : {"native", "k=2", "soft", "k=2,k@2-5=1", "k@*=3,k@5=1,mask@3-6=5:9,force@6=1", "rule@2=soft,temp@1-9=0.5,weights=one", "mask@*=0,mask@5=2", "zero@3-6=5:9,swap@5=1>2:3>4,swap@*=2>7"}) {
        const auto policy = gs::Policy::parse(text);
        ASSERT_TRUE(policy) << text;
        const gs::Policy joined = join_layers(*policy, split_layers(*policy, moe_layers), moe_layers);
        for (int layer : moe_layers) {
            const gs::LayerPolicy a = policy->for_layer(layer, 16), b = joined.for_layer(layer, 16);
            EXPECT_EQ(a.rule, b.rule) << text << " at layer " << layer;
            EXPECT_EQ(a.k, b.k) << text << " at layer " << layer;
            EXPECT_EQ(a.temperature, b.temperature) << text;
            EXPECT_EQ(a.weight_rule, b.weight_rule) << text;
            EXPECT_EQ(a.masked, b.masked) << text << " at layer " << layer;
            EXPECT_EQ(a.forced, b.forced) << text << " at layer " << layer;
            EXPECT_EQ(a.zeroed, b.zeroed) << text << " at layer " << layer;
            EXPECT_EQ(a.swapped, b.swapped) << text << " at layer " << layer;
        }
        const auto again = gs::Policy::parse(joined.to_text());
        ASSERT_TRUE(again) << joined.to_text();
        EXPECT_EQ(again->for_layer(5, 16).k, joined.for_layer(5, 16).k);
    }
}

TEST(LayerPolicyEdit, EqualNeighboursShareOneItem) {
    const std::vector<int> moe_layers = {0, 1, 2, 3};
    std::vector<LayerEdit> edits(4);
    const gs::RouterSpec spec{.n_experts = 16, .n_used = 4};
    for (int m = 1; m < 4; ++m) set_layer_k(edits[static_cast<size_t>(m)], {}, spec, 2);
    EXPECT_EQ(join_layers({}, edits, moe_layers).to_text(), "k@1-3=2");
    set_layer_k(edits[2], {}, spec, 4);
    EXPECT_TRUE(edits[2].empty()) << "the model's own k is no edit";
    EXPECT_EQ(join_layers({}, edits, moe_layers).to_text(), "k@1=2,k@3=2");
}

TEST(LayerPolicyEdit, AnExpertIsMaskedOrForcedNeverBoth) {
    LayerEdit edit;
    set_state(edit, 5, ExpertState::kMasked);
    set_state(edit, 2, ExpertState::kMasked);
    EXPECT_EQ(edit.masked, (std::vector<int>{2, 5}));
    set_state(edit, 5, ExpertState::kForced);
    EXPECT_EQ(state_of(edit, 5), ExpertState::kForced);
    EXPECT_EQ(edit.masked, (std::vector<int>{2}));
    set_state(edit, 5, ExpertState::kFree);
    set_state(edit, 2, ExpertState::kFree);
    EXPECT_TRUE(edit.empty());
}

}  // namespace
}  // namespace app::test
