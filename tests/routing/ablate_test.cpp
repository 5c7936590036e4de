// Zero and swap: what they do to the chosen experts and what they leave alone, by hand and against an oracle.
#include "engine/routing/ablate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace gs {
namespace {

struct Slots {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    bool operator==(const Slots&) const = default;
};

Slots ablated(const LayerPolicy& policy, Slots slots) {
    ablate(policy, slots.ids, slots.weights);
    return slots;
}

LayerPolicy swapping(std::vector<ExpertSwap> swaps) { return {.swapped = std::move(swaps)}; }

LayerPolicy zeroing(std::vector<uint8_t> zeroed) { return {.zeroed = std::move(zeroed)}; }

TEST(Ablate, ZeroTakesOneContributionAndLeavesTheOtherWeights) {
    EXPECT_EQ(ablated(zeroing({0, 1, 0, 1}), {{1, 2}, {0.75f, 0.25f}}), (Slots{{1, 2}, {0, 0.25f}}));
    EXPECT_EQ(ablated(zeroing({1, 0, 0, 0}), {{1, 2}, {0.75f, 0.25f}}), (Slots{{1, 2}, {0.75f, 0.25f}})) << "not chosen";
}

TEST(Ablate, SwapRunsTheOtherWithTheSameWeight) {
    EXPECT_EQ(ablated(swapping({{1, 3}}), {{1, 2}, {0.75f, 0.25f}}), (Slots{{3, 2}, {0.75f, 0.25f}}));
    EXPECT_EQ(ablated(swapping({{1, 2}}), {{1, 2}, {0.75f, 0.25f}}), (Slots{{2, 1}, {0.75f, 0.25f}})) << "both chosen: exchanged";
    EXPECT_EQ(ablated(swapping({{3, 1}}), {{1, 2}, {0.75f, 0.25f}}), (Slots{{1, 2}, {0.75f, 0.25f}})) << "only where the first is chosen";
    EXPECT_EQ(ablated(swapping({{1, 3}, {3, 0}}), {{1, 2}, {0.75f, 0.25f}}), (Slots{{0, 2}, {0.75f, 0.25f}})) << "in order";
}

TEST(Ablate, ASwapNeverBringsAMaskedExpertIn) {
    LayerPolicy policy = swapping({{1, 3}});
    policy.masked = {0, 0, 0, 1};
    EXPECT_EQ(ablated(policy, {{1, 2}, {0.75f, 0.25f}}), (Slots{{1, 2}, {0.75f, 0.25f}}));
}

TEST(Ablate, ZeroHoldsForWhoeverRunsAfterTheSwap) {
    LayerPolicy policy = swapping({{1, 3}});
    policy.zeroed = {0, 0, 0, 1};
    EXPECT_EQ(ablated(policy, {{1, 2}, {0.75f, 0.25f}}), (Slots{{3, 2}, {0, 0.25f}}));
    policy.zeroed = {0, 1, 0, 0};
    EXPECT_EQ(ablated(policy, {{1, 2}, {0.75f, 0.25f}}), (Slots{{3, 2}, {0.75f, 0.25f}})) << "it does not run any more";
}

/// The rest of the policy decides as it does without: only the named experts' slots differ.
TEST(Ablate, RouteDiffersFromTheSamePolicyWithoutOnlyInTheNamedSlots) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    constexpr int kExperts = 12;
    for (int i = 0; i < 500; ++i) {
        RouterSpec spec{.n_experts = kExperts, .n_used = 4, .renormalise = i % 2 == 0};
        LayerPolicy plain{.rule = i % 3 == 0 ? GateRule::kNative : GateRule::kTopK, .k = 5, .weight_rule = static_cast<WeightRule>(i % 3)};
        LayerPolicy policy = plain;
        policy.zeroed.assign(kExperts, 0);
        policy.zeroed[random() % kExperts] = 1;
        const int from = static_cast<int>(random() % kExperts), to = (from + 1 + static_cast<int>(random() % (kExperts - 1))) % kExperts;
        policy.swapped = {{from, to}};
        std::vector<float> logits(kExperts);
        for (float& z : logits) z = normal(random);
        RouteRow a, b;
        route(spec, plain, logits, {}, a);
        route(spec, policy, logits, {}, b);
        ASSERT_EQ(a.k(), b.k());
        EXPECT_EQ(a.preference, b.preference);
        EXPECT_EQ(a.selection, b.selection);
        const bool has_from = std::count(a.ids.begin(), a.ids.end(), from) > 0;
        for (size_t j = 0; j < a.ids.size(); ++j) {
            const int32_t expected = !has_from ? a.ids[j] : a.ids[j] == from ? to : a.ids[j] == to ? from : a.ids[j];
            EXPECT_EQ(b.ids[j], expected);
            EXPECT_EQ(b.weights[j], policy.zeroed[static_cast<size_t>(expected)] ? 0 : a.weights[j]);
        }
    }
}

}  // namespace
}  // namespace gs
