// Value axis of a bar chart: round ticks, labels in the left margin, faint grid lines; and slot labels below, thinned until they fit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "imgui.h"

namespace app {

struct AxisTick {
    double value = 0;
    std::string label;
};

/// Round ticks 0, step, 2·step … up to `high` (1, 2, 2.5 or 5 times a power of ten), at most n_max of them. percent: labels "25 %".
std::vector<AxisTick> axis_ticks(double high, int n_max, bool percent);
/// Smallest round number at or above `high`, so that the tallest bar nearly fills the axis; 0 gives 1.
double round_up_axis(double high);

struct ValueAxis {
    ImVec2 low_px, high_px;                ///< plot rectangle, top-left and bottom-right
    double high = 1;                       ///< value at the top; 0 is at the bottom
    bool percent = false;
    ImU32 text = 0, grid = 0;

    float y_of(double value) const;
};
/// Width that the labels of this axis need, gap included.
float value_axis_width(double high, float height_px, bool percent);
void draw_value_axis(ImDrawList* draw, const ValueAxis& axis);
/// Labels centred under n slots of equal width, every 1st, 2nd, 5th, 10th … so that none touch.
void draw_slot_labels(ImDrawList* draw, const ValueAxis& axis, int n_slots, const std::function<std::string(int)>& label);

}  // namespace app
