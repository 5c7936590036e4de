#include "app/views/views_b.h"

namespace app {

static constexpr ViewRow kViews[] = {
    {"prompt", "Prompt and routing", Dock::kTop, make_prompt_view},
    {"heatmap", "Heatmap", Dock::kCenter, make_heatmap_view},
    {"histogram", "Expert load", Dock::kCenter, make_histogram_view},
    {"gates", "Gating", Dock::kCenter, make_gates_view},
    {"layers", "Layers", Dock::kCenter, make_layer_policy_view},
    {"sensitivity", "Sensitivity", Dock::kCenter, make_sensitivity_view},
    {"inspector", "Inspector", Dock::kRight, make_inspector_view},
    {"tokens", "Tokens", Dock::kBottom, make_tokens_view},
    {"compare", "Compare", Dock::kBottom, make_compare_view},
    {"status", "Status", Dock::kStatus, make_status_view},
};

std::span<const ViewRow> all_views() { return kViews; }

}  // namespace app
