// Keys as the user reads and changes them: "Ctrl+Shift+P", "Space", "F11", "[", "K". A single sign without Ctrl or Alt goes by the character
// that is typed, not by the key: on other keyboards punctuation lies elsewhere. A modifier by itself, "Shift", can be held but not pressed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "imgui.h"

namespace app {

struct KeyBinding {
    ImGuiKeyChord chord = 0;                     ///< key with modifiers, or a modifier by itself; 0: by character
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

/// A modifier by itself. It goes with other keys, so that it means something of its own only while it is held alone (KeyHold).
bool is_modifier_alone(const KeyBinding& binding);

/// A key that does something for as long as it is down. Other keys, buttons and the wheel are not disturbed: once one of them is used, or a
/// text field is active, nothing is held until the key is let go and pressed again; and a modifier waits a moment for what may follow it.
class KeyHold {
public:
    /// Once a frame. The one of `bindings` that is held, or null. listens: false while something else has the keyboard.
    const KeyBinding* update(const std::vector<KeyBinding>& bindings, bool listens);
    /// Until the key that is down counts as held; 0 if none does or it counts already. A frame is wanted then.
    double wait_seconds() const { return m_wait_seconds; }

    static constexpr double kAlone_seconds = 0.15;

private:
    bool m_spoiled = false;
    double m_wait_seconds = 0;
};

/// What the user presses now, for the key list's "press a key"; nullopt while nothing complete is pressed.
std::optional<KeyBinding> pressed_binding();

}  // namespace app
