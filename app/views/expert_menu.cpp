#include "app/views/expert_menu.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "app/views/ablation_parts.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

using gs::AblatedExpert;
using gs::AblationMode;

/// The policy with the expert ablated so and in no other way, or with it back where it was.
gs::Policy toggled(const gs::Policy& policy, const AblatedExpert& wanted) {
    if (is_in_force(policy, wanted)) return gs::without_ablation(policy, {wanted});
    std::vector<AblatedExpert> others;
    for (const AblatedExpert& e : gs::ablated_in(policy)) {
        const bool clash = e.expert == wanted.expert || e.swap_to == wanted.expert || (wanted.swap_to >= 0 && e.expert == wanted.swap_to);
        if (e.layer == wanted.layer && clash) others.push_back(e);
    }
    return gs::with_ablation(gs::without_ablation(policy, others), {wanted});
}

/// One way to ablate as an entry with a mark where it is in force; it cannot be chosen where no policy is like that (a mask of the last expert).
void apply_item(ViewContext& context, const char* text, const AblatedExpert& wanted, const char* explanation) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const bool on = is_in_force(context.state.policy, wanted);
    const gs::Policy policy = toggled(context.state.policy, wanted);
    const gs::Result<void> possible = policy.check(info.router, info.n_layers);
    if (ImGui::MenuItem(text, nullptr, on, static_cast<bool>(possible))) apply_policy(context, policy);
    tooltip(!possible ? possible.error().message().c_str()
                      : fmt::format("{} In layer {} only. {} Ctrl+Z goes back.", explanation, wanted.layer, on ? "It is in force: chosen again, the expert is back." : "The prompt runs again and Compare shows both answers.").c_str());
}

void set_items(ViewContext& context, const Pick& pick, int layer) {
    if (ablated_entry(context.settings, layer, pick.expert)) {
        if (ImGui::MenuItem("Take out of the ablation set###take_out")) keep_expert(context.settings, layer, pick.expert);
        return tooltip("The set that the Ablation panel measures; the routing in force stays as it is");
    }
    if (ImGui::MenuItem("Add to ablation…###add")) {
        ablate_expert(context.settings, {layer, pick.expert, AblationMode::kZero, -1});
        context.selected.moe_layer = pick.moe_layer, context.selected.expert = pick.expert;
        context.wants_panel = "ablation";
    }
    tooltip("Puts it into the set that the Ablation panel measures beside random experts of equal usage, and shows that panel. Chosen again, or × there, it is out.");
}

void items_of_expert(ViewContext& context, const Pick& pick) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const int layer = model_layer(info, pick.moe_layer);
    dim_text(fmt::format("layer {} · expert {}", layer, pick.expert));
    apply_item(context, "Zero this expert here###zero", {layer, pick.expert, AblationMode::kZero, -1}, ablation_explained(AblationMode::kZero));
    apply_item(context, "Route around it here###around", {layer, pick.expert, AblationMode::kRouteAround, -1}, ablation_explained(AblationMode::kRouteAround));
    if (ImGui::BeginMenu("Swap it here###swap", info.router.n_experts > 1)) {
        for (int e = 0; e < info.router.n_experts; ++e)
            if (e != pick.expert) apply_item(context, fmt::format("expert {} runs instead###to{}", e, e).c_str(), {layer, pick.expert, AblationMode::kSwap, e}, ablation_explained(AblationMode::kSwap));
        ImGui::EndMenu();
    } else {
        tooltip(ablation_explained(AblationMode::kSwap));
    }
    ImGui::Separator();
    set_items(context, pick, layer);
}

}  // namespace

void expert_menu_items(ViewContext& context, const Pick& pick) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (pick.moe_layer < 0 || pick.moe_layer >= trace.n_moe_layers() || pick.expert >= trace.n_experts()) return;
    if (pick.expert >= 0) return items_of_expert(context, pick);
    if (pick.token < 0 || pick.token >= trace.n_tokens()) return;
    dim_text(fmt::format("\"{}\" · layer {}: the experts it uses", token_label(trace, pick.token, 24), model_layer(trace.info(), pick.moe_layer)));
    for (const uint16_t expert : trace.ids(pick.moe_layer, pick.token)) {
        const Pick of{pick.token, pick.moe_layer, expert};
        if (!ImGui::BeginMenu(fmt::format("expert {}###e{}", expert, expert).c_str())) {
            tooltip("What can be done about this expert");
            continue;
        }
        items_of_expert(context, of);
        ImGui::EndMenu();
    }
}

void ExpertMenu::draw(ViewContext& context) {
    if (std::exchange(m_opens, false)) ImGui::OpenPopup("expert_menu");
    if (!ImGui::BeginPopup("expert_menu")) return;
    expert_menu_items(context, m_pick);
    ImGui::EndPopup();
}

}  // namespace app
