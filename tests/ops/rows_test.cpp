// Operations on rows that only some families need: YaRN, LayerNorm and biases, transposed products, scaling and clamping.
#include <algorithm>
#include <cmath>

#include "tests/ops/backends.h"

namespace gs::test {
namespace {

class RowsTest : public OpsTest {};

INSTANTIATE_TEST_SUITE_P(Backends, RowsTest, testing::ValuesIn(all_backends()), [](const auto& row) { return row.param.name(); });

TEST_P(RowsTest, YarnKeepsQuickPairsAndStretchesSlowOnes) {
    // The worked values of section 3.3: gpt-oss has borders 8 and 18, or 8.0928 and 17.398 unrounded; factor 32.
    for (const bool whole : {true, false}) {
        RopeSpec spec{.n_rot = 64, .pairs = RopePairs::kHalves, .base = 150000, .factor = 32, .magnitude = 1.3465736f, .yarn = true};
        spec.original_context = 4096;
        spec.whole_borders = whole;
        const double low = whole ? 8 : 8.0928, high = whole ? 18 : 17.398;
        Matrix x(1, 64);
        std::fill_n(x.data.begin(), 32, 1.0f);
        m_ops->rope(spec, {}, x.rows(), 1, 64, 50);
        for (int i = 0; i < 32; ++i) {
            const double kept = 1 - std::clamp((i - low) / (high - low), 0.0, 1.0), own = 50 * std::pow(150000.0, -i / 32.0);
            const double angle = own / 32 * (1 - kept) + own * kept;
            // The borders are given to five digits: the angle of a pair between them to 1e-5 of itself.
            ASSERT_NEAR(x.data[static_cast<size_t>(i)], 1.3465736 * std::cos(angle), 4e-5 * (1 + own)) << "pair " << i;
            ASSERT_NEAR(x.data[static_cast<size_t>(i + 32)], 1.3465736 * std::sin(angle), 4e-5 * (1 + own)) << "pair " << i;
        }
    }
}

TEST_P(RowsTest, NormsHaveKindsAndBiasesAndMayLackAWeight) {
    for (const NormKind kind : {NormKind::kRms, NormKind::kLayer})
        for (const bool weighted : {true, false})
            for (const int n : {1, 7, 64, 515}) {
                const OwnedWeight w(TensorType::kF32, n, 1, m_random), b(TensorType::kF16, n, 1, m_random);
                Matrix x(3, 2 * n, 1), out(3, 2 * n);
                x.data = values(x.data.size(), 1, 5);
                m_ops->norm({.x = x.rows(), .kind = kind, .weight = weighted ? &w.weight : nullptr, .bias = weighted ? &b.weight : nullptr,
                             .eps = 1e-5f, .group = n, .out = out.rows()});
                for (int t = 0; t < 3; ++t)
                    for (int c = 0; c < 2 * n; ++c) {
                        const float* in = x.rows().row(t) + c / n * n;
                        double mean = 0, squares = 0;
                        for (int i = 0; i < n && kind == NormKind::kLayer; ++i) mean += static_cast<double>(in[i]) / n;
                        for (int i = 0; i < n; ++i) squares += (in[i] - mean) * (in[i] - mean);
                        const auto at = static_cast<size_t>(c % n);
                        double expected = (in[c % n] - mean) / std::sqrt(squares / n + 1e-5);
                        if (weighted) expected = expected * w.row(0)[at] + b.row(0)[at];
                        // x - mean is rounded to f32 once; with one value it is 0 and the root of epsilon alone divides.
                        ASSERT_NEAR(out.rows().row(t)[c], expected, 16 * kEpsilon * (1 + std::fabs(expected)) + (n == 1 ? 1e-4 : 0)) << n << " " << c;
                    }
            }
}

TEST_P(RowsTest, ATransposedProductAddsUpWeightedRows) {
    for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0})
        for (const int n_tokens : {1, 2, 9}) {
            const OwnedWeight w(type, 96, 13, m_random);
            Matrix x(n_tokens, 13, 3), out(n_tokens, 96, 5);
            x.data = values(x.data.size());
            m_ops->linear_transposed(x.rows(), w.weight, out.rows());
            for (int t = 0; t < n_tokens; ++t)
                for (int i = 0; i < 96; ++i) {
                    double sum = 0, magnitude = 0;
                    for (int o = 0; o < 13; ++o) {
                        const double term = static_cast<double>(x.rows().row(t)[o]) * static_cast<double>(w.row(o)[static_cast<size_t>(i)]);
                        sum += term;
                        magnitude += std::fabs(term);
                    }
                    ASSERT_NEAR(out.rows().row(t)[i], sum, 14 * kEpsilon * magnitude);
                }
        }
}

TEST_P(RowsTest, RowsAreScaledClampedAndCopied) {
    Matrix x(3, 50, 2), y(3, 50, 1);
    x.data = values(x.data.size(), -3, 3);
    m_ops->copy(x.rows(), y.rows());
    m_ops->scale(x.rows(), -0.7f);
    for (int t = 0; t < 3; ++t)
        for (int i = 0; i < 50; ++i) ASSERT_EQ(x.rows().row(t)[i], -0.7f * y.rows().row(t)[i]);
    m_ops->clamp(x.rows(), 1.5f);
    for (int t = 0; t < 3; ++t)
        for (int i = 0; i < 50; ++i) ASSERT_EQ(x.rows().row(t)[i], std::clamp(-0.7f * y.rows().row(t)[i], -1.5f, 1.5f));
}

TEST_P(RowsTest, RowsGrowWithTheirPositions) {
    // Positions on both sides of a step's border; llama4's growth and one without an offset.
    for (const QueryGrowth& growth : {QueryGrowth{}, QueryGrowth{.per_step = 0.3, .step = 50, .offset = 0}})
        for (const int first : {0, 48, 8190, 1000000}) {
            Matrix x(4, 33, 2);
            x.data = values(x.data.size(), -3, 3);
            const std::vector<float> before = x.data;
            m_ops->grow(x.rows(), growth, first);
            for (int t = 0; t < 4; ++t) {
                const double steps = std::floor((first + t + growth.offset) / growth.step), factor = std::log(steps + 1) * growth.per_step + 1;
                for (int i = 0; i < 33; ++i) {
                    const double expected = factor * static_cast<double>(before[static_cast<size_t>(t * 35 + i)]);
                    // The factor and the product are each rounded once.
                    ASSERT_NEAR(x.rows().row(t)[i], expected, 2.01 * kEpsilon * std::fabs(expected)) << first + t;
                }
            }
        }
}

}  // namespace
}  // namespace gs::test
