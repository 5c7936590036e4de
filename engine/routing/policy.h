// Routing policy: the rule in force, for the whole model and per layer, as a value with one text form (command line, presets,
// settings, trace files).
//
//   rule=topk,k=2,k@4-7=1,mask@3=5:9,weights=one,temp=0.8
//   native | soft | hard | k=2            (a bare rule name, and k alone means rule=topk)
//
// Grammar: comma-separated items. `rule=native|soft|hard|topk`, `k=N`, `temp=X`, `weights=trained|one|native-sum`, and with a layer
// range `@L`, `@L-M` or `@*`: `k@R=N`, `rule@R=…`, `temp@R=X`, `mask@R=E:E…`, `force@R=E:E…`. Later items win. Layers count MoE layers'
// own layer index in the model (blk.N). A k without a rule beside it (in the text, or of the same range) means topk.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"
#include "engine/routing/router.h"

namespace gs {

constexpr float kMinTemperature = 0.001f, kMaxTemperature = 1000.0f;

struct Policy {
    GateRule rule = GateRule::kNative;
    int k = 0;                                       ///< 0 = the model's own k
    float temperature = 1.0f;
    WeightRule weight_rule = WeightRule::kAsTrained;

    /// One `item@first-last=value`. Unset fields inherit. last is inclusive; 0 and INT_MAX are all layers (`@*`).
    struct LayerItem {
        int first = 0, last = 0;
        std::optional<GateRule> rule;
        std::optional<int> k;
        std::optional<float> temperature;
        std::vector<int> masked, forced;             ///< expert indices, ascending

        bool operator==(const LayerItem&) const = default;
    };
    std::vector<LayerItem> layers;                   ///< in order; later ones win, masks and forces add up

    bool operator==(const Policy&) const = default;
    bool is_native() const;

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

const char* name_of(GateRule rule);                  ///< "native", "soft", "hard", "topk"
const char* name_of(WeightRule rule);                ///< "trained", "one", "native-sum"

}  // namespace gs
