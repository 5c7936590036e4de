// Curves over the MoE layers, each with the band that chance gives: hover and click pick a layer.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "app/views/view.h"

namespace app {

struct LayerCurve {
    std::string name;                      ///< in the legend
    ImU32 color = 0;
    std::vector<double> values;            ///< [M]
    std::vector<double> low, high;         ///< [M] or empty: band of chance
};

struct LayerPlotInput {
    std::span<const int> layers;           ///< [M] blk.N
    std::span<const LayerCurve> curves;
    const char* y_title = "";
    int selected = -1, hovered = -1;       ///< MoE layers
};

struct LayerPlotHit {
    int hovered = -1, clicked = -1;        ///< MoE layer under the pointer
};

LayerPlotHit draw_layer_plot(const char* id, const ViewContext& context, const LayerPlotInput& input, ImVec2 size);
/// The same figures as rows, one a layer: each curve and the band of chance beside it.
LayerPlotHit draw_layer_table(const char* id, const LayerPlotInput& input, ImVec2 size);

}  // namespace app
