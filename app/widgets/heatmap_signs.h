// Signs on the cells of a heatmap, for what a colour cannot say: only where cells are large enough to carry them, only those in sight.
#pragma once

#include "app/widgets/heatmap_plot.h"

namespace app {

/// kDropped: a cross over the cell. kFragile: a corner. kTie: a corner and two bars.
void draw_signs(const HeatmapPlot& plot, const HeatmapInput& input, ImDrawList& list);

}  // namespace app
