#include "app/shell/input_script.h"

namespace app {

InputScript& InputScript::wait(int n_frames) {
    m_events.insert(m_events.end(), size_t(n_frames), InputEvent{});
    return *this;
}

InputScript& InputScript::move(ImVec2 to) {
    m_events.push_back({.kind = InputEvent::Kind::kMouseMove, .position = to});
    return *this;
}

InputScript& InputScript::button(int button, bool down) {
    m_events.push_back({.kind = InputEvent::Kind::kMouseButton, .button = button, .down = down});
    return *this;
}

InputScript& InputScript::click(ImVec2 at, int which) { return move(at).wait().button(which, true).button(which, false).wait(); }

InputScript& InputScript::double_click(ImVec2 at) {
    return move(at).wait().button(0, true).button(0, false).button(0, true).button(0, false).wait();
}

InputScript& InputScript::drag(ImVec2 from, ImVec2 to) {
    move(from).wait().button(0, true);
    for (int i = 1; i <= 4; ++i) move({from.x + (to.x - from.x) * float(i) / 4, from.y + (to.y - from.y) * float(i) / 4});
    return button(0, false).wait();
}

InputScript& InputScript::wheel(float notches, ImVec2 at) {
    move(at).wait();
    m_events.push_back({.kind = InputEvent::Kind::kMouseWheel, .position = {0, notches}});
    return wait();
}

InputScript& InputScript::type(const std::string& text) {
    m_events.push_back({.kind = InputEvent::Kind::kText, .text = text});
    return wait();
}

InputScript& InputScript::key(ImGuiKey key, bool down) {
    m_events.push_back({.kind = InputEvent::Kind::kKey, .down = down, .key = key});
    return *this;
}

InputScript& InputScript::press(ImGuiKeyChord chord) {
    const ImGuiKey modifiers[] = {ImGuiMod_Ctrl, ImGuiMod_Shift, ImGuiMod_Alt};
    for (ImGuiKey modifier : modifiers)
        if (chord & modifier) hold(modifier);
    hold(ImGuiKey(chord & ~ImGuiMod_Mask_)).release(ImGuiKey(chord & ~ImGuiMod_Mask_));
    for (ImGuiKey modifier : modifiers)
        if (chord & modifier) release(modifier);
    return wait();
}

void apply(const InputEvent& event) {
    ImGuiIO& io = ImGui::GetIO();
    switch (event.kind) {
        case InputEvent::Kind::kNothing: break;
        case InputEvent::Kind::kMouseMove: io.AddMousePosEvent(event.position.x, event.position.y); break;
        case InputEvent::Kind::kMouseButton: io.AddMouseButtonEvent(event.button, event.down); break;
        case InputEvent::Kind::kMouseWheel: io.AddMouseWheelEvent(event.position.x, event.position.y); break;
        case InputEvent::Kind::kText: io.AddInputCharactersUTF8(event.text.c_str()); break;
        case InputEvent::Kind::kKey: io.AddKeyEvent(event.key, event.down); break;
    }
}

}  // namespace app
