// Ratios to what chance gives, as heatmaps show them: their log2, so that twice and half are equally far from the middle of a diverging map.
#pragma once

#include <algorithm>
#include <cmath>

namespace app {

/// −∞ for 0: what was never seen; NaN stays.
inline float log2_ratio(double ratio) { return static_cast<float>(std::log2(ratio)); }

/// How far the colours of a map go either way, from the largest finite |log2| of its cells: 16-fold at most. Beyond, a cell is as coloured as can be and
/// its number goes on.
inline float log2_reach(float most) { return most > 0 ? std::min(most, 4.0f) : 1.0f; }

}  // namespace app
