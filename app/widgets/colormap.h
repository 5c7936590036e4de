// Colour maps as tables of 256 entries (ux.md R22-R25): cividis is the default, no jet.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "imgui.h"

namespace app {

enum class ColorMap : uint8_t { kCividis, kViridis, kGreys, kBlueOrange /* diverging, grey at the middle */ };
inline constexpr ColorMap kColorMaps[] = {ColorMap::kCividis, ColorMap::kViridis, ColorMap::kGreys, ColorMap::kBlueOrange};

const char* name_of(ColorMap map);
/// 256 colours, IM_COL32 layout, low to high.
std::span<const ImU32, 256> table(ColorMap map);
/// t is clamped to 0..1; NaN gives the "no value" colour.
ImU32 sample(ColorMap map, float t);
ImU32 no_value_color();
/// Black or white, whichever reads better on `background` (R27).
ImU32 text_color_on(ImU32 background);
/// Okabe-Ito colour of rank or pin 0..7 (R25); repeats after that.
ImU32 pinned_color(int index);

}  // namespace app
