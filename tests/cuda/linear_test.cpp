// Products of the emulated device against f64 over the dequantized weights, with the bounds that all back ends are held to.
#include <algorithm>

#include "engine/ops/cuda/gemm.cuh"
#include "tests/cuda/device_data.h"
#include "tests/cuda_emulation/emulation.h"

namespace gs::test {
namespace {

struct Product {
    TensorType type;
    int n_in, n_out, n_tokens;
    Precision precision;
};

bool is_rounded(const Product& p) {
    return p.n_tokens > cuda::kDecodeTokens && cuda::product_of(cuda::format_of(p.type), p.precision) == cuda::Product::kInt8;
}

std::string text_of(const Product& p) {
    return std::string(tensor_type_info(p.type).name) + " " + std::to_string(p.n_in) + "x" + std::to_string(p.n_out) + ", " + std::to_string(p.n_tokens) +
           " tokens" + (p.precision == Precision::kFast ? " fast" : "");
}

class CudaLinear : public testing::Test {
protected:
    std::mt19937 m_random{20240608};

    void fill(Matrix& m) {
        for (float& v : m.data) v = std::uniform_real_distribution<float>(-3, 3)(m_random);
    }

    void check(const Product& p) {
        const OwnedWeight w(p.type, p.n_in, p.n_out, m_random);
        Matrix x(p.n_tokens, p.n_in, 5), out(p.n_tokens, p.n_out, 3);
        fill(x);
        std::fill(out.data.begin(), out.data.end(), 42.0f);
        const DeviceStack stack(w.weight);
        const DeviceRows in(x), result(out);
        const cuda::DeviceLinear call{stack.matrix, nullptr, result.rows()};
        const OnDevice<std::byte> workspace(cuda::linear_workspace(in.rows(), {&call, 1}, p.precision));
        cuda::linear(nullptr, in.rows(), {&call, 1}, p.precision, kProcessors, workspace.data());
        out.data = result.memory.read();
        for (int t = 0; t < p.n_tokens; ++t) {
            expect_within(out.rows().row(t), bounded_product(w, 0, exactly(x.rows().row(t), p.n_in), is_rounded(p)), text_of(p) + ", token " + std::to_string(t));
            for (int i = p.n_out; i < out.stride; ++i) ASSERT_EQ(out.rows().row(t)[i], 42.0f);
        }
    }
};

TEST_F(CudaLinear, EveryTypeStaysWithinItsBoundForFewAndManyTokens) {
    for (const TensorType type : loadable_types()) {
        const int block = static_cast<int>(tensor_type_info(type).block_values);
        std::vector<std::pair<int, int>> shapes{{32, 1}, {96, 33}, {576, 19}};
        if (block == 1) shapes = {{1, 1}, {37, 17}, {576, 35}};
        if (block > 32) shapes = {{block, 1}, {3 * block, 33}};
        for (const auto& [n_in, n_out] : shapes)
            for (const int n_tokens : {1, 3, 8, 9, 70})
                for (const Precision precision : {Precision::kExact, Precision::kFast}) {
                    if (n_tokens <= cuda::kDecodeTokens && precision == Precision::kFast) continue;
                    if (n_tokens == 70 && n_in > 100 && block <= 32) continue;   // emulated tensor cores are slow
                    check({type, n_in, n_out, n_tokens, precision});
                    if (HasFatalFailure()) return;
                }
    }
}

TEST_F(CudaLinear, RowsAreStagedInSeveralChunks) {
    for (const int n_tokens : {1, 4, 6, 12}) {
        check({TensorType::kQ4_K, 256 * 34, 9, n_tokens, Precision::kFast});
        check({TensorType::kF16, 8193, 3, n_tokens, Precision::kFast});
        if (HasFatalFailure()) return;
    }
}

TEST_F(CudaLinear, RowsOfAnyMagnitudeKeepTheirPrecision) {
    // Halves reach from 2^-24 to 2^16: inputs beyond are scaled into that range, row by row.
    for (const float magnitude : {0.0f, 1e-35f, 1e-6f, 1e6f, 1e30f}) {
        const OwnedWeight w(TensorType::kF16, 96, 16, m_random);
        Matrix x(10, 96), out(10, 16);
        fill(x);
        for (size_t i = 0; i < x.data.size(); ++i) x.data[i] *= i / 96 % 2 == 0 ? magnitude : 1.0f;
        const DeviceStack stack(w.weight);
        const DeviceRows in(x), result(out);
        const cuda::DeviceLinear call{stack.matrix, nullptr, result.rows()};
        const OnDevice<std::byte> workspace(cuda::linear_workspace(in.rows(), {&call, 1}, Precision::kFast));
        cuda::linear(nullptr, in.rows(), {&call, 1}, Precision::kFast, kProcessors, workspace.data());
        out.data = result.memory.read();
        for (int t = 0; t < 10; ++t) expect_within(out.rows().row(t), bounded_product(w, 0, exactly(x.rows().row(t), 96), false), std::to_string(magnitude));
    }
}

TEST_F(CudaLinear, MoreRowsThanOneBlockOrTileHas) {
    for (const int n_tokens : {1, 130})
        for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ6_K, TensorType::kBF16}) {
            check({type, 256, 300, n_tokens, Precision::kFast});
            if (HasFatalFailure()) return;
        }
}

TEST_F(CudaLinear, TeamsOfEveryWidthAddUp) {
    for (const int n_groups : {1, 2, 3, 5, 7, 8, 9, 15, 18, 24, 33, 48}) {
        check({TensorType::kQ4_0, 32 * n_groups, 37, 1, Precision::kExact});
        if (HasFatalFailure()) return;
    }
}

TEST_F(CudaLinear, SeveralMatricesOfMixedTypesShareOneInputAndTakeBiases) {
    const OwnedWeight q(TensorType::kIQ4_NL, 96, 48, m_random), k(TensorType::kF16, 96, 16, m_random), v(TensorType::kQ5_0, 96, 17, m_random);
    const OwnedWeight bias(TensorType::kF32, 48, 1, m_random);
    const DeviceStack device_q(q.weight), device_k(k.weight), device_v(v.weight);
    const OnDevice<float> device_bias(bias.row(0));
    for (const int n_tokens : {1, 5, 20}) {
        Matrix x(n_tokens, 96), all(n_tokens, 48 + 16 + 17);
        fill(x);
        const DeviceRows in(x), result(all);
        const std::vector<cuda::DeviceLinear> calls{{device_q.matrix, device_bias.data(), result.rows().columns(0, 48)},
                                                    {device_k.matrix, nullptr, result.rows().columns(48, 16)},
                                                    {device_v.matrix, nullptr, result.rows().columns(64, 17)}};
        const OnDevice<std::byte> workspace(cuda::linear_workspace(in.rows(), calls, Precision::kFast));
        cuda::linear(nullptr, in.rows(), calls, Precision::kFast, kProcessors, workspace.data());
        all.data = result.memory.read();
        for (int t = 0; t < n_tokens; ++t) {
            const Bounded row = exactly(x.rows().row(t), 96);
            const bool rounds = n_tokens > cuda::kDecodeTokens;
            Bounded with_bias = bounded_product(q, 0, row, rounds);
            accumulate(with_bias, exactly(bias.row(0).data(), 48), 1);
            expect_within(all.rows().row(t), with_bias, "q");
            expect_within(all.rows().row(t) + 48, bounded_product(k, 0, row, false), "k");
            expect_within(all.rows().row(t) + 64, bounded_product(v, 0, row, rounds), "v");
        }
    }
}

TEST_F(CudaLinear, InfinityAndNotANumberReachTheOutput) {
    const OwnedWeight small(TensorType::kQ8_0, 96, 16, m_random), super(TensorType::kQ4_K, 256, 16, m_random), plain(TensorType::kBF16, 96, 16, m_random);
    const OwnedWeight halves(TensorType::kF16, 96, 16, m_random);
    for (const float bad : {INFINITY, -INFINITY, NAN})
        for (const OwnedWeight* w : {&small, &super, &plain, &halves})
            for (const int n_tokens : {1, 4, 9}) {
                Matrix x(n_tokens, w->weight.n_in), out(n_tokens, 16);
                fill(x);
                x.data[40] = bad;
                const DeviceStack stack(w->weight);
                const DeviceRows in(x), result(out);
                const cuda::DeviceLinear call{stack.matrix, nullptr, result.rows()};
                const OnDevice<std::byte> workspace(cuda::linear_workspace(in.rows(), {&call, 1}, Precision::kFast));
                cuda::linear(nullptr, in.rows(), {&call, 1}, Precision::kFast, kProcessors, workspace.data());
                out.data = result.memory.read();
                for (size_t i = 0; i < out.data.size(); ++i) EXPECT_EQ(std::isfinite(out.data[i]), i >= 16) << bad << " value " << i;
            }
}

TEST_F(CudaLinear, ResultsDoNotDependOnTheOrderOfThreads) {
    for (const int n_tokens : {1, 20}) {
        const OwnedWeight w(TensorType::kQ4_K, 512, 50, m_random);
        Matrix x(n_tokens, 512), out(n_tokens, 50);
        fill(x);
        const DeviceStack stack(w.weight);
        const DeviceRows in(x), result(out);
        const cuda::DeviceLinear call{stack.matrix, nullptr, result.rows()};
        const OnDevice<std::byte> workspace(cuda::linear_workspace(in.rows(), {&call, 1}, Precision::kFast));
        std::vector<float> first;
        for (const uint64_t seed : {1, 2, 3, 4}) {
            cuda_emulation::set_seed(seed);
            cuda::linear(nullptr, in.rows(), {&call, 1}, Precision::kFast, kProcessors, workspace.data());
            const std::vector<float> values = result.memory.read();
            if (first.empty()) first = values;
            EXPECT_EQ(values, first) << seed;
        }
    }
}

TEST_F(CudaLinear, TransposedWeighsRows) {
    for (const auto& [type, n_in, n_out] : {std::tuple{TensorType::kQ8_0, 96, 70}, {TensorType::kF32, 37, 5}, {TensorType::kQ4_K, 512, 33}})
        for (const int n_tokens : {1, 5}) {
            const OwnedWeight w(type, n_in, n_out, m_random);
            Matrix x(n_tokens, n_out, 2), out(n_tokens, n_in, 1);
            fill(x);
            const DeviceStack stack(w.weight);
            const DeviceRows in(x), result(out);
            cuda::linear_transposed(nullptr, in.rows(), stack.matrix, result.rows());
            out.data = result.memory.read();
            for (int t = 0; t < n_tokens; ++t) {
                Bounded sum{std::vector<double>(static_cast<size_t>(n_in)), std::vector<double>(static_cast<size_t>(n_in))};
                for (int o = 0; o < n_out; ++o) {
                    const std::vector<float> row = w.row(o);
                    accumulate(sum, exactly(row.data(), n_in), x.rows().row(t)[o]);
                }
                expect_within(out.rows().row(t), sum, "transposed");
            }
        }
}

}  // namespace
}  // namespace gs::test
