// Routing policy: the rule in force, for the whole model and per layer, as a value with one text form (command line, presets,
// settings, trace files).
//
//   rule=topk,k=2,k@4-7=1,mask@3=5:9,weights=one,temp=0.8
//   native | soft | hard | k=2 | p=0.7 | tau=0.3     (a bare rule name; k alone means rule=topk, p alone topp, tau alone threshold)
//
// Grammar: comma-separated items. `rule=native|soft|hard|topk|topp|threshold|expert-choice`, `k=N`, `p=X`, `tau=X`, `temp=X`, `noise=X`, `seed=N`,
// `capacity=X`, `weights=trained|one|native-sum`, and with a layer range `@L`, `@L-M` or `@*`: `k@R=N`, `rule@R=…`, `p@R=X`, `tau@R=X`, `temp@R=X`,
// `noise@R=X`, `mask@R=E:E…`, `force@R=E:E…`, `zero@R=E:E…`, `swap@R=A>B:C>D…`, `bias@R=E+X:E-X…` (added to an expert's selection score). Later
// items win. Layers count MoE layers' own layer index in the model (blk.N). A tau, p or k without a rule beside it (in the text, or of the same
// range) means threshold, topp, topk: the first of these that is there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"
#include "engine/routing/router.h"

namespace gs {

constexpr float kMinTemperature = 0.001f, kMaxTemperature = 1000.0f;
constexpr float kDefaultP = 0.7f, kDefaultTau = 0.3f;    ///< of `topp` and `threshold` without a number
constexpr float kMinP = 0.001f, kMaxNoise = 100.0f, kMaxBias = 1e6f, kMinCapacity = 0.01f, kMaxCapacity = 1000.0f;

struct Policy {
    GateRule rule = GateRule::kNative;
    int k = 0;                                       ///< 0 = the model's own k
    float temperature = 1.0f;
    WeightRule weight_rule = WeightRule::kAsTrained;
    float p = kDefaultP, tau = kDefaultTau;          ///< of kTopP, kThreshold
    float noise = 0;                                 ///< LayerPolicy::noise
    uint32_t seed = 0;
    float capacity = 0;                              ///< LayerPolicy::capacity; 0 = none

    /// What is added to one expert's selection score.
    struct ExpertBias {
        int expert = 0;
        float bias = 0;
        bool operator==(const ExpertBias&) const = default;
    };
    /// One `item@first-last=value`. Unset fields inherit. last is inclusive; 0 and INT_MAX are all layers (`@*`).
    struct LayerItem {
        int first = 0, last = 0;
        std::optional<GateRule> rule;
        std::optional<int> k;
        std::optional<float> temperature;
        std::vector<int> masked, forced;             ///< expert indices, ascending
        std::optional<float> p, tau, noise;
        std::vector<ExpertBias> bias;                ///< by expert, ascending; later items win
        std::vector<int> zeroed = {};                ///< likewise: contribute nothing, the others keep their weights
        std::vector<ExpertSwap> swapped = {};        ///< in order: the second runs where the first is chosen

        /// The rule in force where the item holds: its own, or the one that its tau, p or k implies; none if it says nothing.
        std::optional<GateRule> own_rule() const;
        bool operator==(const LayerItem&) const = default;
    };
    std::vector<LayerItem> layers;                   ///< in order; later ones win; masks, forces, zeros and swaps add up

    bool operator==(const Policy&) const = default;
    bool is_native() const;
    /// LayerPolicy::is_by_batch of any layer.
    bool is_by_batch() const;

    /// Reads the text form. Errors are ErrorKind::kUsage, name the item and the allowed values.
    static Result<Policy> parse(std::string_view text);
    /// The shortest text that parses back to the same policy; "native" for the default.
    std::string to_text() const;
    /// Checks ranges against a model: experts < n_experts, k in 1..n_experts, layers < n_layers, at least one unmasked expert.
    Result<void> check(const RouterSpec& spec, int n_layers) const;
    /// The policy of one layer, ready for route(). n_experts sizes the masks; experts beyond it are left out (check() names them).
    LayerPolicy for_layer(int layer, int n_experts) const;
};

/// for_layer() of every layer, made once per policy change.
std::vector<LayerPolicy> resolve(const Policy& policy, const RouterSpec& spec, int n_layers);

/// What a tau, p or k means where no rule is named: the first of these that is there.
std::optional<GateRule> implied_rule(bool has_tau, bool has_p, bool has_k);
inline constexpr GateRule kAllRules[] = {GateRule::kNative, GateRule::kSoft,      GateRule::kHard,        GateRule::kTopK,
                                         GateRule::kTopP,   GateRule::kThreshold, GateRule::kExpertChoice};
const char* name_of(GateRule rule);                  ///< "native", "soft", "hard", "topk", "topp", "threshold", "expert-choice"
const char* name_of(WeightRule rule);                ///< "trained", "one", "native-sum"

}  // namespace gs
