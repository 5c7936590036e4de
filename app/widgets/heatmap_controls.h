// Mouse and keyboard on a heatmap: the item before is the button that covers its plot.
#pragma once

#include "app/widgets/heatmap_plot.h"
#include "app/widgets/heatmap_pyramid.h"

namespace app {

/// Wheel and dragging change `view`; pointing, clicking and painting go into `hit`.
void use_mouse(const HeatmapPlot& plot, const HeatmapInput& input, const HeatmapPyramid& values, HeatmapView& view, HeatmapHit& hit);
/// F fits; arrows, Home and End go into `hit`.
void use_keys(const HeatmapPlot& plot, const HeatmapInput& input, HeatmapView& view, HeatmapHit& hit);

}  // namespace app
