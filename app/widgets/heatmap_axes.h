// Labels around a heatmap's plot: only those that show and have room, tokens upright where they do not fit side by side.
#pragma once

#include <functional>
#include <string>

#include "app/widgets/heatmap_view.h"

namespace app {

using AxisLabel = std::function<std::string(int cell)>;

/// What an axis needs beside the plot; made before the plot's size is known, from cells of cell_px.
struct AxisLayout {
    float gutter_px = 0;                         ///< labels and title together
    float label_px = 0;                          ///< room for one label, along its text
    bool upright = false;                        ///< text runs upwards (horizontal axis only)
};
AxisLayout lay_out_axis(const HeatmapAxis& axis, const AxisLabel& label, const std::string& title, bool horizontal, float px);

void draw_horizontal_axis(ImDrawList& list, const HeatmapAxis& axis, const AxisLayout& layout, const AxisLabel& label,
                          const std::string& title, float top_px, float px);
void draw_vertical_axis(ImDrawList& list, const HeatmapAxis& axis, const AxisLayout& layout, const AxisLabel& label,
                        const std::string& title, float right_px, float px);

/// Smallest of 1, 2, 5, 10, 20, … cells that is at least need_px wide.
int label_step(float cell_px, float need_px);

/// `text` cut in the middle to at most max_px at `font_px` (ux.md R28); whole UTF-8 characters.
std::string shorten_middle(const std::string& text, float max_px, float font_px);

}  // namespace app
