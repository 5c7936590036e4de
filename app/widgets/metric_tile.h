// One number with its name and what a uniform router would show; tiles flow into rows of equal width.
#pragma once

#include <string>

#include "imgui.h"

namespace app {

struct MetricTile {
    const char* name = "";                 ///< "Gini"
    std::string value;                     ///< "0.291"
    std::string null;                      ///< "uniform 0.038"; empty: none
};

/// True while the pointer is on it; the caller then shows the card with formula, T and range. size in pixels.
bool metric_tile(const char* id, const MetricTile& tile, ImVec2 size);
/// Height of a tile, and the number of tiles of at least the design width that fit in a row of `width_px` (1..n).
float metric_tile_height();
int metric_tiles_per_row(float width_px, int n);

}  // namespace app
