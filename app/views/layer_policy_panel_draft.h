// The policy on show while the layer table changes it: as a whole, and taken apart by layer.
#pragma once

#include <string>
#include <vector>

#include "app/views/layer_policy_panel_edit.h"
#include "app/views/view.h"

namespace app {

struct LayerPolicyDraft {
    gs::Policy policy;                     ///< as shown this frame
    std::vector<LayerEdit> layers;         ///< [M], of `policy`
    std::string error;                     ///< why the last change was not taken; empty: it was

    /// Once a frame, before anything is changed: takes what the picture shows.
    void take_shown(const ViewContext& context);
    /// Joins the layers into `policy` and shows it; `commit` also asks for the re-run.
    void changed(ViewContext& context, bool commit);
    /// Makes the text form the policy, or says in `error` why not.
    void apply_text(ViewContext& context, const std::string& text);
    /// Back to the model's own routing in every layer.
    void reset(ViewContext& context);
    /// Every layer by the rule and k of all layers; masks, forces and biases stay.
    void drop_layer_rules();
    /// Free, masked, forced, free again; what the policy does not allow is passed over, with the reason in `error`.
    void cycle_expert(ViewContext& context, int moe_layer, int expert);
};

}  // namespace app
