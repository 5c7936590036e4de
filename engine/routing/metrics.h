// Load-balance and confidence metrics, with their nulls. Plain arrays in, plain numbers out. Definitions: metrics.md 1.1, 1.2, 1.5, 2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/routing/trace.h"

namespace gs {

enum class PhaseFilter : uint8_t { kBoth, kPrefill, kDecode };

/// Tokens received by each expert of one MoE layer, and how many tokens were counted.
struct LayerLoad {
    std::vector<uint32_t> counts;     ///< [E]
    uint32_t n_tokens = 0;            ///< T
    uint64_t n_assignments = 0;       ///< Σ counts = Σ k(t)
};
/// Over the tokens first_token..last_token, the last one included; -1 is the last of the run. Tokens outside the run do not count.
LayerLoad layer_load(const TraceSnapshot& trace, int moe_layer, PhaseFilter phase, int first_token = 0, int last_token = -1);

struct BalanceMetrics {
    double entropy = 0;               ///< H(u) / ln E, 0..1
    double effective_experts = 0;     ///< exp H(u), 1..E
    double cv = 0;                    ///< population SD / mean
    double gini = 0;
    double jain = 0;
    double max_vio = 0;               ///< max / mean - 1
    int n_idle = 0;                   ///< experts that received no token
};
/// Of [E] counts. All zero when no token was counted (n_idle is E then).
BalanceMetrics balance(std::span<const uint32_t> counts);

/// What a perfectly uniform independent router would show for T tokens and k of E (metrics.md section 2).
struct UniformNull {
    double share = 0;                 ///< expected share of tokens per expert, k/E
    double band_low = 0, band_high = 0;  ///< 95 % sampling band of that share for T tokens, one expert
    double entropy = 0;               ///< expected normalised entropy: 1 less the first-order bias (E-k)/(2Tk) nats, at least ln k / ln E
    double idle_share = 0;            ///< (1 - k/E)^T
    double agreement = 0;             ///< k/E
    double consecutive_overlap = 0;   ///< 1 - C(E-k,k)/C(E,k)
};
/// k may be a mean over tokens. Needs 0 <= k <= E; without assignments every share is 0. Without tokens the band is 0..1 and every expert idle.
UniformNull uniform_null(int n_experts, double k, uint32_t n_tokens);

/// Of one token and layer, nats; the preference is normalised to 1 first (sigmoids are not).
double router_entropy(std::span<const float> preference);
/// Logit of the worst chosen expert minus that of the best rejected; +inf if all are chosen.
double selection_margin(std::span<const float> logits, std::span<const uint16_t> ids);
/// Best logit minus second best; +inf of a single expert.
double top1_margin(std::span<const float> logits);

/// How many ids both have; none twice in either.
size_t shared_ids(std::span<const uint16_t> a, std::span<const uint16_t> b);
/// Mean over the first n_tokens of |A ∩ B| / max(|A|, |B|) for one MoE layer of two runs over the same tokens (router saturation formula);
/// NaN for n_tokens = 0.
double route_agreement(const TraceSnapshot& a, const TraceSnapshot& b, int moe_layer, int n_tokens);
/// Jensen-Shannon divergence of two load distributions [E], in bits, 0..1; NaN when one of them is empty.
double jensen_shannon_bits(std::span<const uint32_t> a, std::span<const uint32_t> b);

}  // namespace gs
