// Mixtures to test: their shapes, random routing, and what the chosen experts of a token add up to.
#pragma once

#include "tests/ops/backends.h"

namespace gs::test {

struct MoeCase {
    TensorType gate_up, down;
    int n_embd, width, n_experts, k_stride;
    bool shared, scaled, routed;
    Activation activation = Activation::kSilu;
    bool bias = false, weigh_input = false;
};

/// Of many types and shapes, with and without a shared expert, its scale, and the routed sum on its own.
std::vector<MoeCase> mixtures_of_many_shapes();
/// Every activation, with and without biases.
std::vector<MoeCase> mixtures_of_every_activation();
/// Weights multiply the input, with and without biases.
std::vector<MoeCase> mixtures_that_weigh_inputs();

/// Shapes as in MoeCall.
struct MoeInput {
    std::vector<int32_t> ids, n_used;
    std::vector<float> weights, shared_scale;
};

/// 0 to k_stride experts a token (the first has all), distinct, in random order. Unused slots hold what must not be read.
MoeInput random_routing(const MoeCase& c, int n_tokens, std::mt19937& random);

/// Of token t, whose input is x [n_embd]. gate_rounds, down_rounds: the products with these matrices round their input.
Bounded routed_sum(const MoeCase& c, const OwnedFfn& experts, const MoeInput& in, const float* x, int t, bool gate_rounds, bool down_rounds);

/// Whether out, and where the case has it routed, hold what each token's experts add up to, and the gaps between rows of out the 5 they held.
void expect_mixture(const MoeCase& c, const OwnedFfn& experts, const OwnedFfn& shared, const MoeInput& in, Matrix& x, Matrix& out, Matrix& routed,
                    bool gate_rounds, bool down_rounds);

}  // namespace gs::test
