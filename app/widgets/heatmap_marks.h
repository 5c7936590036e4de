// What is drawn over a heatmap's cells: numbers where they have room, outlines, stepped lines. Signs are in heatmap_signs.h.
#pragma once

#include "app/widgets/heatmap_plot.h"
#include "app/widgets/heatmap_pyramid.h"

namespace app {

/// The value in every cell in sight, from a size on with a bar under it; nothing where cells are small or many.
void draw_numbers(const HeatmapPlot& plot, const HeatmapInput& input, const HeatmapPyramid& values, ImDrawList& list);
void draw_mark(const HeatmapPlot& plot, const HeatmapMark& mark, ImDrawList& list);
/// Level over each cell, upright at its edges.
void draw_path(const HeatmapPlot& plot, const HeatmapPath& path, ImDrawList& list);
/// Outline of the cell under the pointer.
void draw_pointed_cell(const HeatmapPlot& plot, const HeatmapInput& input, const HeatmapHit& hit, ImDrawList& list);

}  // namespace app
