// Pictures of a report: matrices as PNGs in data URIs.
#pragma once

#include <functional>
#include <string>

#include "app/base/colormap.h"
#include "engine/routing/trace.h"

namespace app {

/// A pixel a cell, value(col, row) from low to high; NaN: no value. More than 4,096 columns: the largest of each group of neighbours.
std::string picture_uri(int n_cols, int n_rows, ColorMap map, float low, float high, const std::function<float(int, int)>& value);
/// The colour map itself, left to right.
std::string color_bar_uri(ColorMap map);

}  // namespace app
