// Bars of non-negative values in equal slots: with a uniform line and its sampling band, a cut line after the first k, ghosts of older values.
// Below one pixel a slot, neighbouring bars share a pixel column and the tallest is drawn, so that a lone spike never vanishes.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "app/widgets/value_axis.h"
#include "imgui.h"

namespace app {

struct BarsInput {
    std::span<const float> values;         ///< [n]; NaN: no bar
    std::span<const float> ghosts;         ///< [n] or empty: thin outline of the values before
    std::span<const ImU32> colors;         ///< [n] or empty: `color` for all
    ImU32 color = 0;
    double high = 1;                       ///< value at full height
    float line = std::numeric_limits<float>::quiet_NaN();            ///< horizontal reference line; NaN: none
    float band_low = 0, band_high = 0;     ///< shaded across the bars when band_high > band_low
    int cut = -1;                          ///< vertical line after this many slots; -1: none
    int selected = -1, hovered = -1;       ///< slots to outline
    ImU32 line_color = 0, band_color = 0, cut_color = 0, selection_color = 0, hover_color = 0, ghost_color = 0;
};

struct BarsHit {
    bool hovered = false, clicked = false, context_menu = false;
    int slot = -1;                         ///< under the pointer
};

/// Draws into the rectangle only; no item, no interaction.
void draw_bars(ImDrawList* draw, const BarsInput& input, ImVec2 low_px, ImVec2 high_px);
/// Makes the rectangle an item `id` of that size at the cursor, draws the bars, says which slot the pointer is on.
BarsHit bars(const char* id, const BarsInput& input, ImVec2 size);
/// Slot of n under x, or -1.
int slot_at(float x, float low_x, float high_x, int n_slots);

}  // namespace app
