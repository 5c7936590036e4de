// One expert of a study as people look at it: where it is used, for which tokens, beside whom, and how much it does. Shared by the window and the command line.
#pragma once

#include <string>
#include <vector>

#include "engine/routing/coactivation.h"
#include "engine/run/expert_study.h"

namespace gs {

/// Use of the expert among the tokens of one label.
struct LabelUse {
    std::string label;
    uint32_t n = 0, chosen = 0;              ///< tokens of the label; of them with the expert
    double share = 0, lift = 0;              ///< chosen / n; over the expert's share of all tokens. NaN where there is nothing to divide by
    Band band;                               ///< of the share by chance, the expert's load kept
    bool beyond_chance() const { return n > 0 && !band.holds(share); }
};

/// An occurrence of a token with the expert, in its text.
struct TokenContext {
    int row = 0;                             ///< in the study's trace
    std::string domain, before, token, after;
};

struct ProfileToken {
    TokenLift figures;
    std::string text;                        ///< exact bytes
    std::vector<TokenContext> contexts;
};

/// Another expert of the same layer, or one of a neighbouring layer.
struct Partner {
    int expert = 0;
    uint32_t n = 0;                          ///< tokens with both
    double share = 0, expected = 0;          ///< of this expert's tokens; what the loads alone give
    Band band;                               ///< of the share by chance
    double ratio() const { return expected > 0 ? share / expected : 0; }
    bool beyond_chance() const { return !band.holds(share); }
};

/// A figure of importance beside chance and beside the other experts of the layer.
struct RankedFigure {
    const ImportanceFigure* figure = nullptr;
    double value = 0, layer_low = 0, layer_mean = 0, layer_high = 0;
    ChanceNull chance;                       ///< a random expert used as often; of the frequency: a uniform router
    bool beyond_chance = false;              ///< value outside the 95 %; false of an unused expert
    int rank = 0;                            ///< 1 = largest of the layer
    int layer_beyond = 0;                    ///< experts of the layer outside theirs; 5 % of those used by chance
};

struct ExpertProfile {
    int moe_layer = 0, layer = 0, expert = 0, n_experts = 0;
    uint32_t n = 0, n_tokens = 0;
    double share = 0, uniform = 0;           ///< n / T, k / E
    Band uniform_band;                       ///< of the share under a uniform router
    ExpertImportance importance;
    std::vector<RankedFigure> figures;
    std::vector<LabelUse> domains, classes;  ///< most lifted first; labels without tokens left out
    double domain_cv = 0;
    std::vector<ProfileToken> tokens;        ///< highest lift first
    int ids_tested = 0, ids_beyond = 0;      ///< ids that occur often enough; of them above the band (2.5 % by chance at most)
    std::vector<Partner> partners;           ///< same layer, all pairs; largest ratio first
    std::vector<Partner> before, after;      ///< MoE layers around, likewise; empty where there is none
};

struct ProfileOptions {
    int n_tokens = 12, n_contexts = 3, context_tokens = 5;
    uint32_t at_least = kMinOccurrences;
};
ExpertProfile expert_profile(const ExpertStudy& study, int moe_layer, int expert, const ProfileOptions& options = {});

/// Use by label, most lifted first.
std::vector<LabelUse> label_uses(const LabelCounts& counts, int expert, const std::vector<std::string>& names);
/// Names of the word classes, by label.
std::vector<std::string> class_names();

}  // namespace gs
