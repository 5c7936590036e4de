#include "app/widgets/metric_tile.h"

#include <algorithm>

#include "app/widgets/ui_kit.h"

namespace app {

float metric_tile_height() { return ImGui::GetFontSize() * 3.5f; }

int metric_tiles_per_row(float width_px, int n) {
    const float gap = ImGui::GetStyle().ItemSpacing.x, least = ImGui::GetFontSize() * 7.2f;
    const int fit = std::clamp(static_cast<int>((width_px + gap) / (least + gap)), 1, std::max(1, n));
    const int n_rows = (n + fit - 1) / fit;
    return (n + n_rows - 1) / n_rows;      // 6 tiles where 5 fit: 3 + 3, not 5 + 1
}

bool metric_tile(const char* id, const MetricTile& tile, ImVec2 size) {
    const float unit = ImGui::GetFontSize(), pad = unit * 0.4f, width = size.x - 2 * pad;
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImGui::InvisibleButton(id, size);
    const bool hovered = ImGui::IsItemHovered();
    draw->AddRectFilled(at, {at.x + size.x, at.y + size.y}, ImGui::GetColorU32(hovered ? ImGuiCol_FrameBgHovered : ImGuiCol_FrameBg), unit * 0.25f);
    const ImU32 dim = ImGui::GetColorU32(ImGuiCol_TextDisabled);
    draw->AddText({at.x + pad, at.y + unit * 0.15f}, dim, fit_text(tile.name, width).c_str());
    draw->AddText(ImGui::GetFont(), unit * 1.15f, {at.x + pad, at.y + unit * 1.08f}, ImGui::GetColorU32(ImGuiCol_Text), tile.value.c_str());
    if (!tile.null.empty()) draw->AddText({at.x + pad, at.y + unit * 2.32f}, dim, fit_text(tile.null, width).c_str());
    return hovered;
}

}  // namespace app
