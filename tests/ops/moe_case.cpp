#include "tests/ops/moe_case.h"

#include <algorithm>
#include <cmath>

namespace gs::test {

std::vector<MoeCase> mixtures_of_many_shapes() {
    using T = TensorType;
    return {{T::kIQ4_NL, T::kIQ4_NL, 64, 32, 8, 4, true, false, true}, {T::kQ5_0, T::kQ8_0, 96, 64, 5, 5, true, true, false},
            {T::kQ4_0, T::kQ4_1, 32, 96, 3, 2, false, false, true},    {T::kQ5_1, T::kF16, 64, 40, 4, 2, false, false, false},
            {T::kF32, T::kF32, 37, 19, 6, 3, true, true, true},        {T::kBF16, T::kQ8_0, 32, 32, 4, 1, true, false, false},
            {T::kQ4_K, T::kQ6_K, 256, 256, 4, 2, true, true, false},   {T::kIQ3_S, T::kMXFP4, 256, 32, 4, 2, true, false, true}};
}

std::vector<MoeCase> mixtures_of_every_activation() {
    using T = TensorType;
    std::vector<MoeCase> cases;
    for (const Activation activation : {Activation::kSilu, Activation::kGelu, Activation::kClampedSilu})
        for (const bool bias : {false, true}) {
            cases.push_back({T::kF32, T::kF32, 37, 19, 6, 3, true, true, true, activation, bias});
            cases.push_back({T::kQ8_0, T::kQ5_0, 64, 32, 4, 2, false, false, true, activation, bias});
        }
    return cases;
}

std::vector<MoeCase> mixtures_that_weigh_inputs() {
    using T = TensorType;
    std::vector<MoeCase> cases;
    for (const bool bias : {false, true}) {
        cases.push_back({T::kF32, T::kF32, 37, 19, 6, 3, true, false, true, Activation::kSilu, bias, true});
        cases.push_back({T::kQ8_0, T::kQ8_0, 64, 32, 4, 1, true, true, false, Activation::kSilu, bias, true});
    }
    return cases;
}

MoeInput random_routing(const MoeCase& c, int n_tokens, std::mt19937& random) {
    std::uniform_real_distribution<float> weight(0, 1);
    MoeInput in;
    for (int t = 0; t < n_tokens; ++t) {
        std::vector<int32_t> order(static_cast<size_t>(c.n_experts));
        for (int e = 0; e < c.n_experts; ++e) order[static_cast<size_t>(e)] = e;
        std::shuffle(order.begin(), order.end(), random);
        in.n_used.push_back(t == 0 ? c.k_stride : static_cast<int32_t>(random() % static_cast<unsigned>(c.k_stride + 1)));
        for (int j = 0; j < c.k_stride; ++j) {
            in.ids.push_back(j < in.n_used.back() ? order[static_cast<size_t>(j)] : -1);
            in.weights.push_back(j < in.n_used.back() ? weight(random) : NAN);
        }
        in.shared_scale.push_back(weight(random));
    }
    return in;
}

Bounded routed_sum(const MoeCase& c, const OwnedFfn& experts, const MoeInput& in, const float* x, int t, bool gate_rounds, bool down_rounds) {
    const auto n = static_cast<size_t>(c.n_embd);
    Bounded sum{std::vector<double>(n), std::vector<double>(n)};
    for (int j = 0; j < in.n_used[static_cast<size_t>(t)]; ++j) {
        const auto slot = static_cast<size_t>(t * c.k_stride + j);
        const double weight = static_cast<double>(in.weights[slot]);
        Bounded input = exactly(x, c.n_embd);
        if (c.weigh_input)
            for (size_t i = 0; i < n; ++i) {
                input.value[i] *= weight;
                input.bound[i] = 2 * kEpsilon * std::fabs(input.value[i]);   // one rounding, whichever of input and product is scaled
            }
        accumulate(sum, bounded_ffn(experts, in.ids[slot], input, gate_rounds, down_rounds), c.weigh_input ? 1 : weight);
    }
    return sum;
}

void expect_mixture(const MoeCase& c, const OwnedFfn& experts, const OwnedFfn& shared, const MoeInput& in, Matrix& x, Matrix& out, Matrix& routed,
                    bool gate_rounds, bool down_rounds) {
    for (int t = 0; t < x.n_rows; ++t) {
        const std::string what = "token " + std::to_string(t) + " of " + std::to_string(x.n_rows) + " " + tensor_type_info(c.gate_up).name;
        const float* row = x.rows().row(t);
        Bounded sum = routed_sum(c, experts, in, row, t, gate_rounds, down_rounds);
        if (c.routed) expect_within(routed.rows().row(t), sum, what + " routed");
        if (c.shared)
            accumulate(sum, bounded_ffn(shared, 0, exactly(row, c.n_embd), gate_rounds, down_rounds), c.scaled ? in.shared_scale[static_cast<size_t>(t)] : 1.0f);
        expect_within(out.rows().row(t), sum, what);
        for (int i = c.n_embd; i < out.stride; ++i) ASSERT_EQ(out.rows().row(t)[i], 5.0f);
        if (testing::Test::HasFatalFailure()) return;
    }
}

}  // namespace gs::test
