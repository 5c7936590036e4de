#include "app/views/views_b.h"

namespace app {

using enum Dock;

// id, title, place in {Explore, Teach, Tune}, maker, note
static constexpr ViewRow kViews[] = {
    {"prompt", "Prompt and routing", kTop, make_prompt_view},
    {"heatmap", "Heatmap", {kCenter, kCenter, kBeside}, make_heatmap_view, "Tokens against experts or layers: who was chosen, with what weight"},
    {"histogram", "Load", {kBeside, kClosed, kBeside}, make_histogram_view, "How often each expert is used, beside what chance alone would give"},
    {"gates", "Gating", {kBeside, kBeside, kClosed}, make_gates_view, "Soft, hard and every k on one token's hidden state, with the error of each"},
    {"diagram", "Diagram", {kClosed, kCenter, kClosed}, make_diagram_view, "Router, experts and sum of the picked layer with the picked token's numbers, a dense network beside it"},
    {"sweep", "k sweep", {kClosed, kClosed, kCenter}, make_sweep_view, "What every k costs on a text: quality, output error, speed and bytes"},
    {"sensitivity", "Sensitivity", {kClosed, kClosed, kCenter}, make_sensitivity_view, "What each layer loses by another k, and the cheapest k for all of them"},
    {"layers", "Layers", {kCenter, kClosed, kCenter}, make_layer_policy_view, "k, masks, forces and biases, layer by layer"},
    {"experts", "Experts", {kCenter, kClosed, kClosed}, make_experts_view, "Which experts serve which domain and which kind of word, beside what chance gives"},
    {"expert", "One expert", {kCenter, kClosed, kClosed}, make_expert_view, "One expert's domains, words, tokens in context, output norms and partners"},
    {"coactivation", "Co-activation", {kCenter, kClosed, kClosed}, make_coactivation_view, "Who is chosen with whom, the flow between layers, repetition from token to token"},
    {"ablation", "Ablation", {kClosed, kClosed, kCenter}, make_ablation_view, "What a text loses without some experts, beside random experts of equal usage"},
    {"cost", "Cost", {kClosed, kCenter, kClosed}, make_cost_view, "Parameters, operations, bytes and memory beside dense models; prices"},
    {"dense", "MoE and dense", {kClosed, kClosed, kClosed}, make_side_by_side_view, "The model and its dense parent on the same prompt"},
    {"inspector", "Inspector", kRight, make_inspector_view, "Everything known of the selected token, layer and expert"},
    {"tokens", "Tokens", kBottom, make_tokens_view, "Prompt and answer, coloured by what the router did"},
    {"compare", "Compare", kBottom, make_compare_view, "This run beside the pinned one or the one before it: both texts, routes, every changed decision"},
    {"status", "Status", kStatus, make_status_view},
};

std::span<const ViewRow> all_views() { return kViews; }

}  // namespace app
