// What experts are for: how often each is chosen by label (domain, word class), how much a label and routing tell about each other, and which tokens an
// expert is chosen for. metrics.md 1.3; every figure with its null.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/routing/chance.h"
#include "engine/routing/layer_routes.h"

namespace gs {

/// Label of each token, 0..n_labels-1; -1: not counted.
using Labels = std::vector<int16_t>;

/// Tokens by expert and label.
struct LabelCounts {
    int n_experts = 0, n_labels = 0;
    std::vector<uint32_t> chosen;            ///< [E, L] tokens of the label that used the expert
    std::vector<uint32_t> tokens;            ///< [L]
    uint32_t n_tokens = 0;                   ///< counted ones

    uint32_t at(int expert, int label) const { return chosen[static_cast<size_t>(expert) * static_cast<size_t>(n_labels) + static_cast<size_t>(label)]; }
    uint32_t of_expert(int expert) const;
    /// DS(i, D): share of the label's tokens that use the expert; uniform k/E. NaN without tokens.
    double share(int expert, int label) const;
    double share(int expert) const;          ///< over all counted tokens
    /// share of the label / share over all; NaN for an expert that is never used.
    double lift(int expert, int label) const;
    /// Central 95 % of that share when the label has nothing to do with the expert (hypergeometric, the expert's own load kept).
    Band band(int expert, int label) const;
    /// Coefficient of variation of the expert's shares over the labels that have tokens (population).
    double cv(int expert) const;
};
LabelCounts count_labels(const LayerRoutes& routes, std::span<const int16_t> labels, int n_labels);

/// Jensen-Shannon divergence in bits between the loads of every two labels: [L, L], symmetric, 0 on the diagonal; NaN where a label has no tokens.
std::vector<double> label_divergence(const LabelCounts& counts);

/// Labels dealt out anew, n_shuffles times.
struct ShuffledLabels {
    std::vector<Labels> draws;
};
/// Among the tokens that have a label. With strata: only among tokens of the same stratum.
ShuffledLabels shuffle_tokens(std::span<const int16_t> labels, std::span<const int16_t> strata, int n_shuffles, uint64_t seed);
/// Blocks of `block` neighbouring tokens of one segment and label change places as wholes. Neighbours are alike, so that single tokens dealt out anew would
/// make anything that lasts for a while look like more than chance. A rest of less than half a block goes with the block before.
ShuffledLabels shuffle_blocks(std::span<const int16_t> labels, std::span<const int16_t> segments, int block, int n_shuffles, uint64_t seed);

/// How much a label and routing tell about each other, for one layer.
struct Information {
    double bits = 0;                         ///< I(label; expert | given) over assignments (token, chosen expert), each counted once
    double entropy = 0;                      ///< H(label | given) over the same, bits: the most that there is to tell
    ShuffleNull null;                        ///< bits under shuffled labels
    bool beyond_chance() const { return null.n > 0 && bits > null.band.high; }
    double share() const { return entropy > 0 ? bits / entropy : 0; }
    /// (I - mean null) / (H - mean null): 0 by chance, 1 when the experts give the label away. Adjusted for chance as Vinh et al. 2010 do, so that
    /// labels of different number compare.
    double adjusted_share() const { return entropy > null.mean ? (bits - null.mean) / (entropy - null.mean) : 0; }
};
/// given: labels to condition on, or empty. Tokens without a label in either are left out.
Information label_information(const LayerRoutes& routes, std::span<const int16_t> labels, int n_labels, std::span<const int16_t> given, int n_given,
                              const ShuffledLabels& shuffled);

/// One token id and one expert.
struct TokenLift {
    int32_t id = 0;
    uint32_t n = 0, chosen = 0;              ///< occurrences; of them with the expert
    double lift = 0;                         ///< (chosen / n) / (share of all tokens with the expert)
    Band band;                               ///< of the lift when id and expert are independent (hypergeometric)
    bool beyond_chance() const { return lift > band.high; }
};
/// Ids that occur at_least times, highest lift first, then the more frequent. token_ids: [T]. Empty for an expert that is never used.
std::vector<TokenLift> token_lift(const LayerRoutes& routes, int expert, std::span<const int32_t> token_ids, uint32_t at_least);

/// Mean over distinct ids with at_least occurrences of max over experts of VS(i, x) = N_{x,i} / N_x (OLMoE's layer figure, with the threshold that it lacks),
/// and the same with the ids dealt out anew.
struct VocabularySpecialization {
    int n_ids = 0;
    double mean = 0;
    ShuffleNull null;
};
VocabularySpecialization vocabulary_specialization(const LayerRoutes& routes, std::span<const int32_t> token_ids, uint32_t at_least, int n_shuffles, uint64_t seed);

}  // namespace gs
