#include "tests/ops/moe_case.h"

#include <algorithm>
#include <cmath>

namespace gs::test {

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
