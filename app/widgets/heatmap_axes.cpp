#include "app/widgets/heatmap_axes.h"

#include <algorithm>
#include <cfloat>
#include <vector>

#include "engine/core/utf8.h"
#include "imgui.h"

namespace app {

static constexpr float kFontPx = 12;                            // at scale 1; the smallest that R30 allows
static constexpr float kGapPx = 5;
static constexpr float kLongestUprightPx = 84, kLongestSidewaysPx = 110;
static constexpr int kMeasured = 24;                            // labels measured for an axis

static float text_width(const std::string& text, float font_px) {
    return ImGui::GetFont()->CalcTextSizeA(font_px, FLT_MAX, 0, text.data(), text.data() + text.size()).x;
}

int label_step(float cell_px, float need_px) {
    for (int decade = 1;; decade *= 10)
        for (int step : {1, 2, 5})
            if (float(step) * float(decade) * cell_px >= need_px || decade >= 100'000'000) return step * decade;
}

std::string shorten_middle(const std::string& text, float max_px, float font_px) {
    if (text_width(text, font_px) <= max_px) return text;
    std::vector<size_t> starts;                                 // of characters
    for (size_t i = 0; i < text.size(); ++i)
        if (gs::starts_character(text[i])) starts.push_back(i);
    starts.push_back(text.size());
    for (size_t kept = starts.size() - 2; kept >= 2; --kept) {
        const size_t left = (kept + 1) / 2, right = kept - left;
        const std::string shorter = text.substr(0, starts[left]) + "…" + text.substr(starts[starts.size() - 1 - right]);
        if (text_width(shorter, font_px) <= max_px) return shorter;
    }
    return "…";
}

AxisLayout lay_out_axis(const HeatmapAxis& axis, const AxisLabel& label, const std::string& title, bool horizontal, float px) {
    const float font_px = kFontPx * px, title_px = title.empty() ? 0 : font_px + kGapPx * px;
    AxisLayout layout;
    float longest_px = 0;
    const int begin = axis.begin(), end = axis.end(), every = std::max(1, (end - begin) / kMeasured);
    for (int cell = begin; cell < end; cell += every) longest_px = std::max(longest_px, text_width(label(cell), font_px));
    const float rounded_px = float(int(longest_px / (8 * px)) + 1) * 8 * px;   // in steps, so that panning does not make the plot jitter
    if (horizontal) {
        layout.upright = longest_px > 3 * font_px && longest_px + kGapPx * px > axis.cell_px();
        layout.label_px = layout.upright ? std::min(rounded_px, kLongestUprightPx * px) : font_px;
    } else {
        layout.label_px = std::min(rounded_px, kLongestSidewaysPx * px);
    }
    layout.gutter_px = layout.label_px + title_px + 2 * kGapPx * px;
    return layout;
}

/// Text that runs upwards from `at`, its lower left corner: laid out normally, then turned about that point.
static void add_upright_text(ImDrawList& list, ImVec2 at, float font_px, ImU32 color, const std::string& text) {
    const int first = list.VtxBuffer.Size;
    const ImVec4 everywhere(-FLT_MAX, -FLT_MAX, FLT_MAX,
                            FLT_MAX);  // the turned text is what must be clipped, and the draw command does that
    at = {float(int(at.x)), float(int(at.y))};
    ImGui::GetFont()->RenderText(&list, font_px, at, color, everywhere, text.data(), text.data() + text.size());
    for (int i = first; i < list.VtxBuffer.Size; ++i) {
        ImVec2& p = list.VtxBuffer[i].pos;
        p = {at.x + (p.y - at.y), at.y - (p.x - at.x)};
    }
}

void draw_horizontal_axis(ImDrawList& list, const HeatmapAxis& axis, const AxisLayout& layout, const AxisLabel& label,
                          const std::string& title, float top_px, float px) {
    const float font_px = kFontPx * px;
    const ImU32 color = ImGui::GetColorU32(ImGuiCol_Text), dim = ImGui::GetColorU32(ImGuiCol_TextDisabled);
    float need_px = font_px * 1.15f;
    if (!layout.upright)
        for (int cell : {axis.begin(), axis.end() - 1})
            if (cell >= 0) need_px = std::max(need_px, text_width(label(cell), font_px) + 2 * kGapPx * px);
    const int step = label_step(axis.cell_px(), need_px);
    for (int cell = (axis.begin() + step - 1) / step * step; cell < axis.end(); cell += step) {
        const float center = axis.to_px(cell + 0.5);
        if (center < axis.origin_px || center > axis.origin_px + axis.length_px) continue;
        const std::string text = shorten_middle(label(cell), layout.upright ? layout.label_px : axis.length_px, font_px);
        const float width = text_width(text, font_px);
        if (layout.upright)
            add_upright_text(list, {center - font_px / 2, top_px + kGapPx * px + width}, font_px, color, text);
        else
            list.AddText(nullptr, font_px, {center - width / 2, top_px + kGapPx * px}, color, text.c_str());
    }
    if (!title.empty())
        list.AddText(nullptr, font_px,
                     {axis.origin_px + (axis.length_px - text_width(title, font_px)) / 2, top_px + layout.gutter_px - font_px - 2 * px},
                     dim, title.c_str());
}

void draw_vertical_axis(ImDrawList& list, const HeatmapAxis& axis, const AxisLayout& layout, const AxisLabel& label,
                        const std::string& title, float right_px, float px) {
    const float font_px = kFontPx * px;
    const ImU32 color = ImGui::GetColorU32(ImGuiCol_Text), dim = ImGui::GetColorU32(ImGuiCol_TextDisabled);
    const int step = label_step(axis.cell_px(), font_px * 1.15f);
    for (int cell = (axis.begin() + step - 1) / step * step; cell < axis.end(); cell += step) {
        const float center = axis.to_px(cell + 0.5);
        if (center < axis.origin_px || center > axis.origin_px + axis.length_px) continue;
        const std::string text = shorten_middle(label(cell), layout.label_px, font_px);
        const float top_px = std::max(axis.origin_px, center - font_px / 2);       // the first of many thin rows would lose its upper half
        list.AddText(nullptr, font_px, {right_px - kGapPx * px - text_width(text, font_px), top_px}, color, text.c_str());
    }
    if (!title.empty())
        add_upright_text(list, {right_px - layout.gutter_px + 2 * px, axis.origin_px + (axis.length_px + text_width(title, font_px)) / 2},
                         font_px, dim, title);
}

}  // namespace app
