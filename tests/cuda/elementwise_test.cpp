// Kernels on single values, on shapes at the borders of blocks.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/ops/cuda/elementwise.cuh"
#include "tests/cuda_emulation/emulation.h"

namespace gs::cuda {
namespace {

struct Sheet {
    Sheet(int n_rows, int n_cols, int gap) : data(static_cast<size_t>(n_rows * (n_cols + gap))), rows{data.data(), n_rows, n_cols, n_cols + gap} {
        std::mt19937 random(static_cast<unsigned>(n_rows * 1000 + n_cols + gap));
        for (float& v : data) v = std::uniform_real_distribution<float>(-2, 2)(random);
    }
    std::vector<float> data;
    Rows rows;
};

template <class Run, class Expected>
void check(const Run& run, const Expected& expected) {
    for (const int n_rows : {1, 3})
        for (const int n_cols : {1, 255, 256, 257, 600}) {
            Sheet x(n_rows, n_cols, 3), y(n_rows, n_cols, 5);
            const std::vector<float> before = x.data;
            run(x.rows, y.rows);
            for (int t = 0; t < n_rows; ++t)
                for (int i = 0; i < n_cols + 3; ++i) {
                    const float old = before[static_cast<size_t>(t * (n_cols + 3) + i)];
                    // Nothing between the rows is touched.
                    ASSERT_EQ(x.rows.row(t)[i], i < n_cols ? expected(old, y.rows.row(t)[i], t) : old) << n_rows << "x" << n_cols << ": " << t << ", " << i;
                }
        }
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(CudaElementwise, Add) {
    check([](Rows x, Rows y) { add_rows(nullptr, x, y, 0.5f); }, [](float a, float b, int) { return a + 0.5f * b; });
}
TEST(CudaElementwise, Copy) {
    check([](Rows x, Rows y) { copy_rows(nullptr, y, x); }, [](float, float b, int) { return b; });
}
TEST(CudaElementwise, Scale) {
    check([&](Rows x, Rows) { scale_rows(nullptr, x, 7); }, [](float a, float, int) { return a * 7; });
}
TEST(CudaElementwise, GrowAtAPositionThatIsGivenOrLiesInMemory) {
    const QueryGrowth growth{.per_step = 0.5, .step = 2, .offset = 1};
    const int32_t place = 12;
    for (const Position& first : {Position{12, nullptr}, Position{-1, &place}})
        check([&](Rows x, Rows) { grow_rows(nullptr, x, growth, first); },
              [&](float a, float, int t) { return a * growth.factor(12 + t); });
}
TEST(CudaElementwise, Clamp) {
    check([](Rows x, Rows) { clamp_rows(nullptr, x, 1.25f); }, [](float a, float, int) { return std::min(std::max(a, -1.25f), 1.25f); });
}
TEST(CudaElementwise, NothingToDo) {
    add_rows(nullptr, {}, {}, 1);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

}  // namespace
}  // namespace gs::cuda
