// Products of rows that are normalised on the way: the bits of the two kernels one after the other, in one launch.
#include "engine/ops/cuda/norm.cuh"
#include "tests/cuda/device_data.h"

namespace gs::test {
namespace {

class CudaNormLinear : public testing::Test {
protected:
    std::mt19937 m_random{20240613};

    Matrix some(int n_rows, int n_cols, int gap) {
        Matrix m(n_rows, n_cols, gap);
        for (float& v : m.data) v = std::uniform_real_distribution<float>(-3, 3)(m_random);
        return m;
    }

    /// Rows 5 apart from each other, products and kept rows of both ways.
    void check(NormKind kind, TensorType type, int n_in, int n_tokens, int n_matrices, bool with_bias) {
        const std::string what = std::to_string(n_in) + " values, " + std::to_string(n_tokens) + " tokens, " + std::to_string(n_matrices) + " matrices";
        const OwnedWeight w(type, n_in, 37, m_random), scale(TensorType::kF32, n_in, 1, m_random), shift(TensorType::kF32, n_in, 1, m_random);
        const DeviceStack stack(w.weight);
        const OnDevice<float> device_scale(scale.row(0)), device_shift(shift.row(0));
        const Matrix values = some(n_tokens, n_in, 5);
        const DeviceRows x(values), kept(n_tokens, n_in, 3), normed(n_tokens, n_in, 0);
        const DeviceRows fused(n_tokens, 37 * n_matrices, 2), apart(n_tokens, 37 * n_matrices, 2);
        cuda::NormShape norm{.x = x.rows(), .out = normed.rows(), .kind = kind, .weight = device_scale.data(), .eps = 1e-5f, .group = n_in};
        if (with_bias) norm.bias = device_shift.data();
        const auto calls = [&](const DeviceRows& out) {
            std::vector<cuda::DeviceLinear> all;
            for (int m = 0; m < n_matrices; ++m) all.push_back({stack.matrix, nullptr, out.rows().columns(37 * m, 37)});
            return all;
        };
        cuda::normalise(nullptr, norm);
        cuda::linear(nullptr, normed.rows(), calls(apart), Precision::kExact, kProcessors, nullptr);
        norm.out = kept.rows();
        const uint64_t before = cuda_emulation::counters().launches;
        cuda::norm_linear(nullptr, norm, calls(fused), 100);   // as many blocks as there are run at once
        EXPECT_EQ(cuda_emulation::counters().launches - before, n_matrices > 8 ? 2u : 1u) << what;
        const std::vector<float> a = fused.memory.read(), b = apart.memory.read(), rows = kept.memory.read(), expected = normed.memory.read();
        for (int t = 0; t < n_tokens; ++t) {
            for (int o = 0; o < 37 * n_matrices; ++o)
                ASSERT_EQ(a[static_cast<size_t>(t * fused.stride + o)], b[static_cast<size_t>(t * apart.stride + o)]) << what << ", value " << o;
            for (int i = 0; i < n_in; ++i)
                ASSERT_EQ(rows[static_cast<size_t>(t * kept.stride + i)], expected[static_cast<size_t>(t * normed.stride + i)]) << what << ", row value " << i;
        }
    }
};

TEST_F(CudaNormLinear, GivesTheBitsOfNormAndProductForEveryWidth) {
    for (const NormKind kind : {NormKind::kRms, NormKind::kLayer})
        for (const int n_in : {1, 37, 512, 513, 2050, 9001})   // one warp's row, several warps', more than is staged at once
            for (const int n_tokens : {1, 3, 8}) {
                check(kind, TensorType::kF32, n_in, n_tokens, 1, n_tokens == 3);
                if (HasFatalFailure()) return;
            }
}

TEST_F(CudaNormLinear, TakesManyMatricesOfQuantizedTypes) {
    for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kBF16})
        for (const int n_matrices : {3, 9}) {   // more than a launch takes
            check(NormKind::kRms, type, 768, 2, n_matrices, false);
            if (HasFatalFailure()) return;
        }
}

TEST_F(CudaNormLinear, OfMoreRowsThanBlocksRunAtOnceTheNormIsALaunchOfItsOwn) {
    // 32 rows a block and four blocks a multiprocessor in two turns.
    for (const auto& [n_out, n_launches] : {std::pair{128, 1u}, {160, 2u}}) {
        const OwnedWeight w(TensorType::kQ8_0, 1024, n_out, m_random);
        const DeviceStack stack(w.weight);
        const DeviceRows x(some(1, 1024, 0)), kept(1, 1024, 0), out(1, n_out, 0), other(1, n_out, 0);
        const cuda::NormShape norm{.x = x.rows(), .out = kept.rows(), .eps = 1e-5f, .group = 1024};
        const auto launches = [&](const DeviceRows& to, int n_processors) {
            const cuda::DeviceLinear call{stack.matrix, nullptr, to.rows()};
            const uint64_t before = cuda_emulation::counters().launches;
            cuda::norm_linear(nullptr, norm, {&call, 1}, n_processors);
            return cuda_emulation::counters().launches - before;
        };
        EXPECT_EQ(launches(out, 1), n_launches);
        EXPECT_EQ(launches(other, 100), 1u);
        EXPECT_EQ(out.memory.read(), other.memory.read());
    }
}

TEST_F(CudaNormLinear, ARowWithoutANumberSpoilsItselfAndNoOther) {
    const OwnedWeight w(TensorType::kQ8_0, 64, 5, m_random);
    const DeviceStack stack(w.weight);
    Matrix values = some(3, 64, 0);
    values.rows().row(1)[7] = NAN;
    const DeviceRows x(values), kept(3, 64, 0), out(3, 5, 0);
    const cuda::DeviceLinear call{stack.matrix, nullptr, out.rows()};
    cuda::norm_linear(nullptr, {.x = x.rows(), .out = kept.rows(), .eps = 1e-5f, .group = 64}, {&call, 1}, kProcessors);
    const std::vector<float> y = out.memory.read();
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isfinite(y[i]), i / 5 != 1) << i;
}

}  // namespace
}  // namespace gs::test
