// How much an expert does: how often it is chosen, with what weight, and how large its output is. metrics.md 1.7.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/routing/chance.h"
#include "engine/routing/layer_routes.h"

namespace gs {

/// Figures of every slot of a LayerRoutes, all [slots]: of expert i on token x, with f_i(x) its output before the weight. Of models whose weights multiply
/// the input, f_i is the output on the weighed input, and that is its part in the sum.
struct SlotOutputs {
    std::vector<float> norm;                 ///< ‖f_i(x)‖₂
    std::vector<float> part;                 ///< ‖g_i f_i(x)‖₂, its part in the routed sum
    std::vector<float> cosine;               ///< of f_i(x) with the routed sum of all chosen experts
    /// That cosine if the chosen experts' outputs were at right angles to each other: part_i / √(Σ part²). More: they pull together.
    std::vector<float> orthogonal;
};

/// One expert over T tokens, n of which chose it; means are over those n and 0 without any.
struct ExpertImportance {
    uint32_t n = 0;
    double frequency = 0;                    ///< n / T; uniform k/E
    double weighted_frequency = 0;           ///< Σ g
    double mean_weight = 0;                  ///< mean g
    double ean_sum = 0, ean_mean = 0;        ///< expert activation norm: Σ and mean of ‖f‖
    double weighted_ean = 0;                 ///< Σ g ‖f‖
    double reap = 0;                         ///< mean g ‖f‖ (REAP, Lasby et al. 2025)
    double max_norm = 0;                     ///< largest ‖f‖
    double cosine = 0, cosine_orthogonal = 0;   ///< means
};
/// [E]. outputs: empty vectors where they were not measured; its figures are 0 then.
std::vector<ExpertImportance> expert_importance(const LayerRoutes& routes, const SlotOutputs& outputs);

/// Those figures by chance. frequency: of a uniform router (binomial over T tokens, k/E). All others: of a random expert that is used as often. It keeps its
/// n tokens, but its weights, norms and cosines are n of those of all the layer's slots, drawn without replacement (DrawnValues); so a sum is n times the
/// mean, and a figure outside is not there because the expert is used much. Slots count as independent of each other, which those of one word are not:
/// an expert of few words can lie outside for its words' sake. Of an unused expert everything is 0.
struct ImportanceNull {
    ChanceNull frequency, weighted_frequency, mean_weight, ean_mean, ean_sum, weighted_ean, reap, max_norm, cosine;
};
/// [E]. outputs as above.
std::vector<ImportanceNull> importance_nulls(const LayerRoutes& routes, const SlotOutputs& outputs);

/// One figure of importance and its null, for tables and files.
struct ImportanceFigure {
    const char* name;                        ///< for people
    const char* key;                         ///< of a column
    const char* meaning;                     ///< formula
    double ExpertImportance::*value;
    ChanceNull ImportanceNull::*null;
    bool beyond_chance(const ExpertImportance& of, const ImportanceNull& chance) const { return of.n > 0 && !(chance.*null).band.holds(of.*value); }
};
std::span<const ImportanceFigure> importance_figures();

/// Mean over tokens of the first choice's cosine with the routed sum (MoE-Lens), and of what outputs at right angles would give.
struct SingleExpertCosine {
    uint32_t n = 0;
    double cosine = 0, orthogonal = 0;
};
SingleExpertCosine single_expert_cosine(const LayerRoutes& routes, const SlotOutputs& outputs);

/// Place of values[index] among all of them, the largest first: 1..n; ties: the lower index first.
int rank_of(std::span<const double> values, size_t index);

}  // namespace gs
