#define IMGUI_DEFINE_MATH_OPERATORS                         // before the first imgui.h
#include "app/widgets/heatmap_marks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string_view>
#include <vector>

namespace app {

static constexpr float kNumberCellPx = 22, kBarCellPx = 60;     // ux.md R12
static constexpr int kMostNumbers = 2500;

/// The text of one cell: short enough for a small one, full where there is room.
static std::string number_text(float value, bool roomy) {
    if (std::isinf(value)) return value < 0 ? "-∞" : "∞";
    char text[32];
    std::snprintf(text, sizeof text, roomy ? "%.3g" : std::abs(value) < 10 ? "%.2f" : "%.0f", double(value));
    return std::string_view(text) == "-0.00" ? "0.00" : text;
}

/// Where a value stands on the colour map, 0..1.
static float color_position(const HeatmapInput& input, float value) {
    return std::clamp((value - input.low) / std::max(input.high - input.low, std::numeric_limits<float>::min()), 0.0f, 1.0f);
}

void draw_numbers(const HeatmapPlot& plot, const HeatmapInput& input, const HeatmapPyramid& values, ImDrawList& list) {
    const HeatmapAxis &cols = plot.cols, &rows = plot.rows;
    const float px = plot.px, smaller_px = std::min(cols.cell_px(), rows.cell_px());
    const int n_visible = (cols.end() - cols.begin()) * (rows.end() - rows.begin());
    if (smaller_px < kNumberCellPx * px || n_visible > kMostNumbers) return;
    const bool roomy = smaller_px >= kBarCellPx * px;
    const float font_px = (roomy ? 14 : 12) * px;
    for (int col = cols.begin(); col < cols.end(); ++col) {
        for (int row = rows.begin(); row < rows.end(); ++row) {
            const float value = values.at(col, row);
            if (std::isnan(value)) continue;
            const ImRect cell = plot.cell_rect(col, row);
            const std::string text = number_text(value, roomy);
            const ImVec2 size = ImGui::GetFont()->CalcTextSizeA(font_px, FLT_MAX, 0, text.c_str());
            if (size.x + 3 * px > cell.GetWidth()) continue;
            const float t = color_position(input, value);
            const ImU32 color = text_color_on(sample(input.map, t));
            const ImVec2 center = cell.GetCenter();
            list.AddText(nullptr, font_px, {center.x - size.x / 2, center.y - size.y / 2}, color, text.c_str());
            if (!roomy) continue;
            const ImVec2 bar(cell.Min.x + 8 * px, cell.Max.y - 10 * px);
            const float length = cell.GetWidth() - 16 * px;
            list.AddRectFilled(bar, {bar.x + length, bar.y + 3 * px}, (color & ~IM_COL32_A_MASK) | IM_COL32(0, 0, 0, 60));
            list.AddRectFilled(bar, {bar.x + length * t, bar.y + 3 * px}, color);
        }
    }
}

void draw_mark(const HeatmapPlot& plot, const HeatmapMark& mark, ImDrawList& list) {
    const HeatmapAxis &cols = plot.cols, &rows = plot.rows;
    const float px = plot.px;
    if ((mark.col < 0 && mark.row < 0) || mark.col >= cols.n || mark.row >= rows.n) return;
    const bool whole_col = mark.row < 0, whole_row = mark.col < 0;
    ImRect rect = plot.cell_rect(whole_row ? 0 : mark.col, whole_col ? 0 : mark.row, whole_row ? cols.n : 1, whole_col ? rows.n : 1);
    // Where a cell is smaller than a few pixels, its mark is not.
    const float grow_x = std::max(0.0f, 5 * px - rect.GetWidth()) / 2, grow_y = std::max(0.0f, 5 * px - rect.GetHeight()) / 2;
    rect.Expand({grow_x, grow_y});
    const float thickness = mark.thickness_px * px;
    // A dark line outside the coloured one: readable on every colour of every map.
    list.AddRect(rect.Min - ImVec2(thickness, thickness), rect.Max + ImVec2(thickness, thickness), IM_COL32(0, 0, 0, 170), 0,
                 thickness);
    list.AddRect(rect.Min, rect.Max, mark.color, 0, thickness);
}

void draw_path(const HeatmapPlot& plot, const HeatmapPath& path, ImDrawList& list) {
    std::vector<ImVec2> points;
    const auto stroke = [&] {                                   // a dark line under the coloured one, as around marks
        const float thickness = path.thickness_px * plot.px;
        list.AddPolyline(points.data(), int(points.size()), IM_COL32(0, 0, 0, 170), thickness + 2 * plot.px);
        list.AddPolyline(points.data(), int(points.size()), path.color, thickness);
        points.clear();
    };
    for (int col = 0; col < std::min(plot.cols.n, int(path.rows.size())); ++col) {
        const int row = path.rows[size_t(col)];
        if (row < 0 || row >= plot.rows.n) {
            stroke();
            continue;
        }
        const ImRect cell = plot.cell_rect(col, row);
        const ImVec2 middle = cell.GetCenter();
        points.push_back(plot.swapped ? ImVec2(middle.x, cell.Min.y) : ImVec2(cell.Min.x, middle.y));
        points.push_back(plot.swapped ? ImVec2(middle.x, cell.Max.y) : ImVec2(cell.Max.x, middle.y));
    }
    stroke();
}

void draw_pointed_cell(const HeatmapPlot& plot, const HeatmapInput& input, const HeatmapHit& hit, ImDrawList& list) {
    const ImRect cell = plot.cell_rect(hit.col, hit.row);
    list.AddRect(cell.Min, cell.Max, text_color_on(sample(input.map, color_position(input, hit.value))), 0, plot.px);
}

}  // namespace app
