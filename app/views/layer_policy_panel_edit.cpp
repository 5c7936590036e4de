#include "app/views/layer_policy_panel_edit.h"

#include <algorithm>

namespace app {
namespace {

void insert(std::vector<int>& sorted, int value) {
    const auto at = std::lower_bound(sorted.begin(), sorted.end(), value);
    if (at == sorted.end() || *at != value) sorted.insert(at, value);
}

}  // namespace

ExpertState state_of(const LayerEdit& edit, int expert) {
    if (std::binary_search(edit.masked.begin(), edit.masked.end(), expert)) return ExpertState::kMasked;
    return std::binary_search(edit.forced.begin(), edit.forced.end(), expert) ? ExpertState::kForced : ExpertState::kFree;
}

void set_state(LayerEdit& edit, int expert, ExpertState state) {
    std::erase(edit.masked, expert);
    std::erase(edit.forced, expert);
    if (state == ExpertState::kMasked) insert(edit.masked, expert);
    if (state == ExpertState::kForced) insert(edit.forced, expert);
}

float bias_of(const LayerEdit& edit, int expert) {
    const auto found = std::find_if(edit.bias.begin(), edit.bias.end(), [&](const auto& b) { return b.expert == expert; });
    return found == edit.bias.end() ? 0 : found->bias;
}

void set_bias(LayerEdit& edit, int expert, float bias) {
    std::erase_if(edit.bias, [&](const auto& b) { return b.expert == expert; });
    if (bias == 0) return;
    const auto at = std::find_if(edit.bias.begin(), edit.bias.end(), [&](const auto& b) { return b.expert > expert; });
    edit.bias.insert(at, {expert, bias});
}

std::vector<LayerEdit> split_layers(const gs::Policy& policy, std::span<const int> moe_layers) {
    std::vector<LayerEdit> edits(moe_layers.size());
    for (size_t m = 0; m < moe_layers.size(); ++m) {
        LayerEdit& edit = edits[m];
        for (const gs::Policy::LayerItem& item : policy.layers) {
            if (moe_layers[m] < item.first || moe_layers[m] > item.last) continue;
            if (const auto own = item.own_rule()) edit.rule = own;
            if (item.k) edit.k = item.k;
            if (item.p) edit.p = item.p;
            if (item.tau) edit.tau = item.tau;
            if (item.noise) edit.noise = item.noise;
            for (const auto& b : item.bias) set_bias(edit, b.expert, b.bias);
            if (item.temperature) edit.temperature = item.temperature;
            for (int e : item.masked) insert(edit.masked, e);
            for (int e : item.forced) insert(edit.forced, e);
            for (int e : item.zeroed) insert(edit.zeroed, e);
            edit.swapped.insert(edit.swapped.end(), item.swapped.begin(), item.swapped.end());
        }
    }
    return edits;
}

gs::Policy join_layers(const gs::Policy& base, std::span<const LayerEdit> edits, std::span<const int> moe_layers) {
    gs::Policy out = base;
    out.layers.clear();
    for (size_t m = 0; m < edits.size(); ++m) {
        const LayerEdit& edit = edits[m];
        if (edit.empty()) continue;
        if (m > 0 && edits[m - 1] == edit) {
            out.layers.back().last = moe_layers[m];
            continue;
        }
        gs::Policy::LayerItem item;
        item.first = item.last = moe_layers[m];
        // rule@L=topk beside k@L is implied, and left out of the text.
        item.rule = edit.rule == gs::implied_rule(edit.tau.has_value(), edit.p.has_value(), edit.k.has_value()) ? std::nullopt : edit.rule;
        item.k = edit.k;
        item.temperature = edit.temperature;
        item.masked = edit.masked;
        item.forced = edit.forced;
        item.zeroed = edit.zeroed;
        item.swapped = edit.swapped;
        item.p = edit.p;
        item.tau = edit.tau;
        item.noise = edit.noise;
        item.bias = edit.bias;
        out.layers.push_back(std::move(item));
    }
    return out;
}

void set_layer_k(LayerEdit& edit, const gs::Policy& base, const gs::RouterSpec& spec, int k) {
    const bool as_trained = base.rule == gs::GateRule::kNative && k == spec.n_used;
    const bool as_all = base.rule == gs::GateRule::kTopK && k == (base.k > 0 ? base.k : spec.n_used);
    edit.rule.reset();
    edit.k.reset();
    edit.p.reset();
    edit.tau.reset();
    if (as_trained || as_all) return;
    edit.rule = gs::GateRule::kTopK;
    edit.k = k;
}

}  // namespace app
