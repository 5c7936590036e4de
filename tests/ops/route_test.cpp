// The router op: every back end against route() of engine/routing, whose own tests say what is right.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/ops/backends.h"

namespace gs::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class RouteTest : public OpsTest {
protected:
    static constexpr int kFirstPosition = 1000;   // noise depends on it

    /// Routes rows of logits [T, E] at one layer and compares with the host, token by token. Ids must be equal, weights to a few roundings of a
    /// sum over E terms.
    void check(const LayerRouter& layer, const std::vector<float>& logits) {
        const int n_experts = layer.spec.n_experts, n = static_cast<int>(logits.size()) / n_experts;
        const int k = layer.policy.experts_per_token(layer.spec) + 2;   // room that must be left alone
        const std::unique_ptr<Routers> routers = m_ops->make_routers();
        LayerRouter other = layer;   // the layer before, which must not be looked at
        other.policy = {};
        const LayerRouter layers[] = {other, layer};
        routers->set(layers);
        Matrix in(n, n_experts, 3), weights(n, k);
        for (int t = 0; t < n; ++t) std::copy_n(logits.begin() + t * n_experts, n_experts, in.rows().row(t));
        std::vector<int32_t> ids(static_cast<size_t>(n * k), -7), n_used(static_cast<size_t>(n), -7);
        int32_t nonfinite = 0;
        m_ops->route({.routers = routers.get(), .layer = 1, .logits = in.rows(), .ids = ids.data(), .weights = weights.data.data(), .n_used = n_used.data(),
                      .k_stride = k, .nonfinite = &nonfinite, .first_position = kFirstPosition});
        float done = 0;
        m_ops->read(weights.data.data(), &done, 1);   // until it is done
        RouteRow row;
        bool any_nonfinite = false;
        for (int t = 0; t < n; ++t) {
            route(layer.spec, layer.policy, std::span(logits).subspan(static_cast<size_t>(t * n_experts), static_cast<size_t>(n_experts)), layer.selection_bias, row,
                  kFirstPosition + t);
            any_nonfinite = any_nonfinite || row.nonfinite;
            const auto first = ids.begin() + t * k;
            EXPECT_EQ(n_used[static_cast<size_t>(t)], row.k());
            EXPECT_EQ(std::vector<int32_t>(first, first + row.k()), row.ids) << "token " << t;
            EXPECT_EQ(std::count(first + row.k(), first + k, -7), k - row.k());
            for (int j = 0; j < row.k(); ++j)
                EXPECT_NEAR(weights.rows().row(t)[j], row.weights[static_cast<size_t>(j)],
                            (16 + 4 * n_experts) * kEpsilon * std::fabs(row.weights[static_cast<size_t>(j)]) + 1e-37);
        }
        EXPECT_EQ(nonfinite, any_nonfinite ? 1 : 0);
    }

    /// Logits far enough apart that no rounding changes their order: a shuffled ladder, for each token another one.
    std::vector<float> ladders(int n_tokens, int n_experts) {
        std::vector<float> all;
        for (int t = 0; t < n_tokens; ++t) {
            std::vector<float> one(static_cast<size_t>(n_experts));
            for (int e = 0; e < n_experts; ++e) one[static_cast<size_t>(e)] = 6.0f * static_cast<float>(e) / static_cast<float>(n_experts) - 3 + uniform(0, 1e-3f);
            std::shuffle(one.begin(), one.end(), m_random);
            all.insert(all.end(), one.begin(), one.end());
        }
        return all;
    }
};

INSTANTIATE_TEST_SUITE_P(Backends, RouteTest, testing::ValuesIn(all_backends()), [](const auto& row) { return row.param.name(); });

constexpr ScoreFn kScores[] = {ScoreFn::kSoftmax, ScoreFn::kSigmoid, ScoreFn::kSoftmaxAfterTopK, ScoreFn::kSqrtSoftplus, ScoreFn::kSparseMixer};

TEST_P(RouteTest, EveryScoreRenormalisedAndNot) {
    for (const ScoreFn score : kScores)
        for (const bool renormalise : {false, true})
            for (const int n_experts : {1, 5, 16, 33, 128}) {
                RouterSpec spec{.n_experts = n_experts, .n_used = std::min(4, n_experts), .score = score, .renormalise = renormalise};
                spec.scale = renormalise ? 2.5f : 1.0f;
                check({spec, {}, {}}, ladders(5, n_experts));
            }
}

TEST_P(RouteTest, EveryRuleAndWeightRule) {
    for (const GateRule rule : {GateRule::kNative, GateRule::kSoft, GateRule::kHard, GateRule::kTopK})
        for (const WeightRule weights : {WeightRule::kAsTrained, WeightRule::kSumToOne, WeightRule::kMatchNativeSum})
            for (const ScoreFn score : kScores) {
                LayerPolicy policy{.rule = rule, .k = 6, .temperature = 0.7f, .weight_rule = weights};
                check({{.n_experts = 24, .n_used = 3, .score = score}, policy, {}}, ladders(3, 24));
            }
}

TEST_P(RouteTest, TopPAndThresholdTakeAsManyAsTheHostDoes) {
    for (const ScoreFn score : kScores)
        for (const float share : {0.05f, 0.37f, 0.81f, 1.0f})
            for (const bool renormalise : {false, true})
                for (const int k : {0, 5}) {
                    LayerPolicy policy{.rule = GateRule::kTopP, .k = k, .temperature = 0.8f};
                    policy.p = policy.tau = share;
                    const RouterSpec spec{.n_experts = 33, .n_used = 6, .score = score, .renormalise = renormalise};
                    check({spec, policy, {}}, ladders(6, 33));
                    policy.weight_rule = WeightRule::kMatchNativeSum;
                    policy.masked.assign(33, 0);
                    policy.forced.assign(33, 0);
                    policy.masked[30] = policy.masked[4] = policy.forced[11] = policy.forced[2] = 1;
                    check({spec, policy, {}}, ladders(6, 33));
                    policy.rule = GateRule::kThreshold;
                    check({spec, policy, {}}, ladders(6, 33));
                    policy.forced.clear();
                    check({spec, policy, {}}, ladders(6, 33));
                }
}

TEST_P(RouteTest, NoiseIsTheHostsToTheBit) {
    for (const ScoreFn score : kScores) {
        LayerPolicy policy;
        policy.noise = 1.5f;
        policy.seed = 77;
        policy.layer = 13;
        check({{.n_experts = 24, .n_used = 5, .score = score}, policy, {}}, ladders(20, 24));
        check({{.n_experts = 24, .n_used = 5, .score = score}, policy, {}}, std::vector<float>(24 * 20, 0.25f));   // nothing but noise decides
        policy.weight_rule = WeightRule::kMatchNativeSum;
        policy.temperature = 2;
        check({{.n_experts = 24, .n_used = 5, .score = score}, policy, {}}, ladders(20, 24));
    }
}

TEST_P(RouteTest, ThePolicysBiasIsBesideTheModels) {
    std::vector<float> bias(16), own(16);
    for (size_t e = 0; e < 16; ++e) bias[e] = static_cast<float>(e % 5) * 0.11f, own[e] = static_cast<float>(e % 3) * -0.17f;
    for (const bool by_logits : {false, true})
        for (const bool of_model : {false, true}) {
            LayerPolicy policy;
            policy.bias = own;
            policy.bias[3] = NAN;   // last, not masked
            policy.weight_rule = WeightRule::kMatchNativeSum;
            const RouterSpec spec{.n_experts = 16, .n_used = 4, .score = ScoreFn::kSigmoid, .renormalise = true, .select_by_logits = by_logits};
            check({spec, policy, of_model ? std::span<const float>(bias) : std::span<const float>{}}, ladders(8, 16));
        }
}

TEST_P(RouteTest, MasksAndForcedExperts) {
    for (const ScoreFn score : kScores) {
        LayerPolicy policy{.rule = GateRule::kTopK, .k = 4};
        policy.masked.assign(16, 0);
        policy.forced.assign(16, 0);
        for (const size_t e : {1, 7, 8}) policy.masked[e] = 1;
        for (const size_t e : {2, 7, 15}) policy.forced[e] = 1;   // a mask is stronger
        check({{.n_experts = 16, .n_used = 2, .score = score}, policy, {}}, ladders(8, 16));
        policy.k = 1;   // fewer than are forced
        check({{.n_experts = 16, .n_used = 2, .score = score}, policy, {}}, ladders(8, 16));
        std::fill(policy.masked.begin(), policy.masked.end(), uint8_t{1});
        policy.masked[3] = 0;
        policy.k = 4;
        check({{.n_experts = 16, .n_used = 2, .score = score}, policy, {}}, ladders(2, 16));
    }
}

TEST_P(RouteTest, ZeroedAndSwappedExperts) {
    for (const ScoreFn score : kScores)
        for (const WeightRule weights : {WeightRule::kAsTrained, WeightRule::kSumToOne, WeightRule::kMatchNativeSum}) {
            LayerPolicy policy{.rule = GateRule::kTopK, .k = 6, .weight_rule = weights};
            policy.masked.assign(16, 0);
            policy.masked[4] = 1;
            for (int e = 0; e < 15; ++e) policy.swapped.push_back({e, e + 1});   // 3>4 would bring a masked one in
            policy.zeroed.assign(16, 0);
            for (const size_t e : {0, 5, 6, 11}) policy.zeroed[e] = 1;
            check({{.n_experts = 16, .n_used = 3, .score = score}, policy, {}}, ladders(16, 16));
            policy.swapped.clear();
            check({{.n_experts = 16, .n_used = 3, .score = score}, policy, {}}, ladders(4, 16));
            policy = {.swapped = {{2, 9}, {9, 2}, {15, 0}}};
            check({{.n_experts = 16, .n_used = 8, .score = score}, policy, {}}, ladders(16, 16));
        }
}

TEST_P(RouteTest, GroupsAndSelectionBias) {
    std::vector<float> bias(32);
    for (size_t e = 0; e < 32; ++e) bias[e] = static_cast<float>(e % 5) * 0.11f;
    for (const GroupScore group : {GroupScore::kTop2Sum, GroupScore::kMax})
        for (const bool biased : {false, true}) {
            RouterSpec spec{.n_experts = 32, .n_used = 6, .score = ScoreFn::kSigmoid, .renormalise = true, .scale = 2.5f, .n_groups = 8, .n_groups_used = 3, .group_score = group};
            check({spec, {}, biased ? std::span<const float>(bias) : std::span<const float>{}}, ladders(6, 32));
            LayerPolicy policy{.rule = GateRule::kTopK, .k = 20};   // more than the groups hold
            policy.forced.assign(32, 0);
            policy.forced[31] = 1;
            check({spec, policy, bias}, ladders(6, 32));
        }
    RouterSpec llama4{.n_experts = 32, .n_used = 1, .score = ScoreFn::kSigmoid, .select_by_logits = true};
    check({llama4, {}, bias}, ladders(4, 32));
}

TEST_P(RouteTest, TiesGoToTheLowerIndex) {
    for (const ScoreFn score : kScores) check({{.n_experts = 40, .n_used = 7, .score = score}, {}, {}}, std::vector<float>(80, 0.25f));
}

TEST_P(RouteTest, NotANumberComesLastAndIsReported) {
    std::vector<float> logits = ladders(4, 8);
    logits[2] = NAN;
    logits[8 + 5] = kInfinity;
    logits[16 + 1] = -kInfinity;
    for (const ScoreFn score : {ScoreFn::kSoftmax, ScoreFn::kSigmoid, ScoreFn::kSoftmaxAfterTopK})
        for (const int k : {2, 8}) check({{.n_experts = 8, .n_used = k, .score = score}, {}, {}}, logits);
    check({{.n_experts = 8, .n_used = 3}, {}, {}}, std::vector<float>(8, NAN));
}

TEST_P(RouteTest, AChangeOfRoutersIsInForceFromTheNextCall) {
    const std::vector<float> logits = ladders(1, 8);
    const std::unique_ptr<Routers> routers = m_ops->make_routers();
    Matrix in(1, 8), weights(1, 8);
    in.data = logits;
    std::vector<int32_t> ids(8);
    int32_t n_used = 0, nonfinite = 0;
    for (const int k : {2, 5, 1}) {
        LayerRouter layer{{.n_experts = 8, .n_used = 2}, {.rule = GateRule::kTopK, .k = k}, {}};
        if (k == 5) layer.policy.swapped.assign(500, {0, 1});   // needs more room than the call before
        routers->set({&layer, 1});
        m_ops->route({.routers = routers.get(), .logits = in.rows(), .ids = ids.data(), .weights = weights.data.data(), .n_used = &n_used, .k_stride = 8, .nonfinite = &nonfinite});
        float done = 0;
        m_ops->read(weights.data.data(), &done, 1);
        EXPECT_EQ(n_used, k);
    }
}

}  // namespace
}  // namespace gs::test
