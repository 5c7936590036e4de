#include "engine/routing/align.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace gs {
namespace {

using Sequence = std::vector<int32_t>;

/// Length of the longest common subsequence by the plain table.
int lcs_length(const Sequence& a, const Sequence& b) {
    std::vector<std::vector<int>> best(a.size() + 1, std::vector<int>(b.size() + 1, 0));
    for (size_t i = 1; i <= a.size(); ++i)
        for (size_t j = 1; j <= b.size(); ++j) best[i][j] = a[i - 1] == b[j - 1] ? best[i - 1][j - 1] + 1 : std::max(best[i - 1][j], best[i][j - 1]);
    return best[a.size()][b.size()];
}

void expect_common_subsequence(const Sequence& a, const Sequence& b, const Alignment& found) {
    std::pair<int, int> last{-1, -1};
    for (const auto& [i, j] : found.pairs) {
        EXPECT_GT(i, last.first);
        EXPECT_GT(j, last.second);
        EXPECT_EQ(a[static_cast<size_t>(i)], b[static_cast<size_t>(j)]);
        last = {i, j};
    }
}

TEST(Align, FindsALongestCommonSubsequenceOfRandomSequences) {
    std::mt19937 random(3);
    for (int round = 0; round < 300; ++round) {
        Sequence a(random() % 24), b(random() % 24);
        for (auto* s : {&a, &b})
            for (int32_t& x : *s) x = static_cast<int32_t>(random() % 4);
        const Alignment found = align(a, b);
        expect_common_subsequence(a, b, found);
        EXPECT_EQ(static_cast<int>(found.pairs.size()), lcs_length(a, b)) << "round " << round;
        EXPECT_TRUE(found.exact);
    }
}

TEST(Align, SkipsWhatWasPutIn) {
    const Alignment found = align(Sequence{1, 2, 3, 4}, Sequence{1, 2, 9, 9, 3, 4});
    const std::vector<std::pair<int, int>> expected = {{0, 0}, {1, 1}, {2, 4}, {3, 5}};
    EXPECT_EQ(found.pairs, expected);
}

TEST(Align, PairsOnlyTheEndsOfWhatIsTooLongAndSaysSo) {
    Sequence a{1}, b{1};
    for (int32_t i = 0; i < 100; ++i) a.push_back(1000 + i), b.push_back(1000 + (i + 1) % 100);
    a.push_back(2), b.push_back(2);
    const Alignment found = align(a, b, 1000);
    EXPECT_FALSE(found.exact);
    const std::vector<std::pair<int, int>> expected = {{0, 0}, {101, 101}};
    EXPECT_EQ(found.pairs, expected);
    EXPECT_EQ(align(a, b).pairs.size(), 101u);
}

}  // namespace
}  // namespace gs
