// The router: from one token's router logits to the experts it uses and their weights. One parameterised function for every family
// and every policy (spec/moe-families.md section 2, product.md "Gating, defined once"); the back ends call it or copy its contract.
//
//   RouterSpec spec{.n_experts = 16, .n_used = 4, .score = ScoreFn::kSoftmax, .renormalise = true};
//   RouteRow row;                                       // reusable scratch and result
//   route(spec, LayerPolicy{}, logits, {}, row);        // row.k(), row.ids, row.weights
//
// Three quantities, never mixed: *preference* (softmax or sigmoid of the logits), *selection score* (what the top-k is taken over),
// *applied weight* (what multiplies an expert's output).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gs {

/// kSparseMixer: chosen by logit; each weight is a softmax over the experts that nearly tie with the chosen one (Phi-3.5, section 7.9).
enum class ScoreFn : uint8_t { kSoftmax, kSigmoid, kSoftmaxAfterTopK, kSqrtSoftplus, kSparseMixer };
enum class GroupScore : uint8_t { kTop2Sum, kMax };

/// How the model itself routes. Fixed per model; the per-layer selection bias is passed beside it.
struct RouterSpec {
    int n_experts = 0;                      ///< E, 1..1024; 0 for a dense model
    int n_used = 0;                         ///< k the model was trained with, 1..E
    ScoreFn score = ScoreFn::kSoftmax;
    bool renormalise = false;               ///< divide the chosen weights by their sum
    float norm_floor = 6.103515625e-5f;     ///< the sum is taken as at least this (llama.cpp: 2^-14)
    float norm_epsilon = 0;                 ///< added to the sum (DeepSeek's own code)
    float scale = 1.0f;                     ///< multiplies the weights last
    bool select_by_logits = false;          ///< selection score = raw logits (Llama 4)
    bool weigh_input = false;               ///< weights multiply the experts' input instead of their output (Llama 4)
    int n_groups = 1;                       ///< group-limited routing when > 1
    int n_groups_used = 1;
    GroupScore group_score = GroupScore::kTop2Sum;

    bool operator==(const RouterSpec&) const = default;
};

enum class GateRule : uint8_t {
    kNative,  ///< as trained: the model's own rule, bit-identical to no policy
    kSoft,    ///< all experts whatever the groups, weights = normalised preference times the model's scale
    kHard,    ///< the best expert alone
    kTopK,    ///< the best k by selection score
    kTopP,    ///< the fewest experts, best first by selection score, whose share of the preference reaches p
    kThreshold,      ///< of the best k those that weigh at least tau times as much as the heaviest of them
    kExpertChoice    ///< each expert takes its best tokens of a batch (batch_routing.h); a token alone is routed as by kTopK
};
enum class WeightRule : uint8_t { kAsTrained, kSumToOne, kMatchNativeSum };

/// Where `from` is chosen, `to` runs in its place with its weight; where both are, each runs with the other's weight.
struct ExpertSwap {
    int from = 0, to = 0;
    bool operator==(const ExpertSwap&) const = default;
};

/// What the user asked for, resolved for one layer. The default is `native`.
struct LayerPolicy {
    GateRule rule = GateRule::kNative;
    int k = 0;                              ///< experts per token for kTopK; 0 = RouterSpec::n_used
    float temperature = 1.0f;               ///< logits are divided by it before everything else; > 0
    WeightRule weight_rule = WeightRule::kAsTrained;
    std::vector<uint8_t> masked;            ///< [E] or empty; 1 = can never be chosen
    std::vector<uint8_t> forced;            ///< [E] or empty; 1 = chosen before all others (counts towards k; a mask is stronger)
    std::vector<float> bias;                ///< [E] or empty; added to the selection score only, as DeepSeek-V3 balances its experts (arXiv 2408.15664)
    float p = 1.0f;                         ///< kTopP: (0, 1]; k > 0 then caps the number
    float tau = 0.0f;                       ///< kThreshold: [0, 1]
    float noise = 0.0f;                     ///< standard deviation of what is added to the logits, before the temperature; >= 0
    uint32_t seed = 0;                      ///< of the noise (gate_noise.h)
    int layer = 0;                          ///< of the model; tells the noise of layers apart
    float capacity = 0.0f;                  ///< factor of the most tokens an expert takes of a batch (batch_routing.h); 0 = no limit
    std::vector<ExpertSwap> swapped = {};   ///< in this order, once experts are chosen and weighed; none brings a masked expert in
    std::vector<uint8_t> zeroed = {};       ///< [E] or empty; 1 = its applied weight is 0 wherever it would run; the others keep theirs

    /// True when routing is exactly the model's own.
    bool is_native() const;
    /// True when a token's routing depends on other tokens: route() alone does not tell it.
    bool is_by_batch() const { return rule == GateRule::kExpertChoice || capacity > 0; }
    /// k, or the model's own where the policy gives none.
    int chosen_k(const RouterSpec& spec) const { return k > 0 ? k : spec.n_used; }
    /// How many of the best a token's rule looks at: under kTopP all, of which experts_per_token() may remain.
    int first_k(const RouterSpec& spec) const;
    /// Number of experts a token uses under this policy (masked experts reduce it when fewer remain). An upper bound when masks meet
    /// group-limited routing, whose kept groups may hold fewer, and under kTopP, kThreshold, kExpertChoice and a capacity.
    int experts_per_token(const RouterSpec& spec) const;
};

/// Result of routing one token at one layer, with scratch space; reuse it to avoid allocation.
struct RouteRow {
    std::vector<float> preference;          ///< [E] softmax / sigmoid / … of logits / temperature, before noise, bias and masks
    std::vector<float> selection;           ///< [E] selection score; -inf where masked or outside the kept groups (unless forced)
    std::vector<int32_t> ids;               ///< [k] best first by selection score (forced ones too); ties: lower index first; then swapped
    std::vector<float> weights;             ///< [k] applied weights, same slots
    bool nonfinite = false;                 ///< a logit was NaN or infinite: NaN counts as lowest, infinite as largest finite
    std::vector<float> noisy_logits, noisy_preference;   ///< [E] scratch under noise

    int k() const { return static_cast<int>(ids.size()); }
};

/// Routes one token. logits: [E], router bias included. selection_bias: [E] or empty. Everything in f32.
/// Contract: ids distinct; the best by selection score; a masked expert never appears, a forced one is never dropped; k = E with softmax equals kSoft; k = 1 equals
/// kHard. Does not allocate once `row` has been used with E experts.
///
/// kTopP: best first by selection score until the preference taken reaches p times that of all experts that may be chosen; at least one, all for p = 1
/// ("Harder Tasks Need More Experts", arXiv 2403.07652). kThreshold: the k best, less those whose preference is under tau times the largest among them
/// (of softmax-after-top-k routers the softmax over the chosen: the same ratio); weights are then computed as if only the others had been chosen. At least one
/// stays. It is ik_llama.cpp's smart expert reduction (-ser 1,tau; its pull request 239), which compares selection scores: the same unless there is a bias.
/// Noise: logits + noise * n(seed, position, layer, expert) take the logits' place in selection and weights (noisy top-k, Shazeer et al. 2017, eq. 4, with one
/// sigma for all experts); the preference stays without. position: of the token in its sequence, for the noise only.
void route(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
           RouteRow& row, int position = 0);

/// As route(), but with these experts as the choice, whatever their scores: row.ids and their weights. Distinct ids.
void weigh(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias,
           std::span<const int32_t> ids, RouteRow& row, int position = 0);

/// Preference alone: [E] in, [E] out. For kSoftmaxAfterTopK and kSparseMixer it is the softmax over all experts.
void preference(const RouterSpec& spec, std::span<const float> logits, std::span<float> out);

}  // namespace gs
