// Mixtures of the emulated device against f64, with bounds carried through gate, up and down.
#include <algorithm>

#include "engine/ops/cuda/gemm.cuh"
#include "engine/ops/cuda/moe.cuh"
#include "tests/cuda/device_data.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/ops/moe_case.h"

namespace gs::test {
namespace {

using T = TensorType;

std::vector<float> vector_of(const Weight& w) {
    std::vector<float> all;
    for (int s = 0; s < w.n_slabs; ++s) {
        std::vector<float> values(static_cast<size_t>(w.n_in));
        tensor_type_info(w.type).dequantize(w.row(0, s), values.size(), values.data());
        all.insert(all.end(), values.begin(), values.end());
    }
    return all;
}

struct DeviceNetwork {
    explicit DeviceNetwork(const OwnedFfn& f)
        : gate(f.gate.weight), up(f.up.weight), down(f.down.weight), gate_bias(vector_of(f.gate_bias.weight)), up_bias(vector_of(f.up_bias.weight)),
          down_bias(vector_of(f.down_bias.weight)), ffn{gate.matrix, up.matrix, down.matrix} {
        ffn.activation = f.weights.activation;
        if (!f.weights.has_bias()) return;
        ffn.gate_bias = gate_bias.data();
        ffn.up_bias = up_bias.data();
        ffn.down_bias = down_bias.data();
    }
    DeviceStack gate, up, down;
    OnDevice<float> gate_bias, up_bias, down_bias;
    cuda::DeviceFfn ffn;
};

class CudaMoe : public testing::TestWithParam<Precision> {
protected:
    std::mt19937 m_random{20240609};
    float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(m_random); }
    bool rounds(TensorType type, int n_tokens) const {
        return n_tokens > cuda::kDecodeTokens && cuda::product_of(cuda::format_of(type), GetParam()) == cuda::Product::kInt8;
    }

    void check(const MoeCase& c, int n_tokens) {
        OwnedFfn experts(c.gate_up, c.down, c.n_embd, c.width, m_random, c.n_experts), shared(c.gate_up, c.down, c.n_embd, 2 * c.width, m_random);
        for (OwnedFfn* f : {&experts, &shared}) {
            f->weights.activation = c.activation;
            if (c.bias) f->use_bias();
        }
        const MoeInput in = random_routing(c, n_tokens, m_random);
        Matrix x(n_tokens, c.n_embd, 3), out(n_tokens, c.n_embd, 7), routed(n_tokens, c.n_embd);
        for (float& v : x.data) v = uniform(-1, 1);
        std::fill(out.data.begin(), out.data.end(), 5.0f);
        run(c, experts, shared, in, x, out, routed);
        expect_mixture(c, experts, shared, in, x, out, routed, rounds(c.gate_up, n_tokens), rounds(c.down, n_tokens));
    }

    void run(const MoeCase& c, const OwnedFfn& experts, const OwnedFfn& shared, const MoeInput& in, const Matrix& x, Matrix& out, Matrix& routed) {
        const DeviceNetwork device_experts(experts), device_shared(shared);
        const OnDevice<int32_t> ids(in.ids), n_used(in.n_used);
        const OnDevice<float> weights(in.weights), scale(in.shared_scale);
        const DeviceRows device_x(x), device_out(out), device_routed(routed);
        cuda::DeviceMoe call;
        call.x = device_x.rows();
        call.experts = &device_experts.ffn;
        call.ids = ids.data(), call.weights = weights.data(), call.n_used = n_used.data();
        call.k_stride = c.k_stride;
        call.weigh_input = c.weigh_input;
        if (c.shared) call.shared = &device_shared.ffn;
        if (c.scaled) call.shared_scale = scale.data();
        call.out = device_out.rows();
        if (c.routed) call.routed = device_routed.rows();
        const OnDevice<std::byte> workspace(cuda::moe_workspace(call, GetParam()));
        cuda::moe(nullptr, call, GetParam(), kProcessors, workspace.data());
        out.data = device_out.memory.read();
        routed.data = device_routed.memory.read();
    }

    void check_all(const std::vector<MoeCase>& cases, int n_tokens) {
        for (const MoeCase& c : cases)
            if (!HasFatalFailure()) check(c, n_tokens);
    }
};

INSTANTIATE_TEST_SUITE_P(Precisions, CudaMoe, testing::Values(Precision::kExact, Precision::kFast),
                         [](const auto& row) { return row.param == Precision::kExact ? "exact" : "fast"; });

TEST_P(CudaMoe, RoutedAndSharedExpertsAddUpForAnyNumberOfUsedSlots) {
    for (const int n_tokens : {1, 2, 9, 33}) check_all(mixtures_of_many_shapes(), n_tokens);
}

TEST_P(CudaMoe, EveryActivationWithAndWithoutBiases) {
    for (const int n_tokens : {1, 9}) check_all(mixtures_of_every_activation(), n_tokens);
}

TEST_P(CudaMoe, WeightsMayMultiplyTheInput) {
    for (const int n_tokens : {1, 2, 20}) check_all(mixtures_that_weigh_inputs(), n_tokens);
}

TEST_P(CudaMoe, HiddenValuesOfSeveralChunksAndInputsOfSeveralStages) {
    check({T::kQ8_0, T::kQ4_0, 32 * 258, 32 * 34, 2, 2, true, false, true}, 1);
    if (!HasFatalFailure()) check({T::kQ8_0, T::kQ4_0, 96, 32 * 34, 9, 9, true, true, true}, 2);
}

// More than a block adds up in one go.
TEST_P(CudaMoe, HundredsOfExpertsMayBeChosenAsInSoftMode) {
    check({T::kF32, T::kF32, 32, 32, 100, 100, false, false, true}, 1);
    if (!HasFatalFailure()) check({T::kF32, T::kF32, 32, 32, 200, 200, true, false, true}, 2);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_P(CudaMoe, MoreTokensThanATileGoThroughOneExpert) {
    check({T::kQ4_0, T::kQ4_0, 32, 32, 1, 1, false, false, true}, 300);
    if (!HasFatalFailure()) check({T::kQ4_0, T::kQ4_0, 32, 32, 3, 2, false, false, true}, 150);
}

TEST_P(CudaMoe, NoExpertUsedGivesZeroOrTheSharedExpertAlone) {
    const OwnedFfn experts(T::kQ8_0, T::kQ8_0, 64, 32, m_random, 4), shared(T::kQ8_0, T::kQ8_0, 64, 64, m_random);
    const DeviceNetwork device_experts(experts), device_shared(shared);
    for (const int n_tokens : {1, 12}) {
        const OnDevice<int32_t> ids(std::vector<int32_t>(static_cast<size_t>(n_tokens) * 2, -1)), n_used(std::vector<int32_t>(static_cast<size_t>(n_tokens), 0));
        const OnDevice<float> weights(std::vector<float>(static_cast<size_t>(n_tokens) * 2, NAN));
        Matrix x(n_tokens, 64), filled(n_tokens, 64);
        for (float& v : x.data) v = uniform(-1, 1);
        std::fill(filled.data.begin(), filled.data.end(), 5.0f);
        const DeviceRows in(x), out(filled), alone(filled);
        cuda::DeviceMoe call;
        call.x = in.rows(), call.experts = &device_experts.ffn, call.out = out.rows();
        call.ids = ids.data(), call.weights = weights.data(), call.n_used = n_used.data(), call.k_stride = 2;
        const auto workspace = [&] { return OnDevice<std::byte>(cuda::moe_workspace(call, GetParam())); };
        {
            const auto memory = workspace();
            cuda::moe(nullptr, call, GetParam(), kProcessors, memory.data());
            for (const float v : out.memory.read()) EXPECT_EQ(v, 0.0f);
        }
        call.shared = &device_shared.ffn;
        const auto memory = workspace();
        cuda::moe(nullptr, call, GetParam(), kProcessors, memory.data());
        const OnDevice<std::byte> own(cuda::ffn_workspace(device_shared.ffn, in.rows(), GetParam()));
        cuda::ffn(nullptr, device_shared.ffn, in.rows(), alone.rows(), GetParam(), kProcessors, own.data());
        EXPECT_EQ(out.memory.read(), alone.memory.read());
    }
}

TEST_P(CudaMoe, DenseNetworkStaysWithinItsBound) {
    for (const TensorType type : {T::kF32, T::kQ4_1, T::kIQ4_NL})
        for (const int n_tokens : {1, 3, 17}) {
            const OwnedFfn f(type, type, 96, 160, m_random);
            const DeviceNetwork net(f);
            Matrix x(n_tokens, 96), out(n_tokens, 96, 4);
            for (float& v : x.data) v = uniform(-1, 1);
            const DeviceRows in(x), result(out);
            const OnDevice<std::byte> workspace(cuda::ffn_workspace(net.ffn, in.rows(), GetParam()));
            cuda::ffn(nullptr, net.ffn, in.rows(), result.rows(), GetParam(), kProcessors, workspace.data());
            out.data = result.memory.read();
            for (int t = 0; t < n_tokens; ++t)
                expect_within(out.rows().row(t), bounded_ffn(f, 0, exactly(x.rows().row(t), 96), rounds(type, n_tokens), rounds(type, n_tokens)), "ffn");
        }
}

TEST_P(CudaMoe, EveryExpertOnOneInputEqualsEachAlone) {
    OwnedFfn experts(T::kQ5_0, T::kIQ4_NL, 64, 32, m_random, 6);
    experts.use_bias();
    experts.weights.activation = Activation::kClampedSilu;
    const DeviceNetwork net(experts);
    Matrix x(1, 64), out(6, 64, 2);
    for (float& v : x.data) v = uniform(-1, 1);
    const DeviceRows in(x), result(out);
    const OnDevice<std::byte> workspace(cuda::all_experts_workspace(net.ffn));
    cuda::all_experts(nullptr, net.ffn, in.rows(), result.rows(), kProcessors, workspace.data());
    out.data = result.memory.read();
    for (int e = 0; e < 6; ++e)
        expect_within(out.rows().row(e), bounded_ffn(experts, e, exactly(x.data.data(), 64), false, false), "expert " + std::to_string(e));
}

TEST_P(CudaMoe, ResultsDoNotDependOnTheOrderOfThreads) {
    const MoeCase c{T::kQ4_0, T::kQ5_1, 96, 64, 7, 3, true, true, true};
    for (const int n_tokens : {2, 30}) {
        const OwnedFfn experts(c.gate_up, c.down, c.n_embd, c.width, m_random, c.n_experts), shared(c.gate_up, c.down, c.n_embd, 2 * c.width, m_random);
        const MoeInput in = random_routing(c, n_tokens, m_random);
        Matrix x(n_tokens, c.n_embd), out(n_tokens, c.n_embd), routed(n_tokens, c.n_embd);
        for (float& v : x.data) v = uniform(-1, 1);
        std::vector<float> first;
        for (const uint64_t seed : {1, 2, 3, 4}) {
            cuda_emulation::set_seed(seed);
            run(c, experts, shared, in, x, out, routed);
            if (first.empty()) first = out.data;
            EXPECT_EQ(out.data, first) << seed;
        }
    }
}

}  // namespace
}  // namespace gs::test
