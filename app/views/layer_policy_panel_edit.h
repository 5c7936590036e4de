// A policy taken apart into one edit per MoE layer, and put together again in the fewest items: what the layer table works on.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/routing/policy.h"

namespace app {

/// What one layer does differently from the policy of the whole model. Experts ascending.
struct LayerEdit {
    std::optional<gs::GateRule> rule;
    std::optional<int> k;
    std::optional<float> temperature;
    std::vector<int> masked, forced, zeroed;
    std::vector<gs::ExpertSwap> swapped;
    std::optional<float> p, tau, noise;
    std::vector<gs::Policy::ExpertBias> bias;
    bool operator==(const LayerEdit&) const = default;
    bool empty() const { return *this == LayerEdit{}; }
};

enum class ExpertState : uint8_t { kFree, kMasked, kForced };
ExpertState state_of(const LayerEdit& edit, int expert);
void set_state(LayerEdit& edit, int expert, ExpertState state);
/// Of the selection score; 0: none.
float bias_of(const LayerEdit& edit, int expert);
void set_bias(LayerEdit& edit, int expert, float bias);

/// [M] edits, one per entry of moe_layers (blk.N, ascending).
std::vector<LayerEdit> split_layers(const gs::Policy& policy, std::span<const int> moe_layers);
/// `base` without its layer items, with these edits instead; neighbouring MoE layers with equal edits share one item.
gs::Policy join_layers(const gs::Policy& base, std::span<const LayerEdit> edits, std::span<const int> moe_layers);
/// k of one layer. What the whole model does anyway is not written down.
void set_layer_k(LayerEdit& edit, const gs::Policy& base, const gs::RouterSpec& spec, int k);

}  // namespace app
