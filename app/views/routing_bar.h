// The routing half of the top bar: k, gate rule, weight rule, temperature, sum of weights, and what the last change did.
#pragma once

#include "app/views/gate_popup.h"

namespace app {

/// So narrow, or so large a scale, that only prompt, k and rule stay in the bar; the rest moves into "More".
bool is_compact();
/// Weights, their sum and temperature are in "More", too: there is no room, or a first lesson does without them.
bool is_bar_short(const ViewContext& context);
/// Router of what is on screen: the run's, else the loaded model's. n_experts = 0: none.
gs::RouterSpec router_on_screen(const gs::SessionState& state);

class RoutingBar {
public:
    void draw(ViewContext& context);
    void draw_weights(ViewContext& context);
    void draw_temperature(ViewContext& context);
    /// Σ of the applied weights, beside the rule that scales them.
    void draw_sum(ViewContext& context);

private:
    void draw_k(ViewContext& context, const gs::RouterSpec& router);
    void draw_rule(ViewContext& context, const gs::RouterSpec& router);
    void draw_outcome(ViewContext& context);

    GatePopup m_gates;
    float m_temperature = 1;  ///< while it is dragged
};

}  // namespace app
