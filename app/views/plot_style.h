// How curves and points are drawn: one colour for line, marker and fill.
#pragma once

#include "imgui.h"
#include "implot.h"

namespace app {

inline ImPlotSpec plot_style(ImU32 packed, float weight, ImPlotMarker marker = ImPlotMarker_None, float marker_size = 4) {
    ImPlotSpec spec;
    spec.LineColor = spec.FillColor = spec.MarkerFillColor = spec.MarkerLineColor = ImGui::ColorConvertU32ToFloat4(packed);
    spec.LineWeight = weight;
    spec.Marker = marker;
    spec.MarkerSize = marker_size;
    return spec;
}

}  // namespace app
