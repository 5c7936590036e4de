// Signs on the cells of a heatmap, for what a colour cannot say: only where cells are large enough to carry them, only those in sight.
#pragma once

#include "app/widgets/heatmap_view.h"

namespace app {

/// Cells under this size, in pixels at scale 1, carry no sign.
inline constexpr float kSmallestSignedCellPx = 6;
bool carries_signs(const HeatmapAxis& cols, const HeatmapAxis& rows, float px);

/// kDropped: a cross over the cell. kFragile: a corner. kTie: a corner and two bars.
void draw_signs(const HeatmapInput& input, const HeatmapAxis& cols, const HeatmapAxis& rows, bool swapped, float px, ImDrawList& list);

}  // namespace app
