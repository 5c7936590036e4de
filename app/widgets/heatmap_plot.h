// A heatmap's plot as it stands on the screen this frame: what is drawn over its cells, and what the mouse does to them, goes by it.
#pragma once

#include "app/widgets/heatmap_view.h"
#include "imgui_internal.h"

namespace app {

struct HeatmapPlot {
    HeatmapAxis cols, rows;
    ImRect area;
    bool swapped = false;                                       // columns run downwards
    float px = 1;                                               // pixels per unit of design size

    ImRect cell_rect(double col, double row, double n_cols = 1, double n_rows = 1) const {
        const ImVec2 a(cols.to_px(col), rows.to_px(row)), b(cols.to_px(col + n_cols), rows.to_px(row + n_rows));
        return swapped ? ImRect(a.y, a.x, b.y, b.x) : ImRect(a.x, a.y, b.x, b.y);
    }
};

}  // namespace app
