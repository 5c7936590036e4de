// Which experts are used together: within a layer, from one layer to another. metrics.md 1.4, 2 and 4.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/routing/chance.h"
#include "engine/routing/layer_routes.h"

namespace gs {

/// kAll: every two experts of a token (the definition). kAdjacent: only neighbours in its ranking, as the OLMoE script counts them; its null is E/k times
/// smaller or so, and figures of the two do not compare.
enum class PairMode : uint8_t { kAll, kAdjacent };
const char* name_of(PairMode mode);                ///< "all pairs", "rank-adjacent pairs"

/// Pairs of one layer, T tokens.
struct CoActivation {
    PairMode mode = PairMode::kAll;
    int n_experts = 0;
    uint32_t n_tokens = 0;
    std::vector<uint32_t> pairs;                   ///< [E, E] symmetric, diagonal 0
    std::vector<uint32_t> tokens;                  ///< [E] N_i
    /// [E, E] what the experts' loads alone would give: x_i x_j off the diagonal with the same sums a row (quasi-independence, Goodman 1968). N_i N_j / T
    /// would be too high: a token that has taken i has one slot less for j. Uniform loads give T k (k - 1) / (E (E - 1)).
    std::vector<double> expected;
    double uniform = 0;                            ///< CA of a uniform router: (k - 1)/(E - 1), or 2(k - 1)/(k(E - 1)) where adjacent

    size_t at(int i, int j) const { return static_cast<size_t>(i) * static_cast<size_t>(n_experts) + static_cast<size_t>(j); }
    /// CA(i→j) = N_ij / N_i; NaN on the diagonal and for an expert that is never used.
    double share(int i, int j) const;
    double expected_share(int i, int j) const;
    /// N_ij / expected; NaN where nothing is expected.
    double ratio(int i, int j) const;
    double jaccard(int i, int j) const;            ///< N_ij / (N_i + N_j - N_ij)
    double lift(int i, int j) const;               ///< N_ij T / (N_i N_j)
    /// Central 95 % of share(i, j) under `expected` (binomial over the N_i tokens).
    Band band(int i, int j) const;
    /// Pairs i < j outside their band, and all pairs of used experts.
    void count_beyond(int& beyond, int& all) const;
};
CoActivation co_activation(const LayerRoutes& routes, PairMode mode);

/// From the experts of one layer to those of another, the same T tokens: all pairs of the two sets.
struct CrossLayerFlow {
    int n_experts = 0;
    uint32_t n_tokens = 0;
    std::vector<uint32_t> pairs;                   ///< [E, E'] tokens with e in the first and e' in the second
    std::vector<uint32_t> from, to;                ///< [E]
    double uniform = 0;                            ///< k'/E

    size_t at(int e, int next) const { return static_cast<size_t>(e) * static_cast<size_t>(n_experts) + static_cast<size_t>(next); }
    double share(int e, int next) const;           ///< P(e' | e); NaN for an expert that is never used
    double expected_share(int next) const;         ///< load of e' over all tokens
    double lift(int e, int next) const;
    /// Central 95 % of share(e, next) when the two are independent, with the loads that they have (hypergeometric).
    Band band(int e, int next) const;
    void count_beyond(int& beyond, int& all) const;
};
CrossLayerFlow cross_layer_flow(const LayerRoutes& from, const LayerRoutes& to);

}  // namespace gs
