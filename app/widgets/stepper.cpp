#include "app/widgets/stepper.h"

#include <algorithm>

#include "app/widgets/ui_kit.h"
#include "imgui.h"

namespace app {

float stepper_width(const char* widest) { return 2 * ImGui::GetFrameHeight() + ImGui::CalcTextSize(widest).x + 2 * ImGui::GetStyle().ItemInnerSpacing.x; }

static bool arrow(const char* id, ImGuiDir to, bool enabled, const char* explanation) {
    ImGui::BeginDisabled(!enabled);
    const bool pressed = ImGui::ArrowButton(id, to);
    ImGui::EndDisabled();
    tooltip(explanation);
    return pressed;
}

bool stepper(const char* id, const StepperTexts& texts, int n, int& index) {
    const int before = index;
    const float gap = ImGui::GetStyle().ItemInnerSpacing.x;
    ImGui::PushID(id);
    ImGui::BeginGroup();
    if (arrow("###previous", ImGuiDir_Left, index > 0, texts.before)) --index;
    ImGui::SameLine(0, gap);
    const float width = ImGui::CalcTextSize(texts.widest).x, own = ImGui::CalcTextSize(texts.now.c_str()).x, left = ImGui::GetCursorPosX();
    ImGui::AlignTextToFramePadding();
    ImGui::SetCursorPosX(left + std::max(0.0f, (width - own) / 2));
    ImGui::TextUnformatted(texts.now.c_str());
    ImGui::SameLine(0, 0);
    ImGui::SetCursorPosX(left + width + gap);
    if (arrow("###next", ImGuiDir_Right, index + 1 < n, texts.after)) ++index;
    ImGui::EndGroup();
    ImGui::PopID();
    index = std::clamp(index, 0, std::max(n - 1, 0));
    return index != before;
}

}  // namespace app
