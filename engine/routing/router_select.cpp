#include "engine/routing/router_select.h"

#include <algorithm>
#include <limits>

#include "engine/core/check.h"
#include "engine/routing/vec4.h"

namespace gs {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// A copy of the scores, padded to whole vectors with what is never taken.
struct Padded {
    alignas(16) float values[kMaxRouterExperts];
    size_t n_blocks = 0;

    explicit Padded(std::span<const float> scores) : n_blocks((scores.size() + 3) / 4) {
        std::copy(scores.begin(), scores.end(), values);
        std::fill(values + scores.size(), values + n_blocks * 4, kMinusInfinity);
    }
};

/// Few of many: k times the largest. Each pass is a vector maximum and a search for its first place, with no branch that depends on the
/// data but the end of the search.
void take_one_by_one(Padded& scores, int k, std::vector<int32_t>& ids) {
    for (; k > 0; --k) {
        F4 a = load4(scores.values), b = a;
        size_t i = 1;
        for (; i + 1 < scores.n_blocks; i += 2) {
            a = larger(a, load4(scores.values + i * 4));
            b = larger(b, load4(scores.values + i * 4 + 4));
        }
        if (i < scores.n_blocks) a = larger(a, load4(scores.values + i * 4));
        const float best = largest_lane(larger(a, b));
        if (best == kMinusInfinity) return;
        const float* place = std::find(scores.values, scores.values + scores.n_blocks * 4, best);
        scores.values[place - scores.values] = kMinusInfinity;
        ids.push_back(static_cast<int32_t>(place - scores.values));
    }
}

/// Ranks of the four scores of block b among all n: how many are larger, or equal with a lower index.
inline I4 ranks_of(const float* scores, size_t b, size_t n) {
    const F4 mine = load4(scores + b);
    I4 rank = {0, 0, 0, 0};  // a comparison is -1 where true
    for (size_t o = 0; o < b; ++o) rank -= splat4(scores[o]) >= mine;
    for (size_t o = b + 4; o < n; ++o) rank -= splat4(scores[o]) > mine;
    for (int o = 0; o < 4; ++o) {
        const F4 other = splat4(mine[o]);
        rank -= (other > mine) | ((other == mine) & (I4{0, 1, 2, 3} > o));
    }
    return rank;
}

/// Many of a moderate number: every score goes to the place of its rank. E^2 comparisons, but four at a time and none mispredicted.
/// kBlocks: known at compile time for the commonest sizes, so that the loops unroll; 0 otherwise.
template <size_t kBlocks>
void take_by_rank(const Padded& scores, int k, std::vector<int32_t>& ids) {
    const size_t n = kBlocks > 0 ? kBlocks * 4 : scores.n_blocks * 4;
    int32_t order[kMaxRouterExperts];
    for (size_t b = 0; b < n; b += 4) {
        const I4 rank = ranks_of(scores.values, b, n);
        for (int lane = 0; lane < 4; ++lane) order[rank[lane]] = static_cast<int32_t>(b) + lane;
    }
    const size_t taken = std::min(static_cast<size_t>(k), n);
    size_t count = taken;
    while (count > 0 && scores.values[order[count - 1]] == kMinusInfinity) --count;
    ids.insert(ids.end(), order, order + count);
}

void take_by_sorting(std::span<const float> scores, int k, std::vector<int32_t>& ids) {
    int32_t order[kMaxRouterExperts];
    int count = 0;
    for (size_t e = 0; e < scores.size(); ++e) {
        if (scores[e] > kMinusInfinity) order[count++] = static_cast<int32_t>(e);
    }
    const int taken = std::min(k, count);
    std::partial_sort(order, order + taken, order + count,
                      [&](int32_t a, int32_t b) { return scores[a] > scores[b] || (scores[a] == scores[b] && a < b); });
    ids.insert(ids.end(), order, order + taken);
}

}  // namespace

void append_best(std::span<const float> scores, int k, std::vector<int32_t>& ids) {
    GS_CHECK(scores.size() <= kMaxRouterExperts, "at most 1024 experts");
    if (k <= 0 || scores.empty()) return;
    // Where the ways cross, measured with 16, 64, 128 and 256 experts on one machine: ranks cost about 10 + E^2 / 10 ns, a pass about 12 +
    // E / 5 ns.
    const auto n = static_cast<int>(scores.size());
    const int rank_cost = 10 + n * n / 10, pass_cost = k * (12 + n / 5);
    if (n > 512 && pass_cost > rank_cost / 2) {
        take_by_sorting(scores, k, ids);
        return;
    }
    Padded padded(scores);
    if (pass_cost < rank_cost) {
        take_one_by_one(padded, k, ids);
    } else if (padded.n_blocks == 4) {
        take_by_rank<4>(padded, k, ids);
    } else {
        take_by_rank<0>(padded, k, ids);
    }
}

}  // namespace gs
