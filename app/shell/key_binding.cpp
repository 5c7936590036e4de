#include "app/shell/key_binding.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "imgui_internal.h"

namespace app {
namespace {

struct NamedKey {
    ImGuiKey key;
    const char* name;
};
/// Names people use where ImGui's differ; the first of a key is the one that is written.
constexpr std::array kNames = {
    NamedKey{ImGuiKey_LeftArrow, "Left"}, NamedKey{ImGuiKey_RightArrow, "Right"}, NamedKey{ImGuiKey_UpArrow, "Up"},
    NamedKey{ImGuiKey_DownArrow, "Down"}, NamedKey{ImGuiKey_Escape, "Esc"},       NamedKey{ImGuiKey_Equal, "="},
    NamedKey{ImGuiKey_Minus, "-"},        NamedKey{ImGuiKey_Comma, ","},          NamedKey{ImGuiKey_Period, "."},
    NamedKey{ImGuiKey_Slash, "/"},        NamedKey{ImGuiKey_Semicolon, ";"},      NamedKey{ImGuiKey_Apostrophe, "'"},
    NamedKey{ImGuiKey_LeftBracket, "["},  NamedKey{ImGuiKey_RightBracket, "]"},   NamedKey{ImGuiKey_Backslash, "\\"},
    NamedKey{ImGuiKey_GraveAccent, "`"},  NamedKey{ImGuiKey_KeypadAdd, "Num+"},   NamedKey{ImGuiKey_KeypadSubtract, "Num-"}};

bool same_word(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y)); });
}

std::string key_name(ImGuiKey key) {
    for (const NamedKey& named : kNames)
        if (named.key == key) return named.name;
    return ImGui::GetKeyName(key);
}

ImGuiKey key_named(std::string_view name) {
    for (const NamedKey& named : kNames)
        if (same_word(named.name, name)) return named.key;
    for (int key = ImGuiKey_NamedKey_BEGIN; key < ImGuiKey_NamedKey_END; ++key)
        if (same_word(ImGui::GetKeyName(static_cast<ImGuiKey>(key)), name)) return static_cast<ImGuiKey>(key);
    return ImGuiKey_None;
}

bool is_modifier_key(ImGuiKey key) {
    return (key >= ImGuiKey_LeftCtrl && key <= ImGuiKey_RightSuper) || (key >= ImGuiKey_ReservedForModCtrl && key <= ImGuiKey_ReservedForModSuper);
}

bool is_function_key(ImGuiKey key) { return key >= ImGuiKey_F1 && key <= ImGuiKey_F24; }

/// Typed as a character: it is then bound by that.
bool types_character(ImGuiKey key) {
    return (key >= ImGuiKey_0 && key <= ImGuiKey_Z) || (key >= ImGuiKey_Apostrophe && key <= ImGuiKey_GraveAccent) ||
           (key >= ImGuiKey_Keypad0 && key <= ImGuiKey_KeypadAdd);
}

/// Belong to whatever widget has the keyboard.
bool moves_focus(ImGuiKey key) {
    return key == ImGuiKey_Space || key == ImGuiKey_Enter || key == ImGuiKey_KeypadEnter || key == ImGuiKey_Tab ||
           (key >= ImGuiKey_LeftArrow && key <= ImGuiKey_DownArrow);
}

bool edits_text(ImGuiKeyChord chord) {
    const ImGuiKey key = static_cast<ImGuiKey>(chord & ~ImGuiMod_Mask_);
    if ((chord & ImGuiMod_Ctrl) == 0) return !is_function_key(key);
    for (const ImGuiKey editing : {ImGuiKey_A, ImGuiKey_C, ImGuiKey_V, ImGuiKey_X, ImGuiKey_Y, ImGuiKey_Z, ImGuiKey_LeftArrow, ImGuiKey_RightArrow,
                                   ImGuiKey_Home, ImGuiKey_End, ImGuiKey_Backspace, ImGuiKey_Delete, ImGuiKey_Enter, ImGuiKey_Insert})
        if (key == editing && (chord & ImGuiMod_Shift) == 0) return true;
    return key == ImGuiKey_Z || key == ImGuiKey_Home || key == ImGuiKey_End || (key >= ImGuiKey_LeftArrow && key <= ImGuiKey_DownArrow);
}

constexpr std::array kModifiers = {std::pair("Ctrl", ImGuiMod_Ctrl), std::pair("Shift", ImGuiMod_Shift), std::pair("Alt", ImGuiMod_Alt),
                                   std::pair("Super", ImGuiMod_Super)};

ImGuiKeyChord modifier_named(std::string_view name) {
    for (const auto& [word, modifier] : kModifiers)
        if (same_word(word, name)) return modifier;
    return 0;
}

/// The key whose state says whether the binding is down; ImGui takes a modifier as one.
ImGuiKey held_key(const KeyBinding& binding) {
    if (binding.character) return key_named(std::string(1, static_cast<char>(binding.character)));
    return static_cast<ImGuiKey>(is_modifier_alone(binding) ? binding.chord : binding.chord & ~ImGuiMod_Mask_);
}

/// Another key, a mouse button or the wheel; ImGui counts the latter two among the keys.
bool others_are_used(const KeyBinding& binding) {
    const ImGuiIO& io = ImGui::GetIO();
    if (io.KeyMods != (binding.chord & ImGuiMod_Mask_) || (is_modifier_alone(binding) && !io.InputQueueCharacters.empty())) return true;
    for (int k = ImGuiKey_NamedKey_BEGIN; k < ImGuiKey_NamedKey_END; ++k) {
        const ImGuiKey key = static_cast<ImGuiKey>(k);
        if (key != held_key(binding) && !is_modifier_key(key) && ImGui::IsKeyDown(key)) return true;
    }
    return false;
}

/// The modifiers of a key that was pressed in this frame. In a slow one the modifier may have been let go of already: it counts all the same, unless
/// something was typed, which nothing is while Ctrl or Alt is down.
ImGuiKeyChord modifiers_of_frame() {
    const ImGuiIO& io = ImGui::GetIO();
    ImGuiKeyChord held = io.KeyMods;
    if (io.InputQueueCharacters.empty())
        for (const auto& [word, modifier] : kModifiers)
            if (ImGui::IsKeyReleased(static_cast<ImGuiKey>(modifier))) held |= modifier;
    return held;
}

ImWchar lower(ImWchar c) { return c >= 'A' && c <= 'Z' ? static_cast<ImWchar>(c + 32) : c; }

}  // namespace

std::optional<KeyBinding> parse_binding(std::string_view text) {
    KeyBinding binding;
    if (text.empty()) return binding;
    for (size_t plus; (plus = text.find('+')) != std::string_view::npos && plus > 0 && plus + 1 < text.size();) {
        const ImGuiKeyChord modifier = modifier_named(text.substr(0, plus));
        if (modifier == 0) break;
        binding.chord |= modifier;
        text.remove_prefix(plus + 1);
    }
    if (binding.chord == 0 && text.size() == 1 && text[0] > ' ' && text[0] < 0x7f) {
        binding.character = lower(static_cast<ImWchar>(text[0]));
        return binding;
    }
    if (binding.chord == 0 && modifier_named(text)) return KeyBinding{.chord = modifier_named(text)};
    const ImGuiKey key = key_named(text);
    if (key == ImGuiKey_None || is_modifier_key(key)) return std::nullopt;
    binding.chord |= key;
    return binding;
}

std::string to_text(const KeyBinding& binding) {
    if (binding.character) return std::string(1, static_cast<char>(std::toupper(binding.character)));
    if (binding.chord == 0) return "";
    std::string text;
    for (const auto& [word, modifier] : kModifiers)
        if (binding.chord == modifier) return word;
        else if (binding.chord & modifier) text += std::string(word) + "+";
    return text + key_name(static_cast<ImGuiKey>(binding.chord & ~ImGuiMod_Mask_));
}

std::vector<KeyBinding> parse_bindings(std::string_view text) {
    std::vector<KeyBinding> bindings;
    while (!text.empty()) {
        const size_t end = std::min(text.find(' '), text.size());
        const auto binding = parse_binding(text.substr(0, end));
        if (binding && *binding != KeyBinding{}) bindings.push_back(*binding);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return bindings;
}

std::string to_text(const std::vector<KeyBinding>& bindings) {
    std::string text;
    for (const KeyBinding& binding : bindings) text += (text.empty() ? "" : " ") + to_text(binding);
    return text;
}

bool is_pressed(const KeyBinding& binding, bool repeats) {
    const ImGuiIO& io = ImGui::GetIO();
    if (binding.character) {
        if (io.WantTextInput || io.KeyCtrl || io.KeyAlt || io.KeySuper) return false;
        // Shift with a letter is a key of its own; other signs need it on many keyboards.
        const bool shifted_letter = io.KeyShift && binding.character >= 'a' && binding.character <= 'z';
        return !shifted_letter && std::any_of(io.InputQueueCharacters.begin(), io.InputQueueCharacters.end(),
                                              [&](ImWchar typed) { return lower(typed) == binding.character; });
    }
    if (binding.chord == 0 || is_modifier_alone(binding)) return false;
    const ImGuiKey key = static_cast<ImGuiKey>(binding.chord & ~ImGuiMod_Mask_);
    if (modifiers_of_frame() != (binding.chord & ImGuiMod_Mask_)) return false;
    if (io.WantTextInput && edits_text(binding.chord)) return false;
    const bool plain = (binding.chord & (ImGuiMod_Ctrl | ImGuiMod_Alt)) == 0;
    if (plain && io.NavVisible && moves_focus(key)) return false;
    // Without Ctrl or Alt, a widget may have claimed the key; and a panel with changes of its own to undo.
    const bool may_be_claimed = plain || edits_text(binding.chord);
    return ImGui::IsKeyPressed(key, repeats ? ImGuiInputFlags_Repeat : 0, may_be_claimed ? ImGuiKeyOwner_NoOwner : ImGuiKeyOwner_Any);
}

bool is_modifier_alone(const KeyBinding& binding) { return binding.chord != 0 && (binding.chord & ~ImGuiMod_Mask_) == 0; }

const KeyBinding* KeyHold::update(const std::vector<KeyBinding>& bindings, bool listens) {
    m_wait_seconds = 0;
    const auto down = std::find_if(bindings.begin(), bindings.end(), [](const KeyBinding& binding) { return ImGui::IsKeyDown(held_key(binding)); });
    if (down == bindings.end()) {
        m_spoiled = false;
        return nullptr;
    }
    m_spoiled = m_spoiled || !listens || ImGui::GetIO().WantTextInput || others_are_used(*down);
    if (m_spoiled) return nullptr;
    const double left = is_modifier_alone(*down) ? kAlone_seconds - static_cast<double>(ImGui::GetKeyData(held_key(*down))->DownDuration) : 0;
    m_wait_seconds = std::max(0.0, left);
    return left > 0 ? nullptr : &*down;
}

std::optional<KeyBinding> pressed_binding() {
    const ImGuiIO& io = ImGui::GetIO();
    const bool with_modifier = io.KeyCtrl || io.KeyAlt || io.KeySuper;
    for (int k = ImGuiKey_Keyboard_BEGIN; k < ImGuiKey_Keyboard_END; ++k) {
        const ImGuiKey key = static_cast<ImGuiKey>(k);
        if (is_modifier_key(key) || !ImGui::IsKeyPressed(key, false)) continue;
        if (with_modifier || !types_character(key)) return KeyBinding{.chord = io.KeyMods | key};
    }
    if (!with_modifier)
        for (const ImWchar typed : io.InputQueueCharacters)
            if (typed > ' ' && typed < 0x7f) return KeyBinding{.character = lower(typed)};
    return std::nullopt;
}

}  // namespace app
