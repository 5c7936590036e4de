#define IMGUI_DEFINE_MATH_OPERATORS
#include "app/widgets/heatmap_signs.h"

#include <algorithm>
#include <vector>

namespace app {
namespace {

constexpr float kSmallestSignedCellPx = 6;                     // cells under this size, at scale 1, carry no sign

/// Dark under bright: readable on every colour of every map.
void line(ImDrawList& list, ImVec2 a, ImVec2 b, ImU32 color, float px) {
    list.AddLine(a, b, IM_COL32(0, 0, 0, 190), 3.2f * px);
    list.AddLine(a, b, color, 1.6f * px);
}

void draw_sign(ImDrawList& list, ImVec2 low, ImVec2 high, uint8_t signs, ImU32 color, float px) {
    const float side = std::min(high.x - low.x, high.y - low.y);
    if (signs & HeatmapInput::kDropped) {
        const ImVec2 in(side * 0.2f, side * 0.2f);
        line(list, low + in, high - in, color, px);
        line(list, {low.x + in.x, high.y - in.y}, {high.x - in.x, low.y + in.y}, color, px);
    }
    if (!(signs & (HeatmapInput::kFragile | HeatmapInput::kTie))) return;
    const float corner = std::clamp(side * 0.4f, 4 * px, 9 * px);
    const ImVec2 tip(high.x, low.y);
    list.AddTriangleFilled({tip.x - corner - px, tip.y}, {tip.x, tip.y + corner + px}, tip, IM_COL32(0, 0, 0, 190));
    list.AddTriangleFilled({tip.x - corner, tip.y}, {tip.x, tip.y + corner}, tip, color);
    if (!(signs & HeatmapInput::kTie) || side < 2 * kSmallestSignedCellPx * px) return;
    const float length = std::min(side * 0.35f, 8 * px);
    for (const float up : {3.0f, 6.5f}) line(list, {high.x - length - 2 * px, high.y - up * px}, {high.x - 2 * px, high.y - up * px}, color, px * 0.8f);
}

}  // namespace

void draw_signs(const HeatmapPlot& plot, const HeatmapInput& input, ImDrawList& list) {
    const HeatmapAxis &cols = plot.cols, &rows = plot.rows;
    if (!input.fill_signs || std::min(cols.cell_px(), rows.cell_px()) < kSmallestSignedCellPx * plot.px) return;
    std::vector<uint8_t> signs(static_cast<size_t>(std::max(input.n_rows, 0)));
    for (int col = cols.begin(); col < cols.end(); ++col) {
        std::fill(signs.begin(), signs.end(), uint8_t{0});
        input.fill_signs(col, signs);
        for (int row = rows.begin(); row < rows.end(); ++row) {
            const uint8_t sign = signs[static_cast<size_t>(row)];
            if (sign == 0) continue;
            const ImRect cell = plot.cell_rect(col, row);
            draw_sign(list, cell.Min, cell.Max, sign, input.sign_color, plot.px);
        }
    }
}

}  // namespace app
