#include "app/widgets/heatmap_pyramid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace app {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// What level (lc, lr) must hold at (col, row): the values it stands for, one by one.
float expected(const HeatmapPyramid& p, Reduce how, int lc, int lr, int col, int row) {
    float best = kNan;
    for (int c = col << lc; c < std::min((col + 1) << lc, p.n_cols()); ++c)
        for (int r = row << lr; r < std::min((row + 1) << lr, p.n_rows()); ++r) best = reduce(how, best, p.at(c, r));
    return best;
}

void expect_consistent(const HeatmapPyramid& p, Reduce how) {
    const int n_col_levels = int(p.levels().size()) / p.n_row_levels();
    for (int lc = 0; lc < n_col_levels; ++lc)
        for (int lr = 0; lr < p.n_row_levels(); ++lr) {
            const HeatmapPyramid::Level& level = p.levels()[size_t(lc * p.n_row_levels() + lr)];
            const int n_cols = ((p.n_cols() - 1) >> lc) + 1;
            ASSERT_LE(n_cols, int(level.n_cols));
            for (int col = 0; col < n_cols; ++col)
                for (int row = 0; row < int(level.n_rows); ++row) {
                    const float is = p.values()[level.first + size_t(col) * level.n_rows + size_t(row)],
                                must = expected(p, how, lc, lr, col, row);
                    ASSERT_TRUE(is == must || (std::isnan(is) && std::isnan(must)))
                        << "level " << lc << "," << lr << " cell " << col << "," << row << ": " << is << " instead of " << must;
                }
        }
}

HeatmapPyramid::FillColumn random_columns() {
    return [](int col, std::span<float> out) {
        std::mt19937 random(unsigned(col) * 7919 + 1);
        for (float& v : out) v = random() % 7 == 0 ? kNan : std::uniform_real_distribution<float>(-1, 1)(random);
    };
}

TEST(HeatmapPyramid, EveryLevelStandsForItsCells) {
    for (Reduce how : {Reduce::kMax, Reduce::kMaxAbs})
        for (int n_cols : {1, 2, 63, 64, 65, 200})
            for (int n_rows : {1, 7, 8, 33}) {
                HeatmapPyramid p;
                p.reset(n_rows, how);
                p.set_columns(0, n_cols, random_columns());
                expect_consistent(p, how);
            }
}

TEST(HeatmapPyramid, AppendingOneByOneEqualsBuildingAtOnce) {
    HeatmapPyramid p;
    p.reset(13, Reduce::kMax);
    for (int n = 1; n <= 140; ++n) {
        p.set_columns(n - 1, n, random_columns());
        if (n % 9 == 0 || n > 126) expect_consistent(p, Reduce::kMax);
    }
    EXPECT_EQ(p.n_cols(), 140);
}

TEST(HeatmapPyramid, ReplacedAndRemovedColumnsLeaveNothingBehind) {
    HeatmapPyramid p;
    p.reset(5, Reduce::kMax);
    p.set_columns(0, 90, [](int, std::span<float> out) { std::fill(out.begin(), out.end(), 9.0f); });
    p.set_columns(31, 70, random_columns());
    expect_consistent(p, Reduce::kMax);
    p.set_columns(20, 20, random_columns());
    EXPECT_EQ(p.n_cols(), 20);
    expect_consistent(p, Reduce::kMax);
}

TEST(HeatmapPyramid, AppendingUploadsAboutOneColumnALevel) {
    HeatmapPyramid p;
    constexpr int kRows = 64, kCols = 3000;
    p.reset(kRows, Reduce::kMax);
    p.set_columns(0, kCols, random_columns());
    p.take_dirty();
    p.set_columns(kCols, kCols + 1, random_columns());
    size_t words = 0;
    for (const auto& [first, count] : p.take_dirty()) words += count;
    const size_t n_col_levels = p.levels().size() / size_t(p.n_row_levels());
    // One column of 64 + 32 + … + 1 < 128 words for each halving of the columns.
    EXPECT_LE(words, n_col_levels * 2 * kRows);
    EXPECT_GT(words, 0u);
    EXPECT_TRUE(p.take_dirty().empty());
}

TEST(HeatmapPyramid, SizeIsWhatTheLayoutTakes) {
    for (int n_cols : {1, 64, 65, 1000})
        for (int n_rows : {1, 60, 128}) {
            HeatmapPyramid p;
            p.reset(n_rows, Reduce::kMax);
            p.set_columns(0, n_cols, random_columns());
            const HeatmapPyramid::Level& last = p.levels().back();
            EXPECT_EQ(HeatmapPyramid::size_for(n_cols, n_rows), p.values().size());
            EXPECT_EQ(size_t(last.first) + size_t(last.n_cols) * last.n_rows, p.values().size());
        }
}

TEST(HeatmapReduce, NoValueLosesAndTheFarthestKeepsItsSign) {
    EXPECT_EQ(reduce(Reduce::kMax, kNan, -3.0f), -3.0f);
    EXPECT_EQ(reduce(Reduce::kMax, -3.0f, kNan), -3.0f);
    EXPECT_TRUE(std::isnan(reduce(Reduce::kMax, kNan, kNan)));
    EXPECT_EQ(reduce(Reduce::kMax, -3.0f, 2.0f), 2.0f);
    EXPECT_EQ(reduce(Reduce::kMaxAbs, -3.0f, 2.0f), -3.0f);
    EXPECT_EQ(reduce(Reduce::kMaxAbs, -2.0f, 2.0f), 2.0f);
}

}  // namespace
}  // namespace app
