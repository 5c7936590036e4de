// How the routing of two runs differs: other policy, quantization, checkpoint, engine, prompt, or a run that another program recorded. Plain
// traces in, plain numbers out. Definitions: metrics.md 1.5; route agreement is router saturation (OLMoE, arXiv:2409.02060, section 4) of any
// two runs.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "engine/routing/trace.h"

namespace gs {

/// By what tokens of A were paired with tokens of B: equal ids (one tokenizer), equal stretches of equal text (two tokenizers), or the place
/// alone (a run without ids and text).
enum class PairedBy : uint8_t { kIds, kText, kPlace };
const char* name_of(PairedBy by);                ///< "token ids", "text", "place"

struct TokenPair {
    int a = 0, b = 0;
    bool operator==(const TokenPair&) const = default;
};

/// A decision (token pair at a layer) for which the runs chose other sets of experts.
struct RouteFlip {
    int pair = 0, moe_layer = 0;                 ///< pair: index into RunDiff::pairs
    int k_a = 0, k_b = 0, n_shared = 0;          ///< experts chosen in A, in B, in both
    int left = -1, entered = -1;                 ///< best-placed expert of A that B did not choose, and the other way round; -1: none
    float margin = std::numeric_limits<float>::quiet_NaN();   ///< selection margin in A, logits; NaN: A has no logits; +inf: A chose all
};

/// One MoE layer over all token pairs.
struct LayerDiff {
    int n_decisions = 0, n_flips = 0;
    double agreement = 0;                        ///< mean |A ∩ B| / max(|A|, |B|)
    double agreement_null = 0;                   ///< of two uniform independent routers: mean min(|A|, |B|) / E; k/E for one k
    double kl = std::numeric_limits<double>::quiet_NaN();   ///< mean KL(A ‖ B) of the preference, nats; NaN: a run has no logits
};

struct RunDiff {
    uint64_t run_a = 0, run_b = 0;               ///< of the session that compared them
    int n_tokens_a = 0, n_tokens_b = 0;
    PairedBy paired_by = PairedBy::kIds;
    bool exact = true;                           ///< false: too long to search between common beginning and end (align.h)
    std::vector<TokenPair> pairs;                ///< ascending in both
    int first_token_difference = -1;             ///< first place at which the token sequences differ; -1: they are equal
    std::string not_comparable;                  ///< why the routing cannot be compared, a sentence; then nothing below counts

    std::vector<LayerDiff> layers;               ///< [M]
    double agreement = 0, agreement_null = 0;    ///< mean of the layers
    double kl = std::numeric_limits<double>::quiet_NaN();
    double any_layer_flip_rate = 0, any_layer_flip_null = 0;     ///< share of pairs with another set in one layer or more
    double mean_flipped_layers = 0, mean_flipped_null = 0;       ///< per pair
    std::vector<RouteFlip> flips;                ///< clearest decision of A first; without margins by token and layer
    std::optional<RouteFlip> first_divergence;   ///< first pair with a flip, its first layer

    bool comparable() const { return not_comparable.empty() && !pairs.empty(); }
};

/// The nulls are those of uniform independent routers with the same numbers of experts per decision.
RunDiff diff_runs(const TraceSnapshot& a, const TraceSnapshot& b);

/// KL(p ‖ q) in nats of two non-negative rows, each normalised to 1 first; where p > 0, q counts as at least 1e-12.
double kl_divergence(std::span<const float> p, std::span<const float> q);

}  // namespace gs
