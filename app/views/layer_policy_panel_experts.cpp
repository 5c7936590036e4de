#include "app/views/layer_policy_panel_experts.h"

#include <algorithm>

#include <fmt/format.h>

#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

/// Wide enough for the largest expert with a mark.
float chip_width(int n_experts) { return std::max(ImGui::CalcTextSize(n_experts > 100 ? "888 ×" : "88 ×").x + ImGui::GetStyle().FramePadding.x, ImGui::GetFontSize() * 1.6f); }

int chips_per_row(float width) {
    const float gap = ImGui::GetStyle().ItemSpacing.x;
    return std::max(1, static_cast<int>((ImGui::GetContentRegionAvail().x + gap) / (width + gap)));
}

void draw_chip(ViewContext& context, LayerPolicyDraft& draft, int moe_layer, int expert, float width) {
    const ExpertState state = state_of(draft.layers[static_cast<size_t>(moe_layer)], expert);
    const Theme& theme = context.theme;
    static constexpr const char* kMarks[] = {"", " ×", " +"};
    const bool lit = context.hovered.moe_layer == moe_layer && context.hovered.expert == expert;
    const ImU32 color = state == ExpertState::kMasked ? theme.error : state == ExpertState::kForced ? theme.ok : theme.text;
    ImGui::PushStyleColor(ImGuiCol_Text, color);
    const std::string label = fmt::format("{}{}###chip{}", expert, kMarks[static_cast<size_t>(state)], expert);
    const bool pressed = ImGui::Button(label.c_str(), {width, 0});
    ImGui::PopStyleColor();
    const ImVec2 low = ImGui::GetItemRectMin(), high = ImGui::GetItemRectMax();
    ImDrawList* draw = ImGui::GetWindowDrawList();
    if (state != ExpertState::kFree || lit) draw->AddRect(low, high, lit ? theme.hover : color, ImGui::GetStyle().FrameRounding, std::max(1.0f, ImGui::GetFontSize() / 10));
    if (ImGui::IsItemHovered()) {
        context.hovered_next.moe_layer = moe_layer;
        context.hovered_next.expert = expert;
    }
    tooltip(state == ExpertState::kFree     ? "Free: chosen by its score. Click: mask it, so that it can never be chosen."
            : state == ExpertState::kMasked ? "Masked: can never be chosen. Click: force it, so that it is always chosen."
                                            : "Forced: always among the chosen. Click: free it.");
    if (pressed) draft.cycle_expert(context, moe_layer, expert);
}

/// Of the expert selected: what is added to its selection score at this layer.
void draw_bias(ViewContext& context, LayerPolicyDraft& draft, int moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const int expert = context.selected.expert;
    if (expert < 0 || expert >= info.router.n_experts) {
        dim_text("Select an expert to give it a bias.");
        return;
    }
    LayerEdit& edit = draft.layers[static_cast<size_t>(moe_layer)];
    float bias = bias_of(edit, expert);
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(fmt::format("bias of expert {}", expert).c_str());
    ImGui::SameLine();
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 7);
    if (ImGui::DragFloat("###bias", &bias, 0.005f, -100, 100, "%+.3f", ImGuiSliderFlags_AlwaysClamp)) {
        set_bias(edit, expert, bias);
        draft.changed(context, false);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) draft.changed(context, true);
    tooltip("Added to the expert's selection score at this layer, not to its weight: how DeepSeek-V3 balances its experts without a loss. In units of the selection score: "
            "a share where that is a softmax or sigmoid, else logits. Drag: answered from the recorded logits. 0: none.");
}

}  // namespace

void draw_layer_experts(ViewContext& context, LayerPolicyDraft& draft, int moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    draw_bias(context, draft, moe_layer);
    caption(fmt::format("Experts of layer {}: click to mask (×), again to force (+), again to free.", model_layer(info, moe_layer)));
    const float width = chip_width(info.router.n_experts);
    const int per_row = chips_per_row(width);
    for (int e = 0; e < info.router.n_experts; ++e) {
        if (e % per_row != 0) ImGui::SameLine();
        draw_chip(context, draft, moe_layer, e, width);
    }
}

float layer_experts_height(int n_experts) {
    const int per_row = chips_per_row(chip_width(n_experts)), n_rows = (n_experts + per_row - 1) / per_row;
    return static_cast<float>(n_rows) * (ImGui::GetFrameHeight() + ImGui::GetStyle().ItemSpacing.y) + ImGui::GetFontSize() * 3.8f;
}

}  // namespace app
