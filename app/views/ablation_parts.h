// Parts of the ablation panel: the set of ablated experts as it is built by clicks, and a measured result beside its controls.
#pragma once

#include "app/views/view.h"

namespace app {

/// Adds an expert to the set that the panel measures and applies, or changes its mode. Experts of the same layer never run in each other's place.
void ablate_expert(ViewSettings& settings, const gs::AblatedExpert& expert);
void keep_expert(ViewSettings& settings, int layer, int expert);
/// The entry of that expert (layer: blk.N), or null.
const gs::AblatedExpert* ablated_entry(const ViewSettings& settings, int layer, int expert);

/// The policy ablates that expert in that way.
bool is_in_force(const gs::Policy& policy, const gs::AblatedExpert& expert);

/// Zero, route around and swap for one expert as buttons on one line, and a button that takes it back where it is in the set. moe_layer: row of moe_layers.
void ablation_buttons(ViewContext& context, int moe_layer, int expert);

/// Effect, mean and range of the controls, and where each control lies; false while nothing of the result is known.
bool draw_ablation_figures(const ViewContext& context, const gs::AblationResult& result);
/// KL of the ablated set among that of its controls on one axis.
void draw_ablation_strip(const ViewContext& context, const gs::AblationResult& result, ImVec2 size);

/// Experts that the set names, and those that the policy of the newest token ablates, as picks without a token.
std::vector<Pick> ablated_picks(const ViewContext& context);

/// What a mode does, one sentence.
const char* ablation_explained(gs::AblationMode mode);
/// "layer 12 · expert 3: zero"
std::string describe(const gs::AblatedExpert& expert);

}  // namespace app
