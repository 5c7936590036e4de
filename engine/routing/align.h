// Which elements of two sequences belong together: a longest common subsequence.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace gs {

struct Alignment {
    std::vector<std::pair<int, int>> pairs;      ///< indices into a and b of equal elements, ascending in both
    bool exact = true;                           ///< false: too long for the search between common beginning and end, which is left unpaired
};

/// Longest common subsequence in linear space (D. S. Hirschberg, "A linear space algorithm for computing maximal common subsequences",
/// CACM 18(6), 1975). Time: product of the lengths once common beginning and end are taken off; beyond `most_steps` of it only those two
/// are paired.
Alignment align(std::span<const int32_t> a, std::span<const int32_t> b, int64_t most_steps = 400'000'000);

}  // namespace gs
