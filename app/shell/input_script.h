// Simulated input, one event a frame: what a user does, written down for tests and pictures.
#pragma once

#include <string>
#include <vector>

#include "imgui.h"

namespace app {

struct InputEvent {
    enum class Kind : uint8_t { kNothing, kMouseMove, kMouseButton, kMouseWheel, kText, kKey };
    Kind kind = Kind::kNothing;                  ///< kNothing: just a frame
    ImVec2 position{0, 0};                       ///< kMouseMove: pixels; kMouseWheel: x and y notches
    int button = 0;
    bool down = false;                           ///< kMouseButton, kKey
    ImGuiKey key = ImGuiKey_None;                ///< also ImGuiMod_Ctrl and so on
    std::string text;                            ///< UTF-8
};

/// Builds a script: InputScript().click({100, 50}).type("hello").press(ImGuiKey_Enter).events()
class InputScript {
public:
    InputScript& wait(int n_frames = 1);
    InputScript& move(ImVec2 to);
    InputScript& click(ImVec2 at, int button = 0);
    InputScript& double_click(ImVec2 at);
    InputScript& drag(ImVec2 from, ImVec2 to);
    InputScript& wheel(float notches, ImVec2 at);
    InputScript& type(const std::string& text);
    /// chord: a key, with modifiers: ImGuiMod_Ctrl | ImGuiKey_S.
    InputScript& press(ImGuiKeyChord chord);
    /// A key alone, also ImGuiMod_Shift and so on, that stays down.
    InputScript& hold(ImGuiKey key) { return this->key(key, true); }
    InputScript& release(ImGuiKey key) { return this->key(key, false); }
    const std::vector<InputEvent>& events() const { return m_events; }

private:
    InputScript& button(int button, bool down);
    InputScript& key(ImGuiKey key, bool down);
    std::vector<InputEvent> m_events;
};

/// Hands one event to ImGui's input queue.
void apply(const InputEvent& event);

}  // namespace app
