// The experts of one layer under the layer table: a chip each to mask, force and free it, and a bias for the one selected.
#pragma once

#include "app/views/layer_policy_panel_draft.h"

namespace app {

void draw_layer_experts(ViewContext& context, LayerPolicyDraft& draft, int moe_layer);
/// Room that they take at the present width, in pixels.
float layer_experts_height(int n_experts);

}  // namespace app
