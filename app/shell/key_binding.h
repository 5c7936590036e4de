// Keys as the user reads and changes them: "Ctrl+Shift+P", "Space", "F11", "[", "K". A single sign without Ctrl or Alt goes by the character
// that is typed, not by the key: on other keyboards punctuation lies elsewhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "imgui.h"

namespace app {

struct KeyBinding {
    ImGuiKeyChord chord = 0;                     ///< key with modifiers; 0: by character
    ImWchar character = 0;                       ///< lower case
    bool operator==(const KeyBinding&) const = default;
};

/// "" gives none; nullopt when the text names no key.
std::optional<KeyBinding> parse_binding(std::string_view text);
std::string to_text(const KeyBinding& binding);
/// Several in one text, parted by spaces: "Ctrl+= Ctrl++". Names that are no key are left out.
std::vector<KeyBinding> parse_bindings(std::string_view text);
std::string to_text(const std::vector<KeyBinding>& bindings);

/// Pressed in this frame, as far as widgets leave it: nothing without Ctrl or F-keys while a text field is active (nor the chords that edit
/// text there), no Space, arrows or Enter while the keyboard moves among widgets.
bool is_pressed(const KeyBinding& binding, bool repeats);

/// What the user presses now, for the key list's "press a key"; nullopt while nothing complete is pressed.
std::optional<KeyBinding> pressed_binding();

}  // namespace app
