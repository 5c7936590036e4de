// The three looks of the window. One palette a theme feeds ImGui's colours, ImPlot's and the views' Theme, so that they cannot drift apart;
// tests/app/shell_theme_test.cpp checks the contrast of each pair that is drawn (ux.md R26).
#pragma once

#include <cstdint>
#include <string>

namespace app {

struct Theme;                                    ///< app/views/view.h

enum class ThemeKind : uint8_t { kDark, kLight, kContrast };
inline constexpr ThemeKind kThemes[] = {ThemeKind::kDark, ThemeKind::kLight, ThemeKind::kContrast};
const char* name_of(ThemeKind kind);             ///< "dark", "light", "contrast": in the settings and on the command line
/// False if there is no such theme; `kind` is left alone then.
bool parse_theme(const std::string& name, ThemeKind& kind);

/// Colours as 0xRRGGBB.
struct Palette {
    uint32_t window, panel, popup, frame, frame_hovered, frame_active, border, row_alternate;
    uint32_t text, text_dim, accent, accent_text, button, button_hovered, button_active, header, header_hovered, header_active;
    uint32_t grab, grab_active, focus, tab_hovered;
    uint32_t warning, error, ok, grid, selection, hover, what_if, track;
};
const Palette& palette(ThemeKind kind);

/// The views' colours of a theme.
const Theme& theme_of(ThemeKind kind);

/// Sets ImGui's style, and ImPlot's if it has a context, from scratch: sizes for `scale` (1 = 96 dpi), 0.75 to 3.
void apply_theme(ThemeKind kind, float scale);

}  // namespace app
