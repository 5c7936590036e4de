#include <algorithm>
#include <cmath>
#include <cstdio>

#include "app/widgets/heatmap.h"

namespace app {

static std::string end_label(float value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", double(value));
    return text;
}

void color_bar(const char* id, ColorMap map, float low, float high, const char* title, ImVec2 size) {
    const float px = ImGui::GetFontSize() / ImGui::GetStyle().FontSizeBase, font_px = 12 * px;
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImDrawList& list = *ImGui::GetWindowDrawList();
    const ImU32 text = ImGui::GetColorU32(ImGuiCol_Text), dim = ImGui::GetColorU32(ImGuiCol_TextDisabled);
    const std::string low_text = end_label(low), high_text = end_label(high);
    const auto width = [&](const char* s) { return ImGui::GetFont()->CalcTextSizeA(font_px, FLT_MAX, 0, s).x; };
    const std::span<const ImU32, 256> colors = table(map);
    constexpr int kSteps = 64;                                  // bands with a gradient between two entries each: no visible steps
    const bool vertical = size.y > size.x;
    // Vertical: title, high, bar, low from the top. Horizontal: title, low, bar, high from the left.
    const float gap = 4 * px, title_px = *title ? (vertical ? font_px + gap : width(title) + 2 * gap) : 0;
    ImVec2 from, to;
    if (vertical) {
        from = {at.x, at.y + title_px + font_px + gap};
        to = {at.x + std::min(size.x, 14 * px), at.y + size.y - font_px - gap};
    } else {
        from = {at.x + title_px + width(low_text.c_str()) + gap, at.y + (size.y - std::min(size.y, 12 * px)) / 2};
        to = {at.x + size.x - width(high_text.c_str()) - gap, from.y + std::min(size.y, 12 * px)};
    }
    ImGui::InvisibleButton(id, {std::max(size.x, 1.0f), std::max(size.y, 1.0f)});
    ImGui::SetItemTooltip("%s: %.6g to %.6g, %s; hatched: no value", *title ? title : "range", double(low), double(high), name_of(map));
    if (to.x - from.x < 2 || to.y - from.y < 2) return;
    for (int i = 0; i < kSteps; ++i) {
        const float t0 = float(i) / kSteps, t1 = float(i + 1) / kSteps;
        const ImU32 a = colors[size_t(t0 * 255)], b = colors[size_t(t1 * 255)];
        if (vertical) {
            const float y0 = to.y + (from.y - to.y) * t0, y1 = to.y + (from.y - to.y) * t1;
            list.AddRectFilledMultiColor({from.x, y1}, {to.x, y0}, b, b, a, a);
        } else {
            const float x0 = from.x + (to.x - from.x) * t0, x1 = from.x + (to.x - from.x) * t1;
            list.AddRectFilledMultiColor({x0, from.y}, {x1, to.y}, a, b, b, a);
        }
    }
    list.AddRect(from, to, ImGui::GetColorU32(ImGuiCol_Border));
    const float text_y = at.y + (size.y - font_px) / 2;
    if (*title) list.AddText(nullptr, font_px, vertical ? at : ImVec2(at.x, text_y), dim, title);
    list.AddText(nullptr, font_px, vertical ? ImVec2(at.x, from.y - font_px - gap / 2) : ImVec2(to.x + gap, text_y), text,
                 high_text.c_str());
    list.AddText(nullptr, font_px, vertical ? ImVec2(at.x, to.y + gap / 2) : ImVec2(from.x - gap - width(low_text.c_str()), text_y), text,
                 low_text.c_str());
}

}  // namespace app
