// Colour maps as tables of 256 entries (ux.md R22-R25): cividis is the default, no jet. A colour is 8 bits each of red (lowest), green, blue and alpha: ImGui's
// layout (IM_COL32) too.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace app {

enum class ColorMap : uint8_t { kCividis, kViridis, kGreys, kBlueOrange /* diverging, grey at the middle */ };
inline constexpr ColorMap kColorMaps[] = {ColorMap::kCividis, ColorMap::kViridis, ColorMap::kGreys, ColorMap::kBlueOrange};

constexpr uint32_t rgb_color(uint32_t red, uint32_t green, uint32_t blue) { return 0xff000000u | blue << 16 | green << 8 | red; }
/// 0 red, 1 green, 2 blue.
constexpr uint8_t channel_of(uint32_t color, int channel) { return static_cast<uint8_t>(color >> 8 * channel & 255); }

const char* name_of(ColorMap map);
/// 256 colours, low to high.
std::span<const uint32_t, 256> table(ColorMap map);
/// t is clamped to 0..1; NaN gives the "no value" colour.
uint32_t sample(ColorMap map, float t);
uint32_t no_value_color();
/// Black or white, whichever reads better on `background` (R27).
uint32_t text_color_on(uint32_t background);
/// Okabe-Ito colour of rank or pin 0..7 (R25); repeats after that.
uint32_t pinned_color(int index);

}  // namespace app
