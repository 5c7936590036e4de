#include "app/views/views_b.h"

namespace app {

using enum Dock;

// id, title, place in {Explore, Teach, Tune}, maker, note
static constexpr ViewRow kViews[] = {
    {"prompt", "Prompt and routing", kTop, make_prompt_view},
    {"heatmap", "Heatmap", kCenter, make_heatmap_view, "Tokens against experts or layers: who was chosen, with what weight"},
    {"histogram", "Load", {kBeside, kClosed, kBeside}, make_histogram_view, "How often each expert is used, beside what chance alone would give"},
    {"gates", "Gating", {kBeside, kBeside, kClosed}, make_gates_view, "Soft, hard and every k on one token's hidden state, with the error of each"},
    {"layers", "Layers", {kCenter, kClosed, kCenter}, make_layer_policy_view, "k, masks and forced experts, layer by layer"},
    {"sensitivity", "Sensitivity", {kClosed, kClosed, kCenter}, make_sensitivity_view, "What each layer loses by another k, and the cheapest k for all of them"},
    {"inspector", "Inspector", kRight, make_inspector_view, "Everything known of the selected token, layer and expert"},
    {"tokens", "Tokens", kBottom, make_tokens_view, "Prompt and answer, coloured by what the router did"},
    {"compare", "Compare", kBottom, make_compare_view, "This run beside the one before it: both texts and the distance"},
    {"status", "Status", kStatus, make_status_view},
};

std::span<const ViewRow> all_views() { return kViews; }

}  // namespace app
