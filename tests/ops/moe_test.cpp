// Mixtures: every back end against f64, with bounds carried through gate, up and down.
#include <algorithm>

#include "tests/ops/moe_case.h"

namespace gs::test {
namespace {

class MoeTest : public OpsTest {
protected:
    Bounded routed_sum(const MoeCase& c, const OwnedFfn& experts, const MoeInput& in, const float* x, int t) {
        return test::routed_sum(c, experts, in, x, t, rounds(c.gate_up), rounds(c.down));
    }

    void check(const MoeCase& c, int n_tokens) {
        OwnedFfn experts(c.gate_up, c.down, c.n_embd, c.width, m_random, c.n_experts);
        OwnedFfn shared(c.gate_up, c.down, c.n_embd, 2 * c.width, m_random);
        for (OwnedFfn* f : {&experts, &shared}) {
            f->weights.activation = c.activation;
            if (c.bias) f->use_bias();
        }
        const MoeInput in = random_routing(c, n_tokens, m_random);
        Matrix x(n_tokens, c.n_embd, 3), out(n_tokens, c.n_embd, 7), routed(n_tokens, c.n_embd);
        x.data = values(x.data.size());
        std::fill(out.data.begin(), out.data.end(), 5.0f);
        MoeCall call{x.rows(), &experts.weights, in.ids.data(), in.weights.data(), in.n_used.data(), c.k_stride, c.weigh_input};
        if (c.shared) call.shared = &shared.weights;
        if (c.scaled) call.shared_scale = in.shared_scale.data();
        call.out = out.rows();
        if (c.routed) call.routed = routed.rows();
        m_ops->moe(call);
        expect_mixture(c, experts, shared, in, x, out, routed, rounds(c.gate_up), rounds(c.down));
    }

    void check_all(const std::vector<MoeCase>& cases, int n_tokens) {
        for (const MoeCase& c : cases)
            if (!HasFatalFailure()) check(c, n_tokens);
    }
};

INSTANTIATE_TEST_SUITE_P(Backends, MoeTest, testing::ValuesIn(all_backends()), [](const auto& row) { return row.param.name(); });

TEST_P(MoeTest, RoutedAndSharedExpertsAddUpForAnyNumberOfUsedSlots) {
    for (const int n_tokens : {1, 2, 7, 33}) check_all(mixtures_of_many_shapes(), n_tokens);
}

TEST_P(MoeTest, EveryActivationWithAndWithoutBiases) {
    for (const int n_tokens : {1, 9}) check_all(mixtures_of_every_activation(), n_tokens);
}

TEST_P(MoeTest, WeightsMayMultiplyTheInput) {
    for (const int n_tokens : {1, 2, 20}) check_all(mixtures_that_weigh_inputs(), n_tokens);
}

TEST_P(MoeTest, MoreTokensThanOneTaskTakesGoThroughOneExpert) {
    check({TensorType::kQ4_0, TensorType::kQ4_0, 32, 32, 1, 1, false, false, true}, 300);
}

TEST_P(MoeTest, NoExpertUsedGivesZeroOrTheSharedExpertAlone) {
    const OwnedFfn experts(TensorType::kQ8_0, TensorType::kQ8_0, 64, 32, m_random, 4), shared(TensorType::kQ8_0, TensorType::kQ8_0, 64, 64, m_random);
    for (const int n_tokens : {1, 6}) {
        const std::vector<int32_t> ids(static_cast<size_t>(n_tokens) * 2, -1), n_used(static_cast<size_t>(n_tokens), 0);
        const std::vector<float> weights(ids.size(), NAN);
        Matrix x(n_tokens, 64), out(n_tokens, 64), alone(n_tokens, 64);
        x.data = values(x.data.size());
        std::fill(out.data.begin(), out.data.end(), 5.0f);
        MoeCall call{x.rows(), &experts.weights, ids.data(), weights.data(), n_used.data(), 2};
        call.out = out.rows();
        m_ops->moe(call);
        for (const float v : out.data) EXPECT_EQ(v, 0.0f);
        call.shared = &shared.weights;
        m_ops->moe(call);
        m_ops->ffn(shared.weights, x.rows(), alone.rows());
        EXPECT_EQ(out.data, alone.data);
    }
}

TEST_P(MoeTest, DenseNetworkStaysWithinItsBound) {
    for (const TensorType type : {TensorType::kF32, TensorType::kQ4_1, TensorType::kIQ4_NL})
        for (const int n_tokens : {1, 3, 17}) {
            const OwnedFfn f(type, type, 96, 160, m_random);
            Matrix x(n_tokens, 96), out(n_tokens, 96, 4);
            x.data = values(x.data.size());
            m_ops->ffn(f.weights, x.rows(), out.rows());
            for (int t = 0; t < n_tokens; ++t)
                expect_within(out.rows().row(t), bounded_ffn(f, 0, exactly(x.rows().row(t), 96), rounds(type), rounds(type)), "ffn");
        }
}

TEST_P(MoeTest, EveryExpertOnOneInputEqualsEachAlone) {
    OwnedFfn experts(TensorType::kQ5_0, TensorType::kIQ4_NL, 64, 32, m_random, 6);
    experts.use_bias();
    experts.weights.activation = Activation::kClampedSilu;
    Matrix x(1, 64), out(6, 64, 2);
    x.data = values(64);
    m_ops->all_experts(experts.weights, x.rows(), out.rows());
    for (int e = 0; e < 6; ++e)
        expect_within(out.rows().row(e), bounded_ffn(experts, e, exactly(x.data.data(), 64), rounds(TensorType::kQ5_0), rounds(TensorType::kIQ4_NL)),
                      "expert " + std::to_string(e));
}

TEST_P(MoeTest, ATokensResultIsTheSameInAnyBatchToWithinRounding) {
    const OwnedFfn experts(TensorType::kIQ4_NL, TensorType::kIQ4_NL, 64, 32, m_random, 8);
    const MoeCase shape{TensorType::kIQ4_NL, TensorType::kIQ4_NL, 64, 32, 8, 4, false, false, false};
    const MoeInput in = random_routing(shape, 12, m_random);
    Matrix x(12, 64), batch(12, 64), single(12, 64);
    x.data = values(x.data.size());
    MoeCall call{x.rows(), &experts.weights, in.ids.data(), in.weights.data(), in.n_used.data(), 4};
    call.out = batch.rows();
    m_ops->moe(call);
    for (int t = 0; t < 12; ++t) {
        MoeCall one = call;
        one.x = x.rows().from(t, 1);
        one.out = single.rows().from(t, 1);
        one.ids = in.ids.data() + t * 4;
        one.weights = in.weights.data() + t * 4;
        one.n_used = in.n_used.data() + t;
        m_ops->moe(one);
    }
    // Another order of summation may move a hidden value across a rounding step: each may be off by the bound of the whole network.
    for (int t = 0; t < 12; ++t) {
        const Bounded sum = routed_sum(shape, experts, in, x.rows().row(t), t);
        for (int i = 0; i < 64; ++i) EXPECT_NEAR(batch.rows().row(t)[i], single.rows().row(t)[i], 2 * sum.bound[static_cast<size_t>(i)]);
    }
}

}  // namespace
}  // namespace gs::test
