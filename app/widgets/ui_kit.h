// Small parts that many panels share: formatted numbers, segmented buttons, badges, empty states, cut text. Text from files is never a
// format string or an id.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "imgui.h"

namespace app {

/// Three significant digits: "0.123", "12.3", "1.23e-5"; "–" for NaN.
std::string format_number(double value);
/// Every digit of the stored float.
std::string format_exact(float value);
std::string format_percent(double share);  ///< "12.3 %"
std::string format_bytes(double bytes);    ///< "84.4 MB", SI
std::string format_count(uint64_t n);      ///< "135 M"
/// Cut in the middle with "…" so that it fits, by the current font.
std::string fit_text(std::string_view text, float width_px);

/// One of several, as joined buttons. Width 0: as wide as the labels. True when the choice changed.
bool segmented(const char* id, std::span<const char* const> labels, int& index, std::span<const char* const> tooltips = {});
/// Rounded label in a tinted box; for provenance and states.
void badge(const char* text, ImU32 color, ImU32 ink = 0);  ///< ink 0: color, which must then be readable on the panel
ImVec2 badge_size(const char* text);
/// Stays on the line of the item before if width_px more fit, else starts a new line: controls wrap when the window is narrow.
void flow(float width_px);
/// A dim word in front of a control, on the control's baseline; the control follows on the same line.
void label(const char* text);
enum class Icon : uint8_t { kPlay, kStop, kStep };
/// Button with a drawn mark in front of its label: does not depend on icon fonts.
bool icon_button(const char* id, Icon icon, const char* text, bool prominent);
float icon_button_width(const char* text);
/// A panel without data: what it waits for, and the one action that helps. True when the button was pressed. action may be null.
bool empty_state(const char* title, const char* explanation, const char* action);
/// A dim label and a value after it on one line of a two-column block; tooltip explains on hover (may be null).
void key_value(const char* label, std::string_view value, const char* tooltip = nullptr);
/// Wrapped tooltip of the item before, after the usual delay.
void tooltip(const char* text);
/// Horizontal bar 0..1 in the current column with text over it.
void share_bar(float share, ImU32 color, const char* text, ImVec2 size);
/// Text of the theme's dim colour.
void dim_text(std::string_view text);
/// A heading inside a panel.
void heading(const char* text);
ImU32 with_alpha(ImU32 color, float alpha);

}  // namespace app
