#include "app/shell/key_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/views/overlays.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {

/// What is pressed, or for a command that is held a modifier that is held by itself.
std::optional<KeyBinding> KeyList::wanted_key(const Command& command, ViewContext& context) {
    static const std::vector<KeyBinding> kModifiersAlone = parse_bindings("Shift Ctrl Alt Super");
    if (command.hold) {
        if (const KeyBinding* held = m_modifier.update(kModifiersAlone, /*listens=*/true)) return *held;
        if (m_modifier.wait_seconds() > 0) context.keep_awake_past(m_modifier.wait_seconds());
    }
    return pressed_binding();
}

/// What is pressed while a row waits: Esc leaves it, Backspace takes its key away, a key of another command asks first.
void KeyList::draw_waiting(CommandTable& commands, ViewContext& context) {
    const Command* command = commands.find(m_waiting_id);
    if (!command) return m_waiting_id.clear();
    if (const Command* other = commands.conflict(m_waiting_id, m_taken)) {
        ImGui::PushStyleColor(ImGuiCol_Text, ImGui::GetStyleColorVec4(ImGuiCol_UnsavedMarker));
        ImGui::TextWrapped("%s is the key of \"%s\" already.", to_text(m_taken).c_str(), other->title.c_str());
        ImGui::PopStyleColor();
        if (ImGui::Button("Take it from there###take")) {
            commands.bind(m_waiting_id, m_taken);
            m_waiting_id.clear();
        }
        tooltip(fmt::format("\"{}\" is left without this key", other->title).c_str());
        ImGui::SameLine();
        if (ImGui::Button("Leave both as they are###leave")) m_waiting_id.clear();
        tooltip("Nothing is changed");
        return;
    }
    ImGui::TextWrapped("Press the new key for \"%s\".  Esc: leave it.  Backspace: no key.", command->title.c_str());
    const auto pressed = wanted_key(*command, context);
    if (!pressed) return;
    const std::string id = m_waiting_id;
    if (pressed->chord == ImGuiKey_Escape) return m_waiting_id.clear();
    if (pressed->chord == ImGuiKey_Backspace) {
        commands.bind(id, {});
    } else if (commands.conflict(id, *pressed)) {
        m_taken = *pressed;
        return;
    } else {
        commands.bind(id, *pressed);
    }
    m_waiting_id.clear();
}

void KeyList::draw_row(CommandTable& commands, const Command& command) {
    ImGui::PushID(command.id.c_str());
    ImGui::TableNextRow();
    ImGui::TableNextColumn();
    const bool waits = m_waiting_id == command.id;
    const std::string keys = waits ? command.hold ? "hold a key" : "press a key" : command.keys.empty() ? "–" : command.keys_text();
    if (ImGui::Button((keys + "###key").c_str(), {-1, 0})) {
        m_waiting_id = waits ? "" : command.id;
        m_taken = {};
    }
    tooltip("Click, then press another key for it");
    ImGui::TableNextColumn();
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(command.title.c_str());
    tooltip(command.note.c_str());
    ImGui::TableNextColumn();
    if (!commands.is_default(command)) {
        if (ImGui::Button("↺###reset")) commands.reset_keys(command.id);
        tooltip(command.default_keys.empty() ? "Back to no key" : fmt::format("Back to {}", command.default_keys).c_str());
    }
    ImGui::PopID();
}

void KeyList::draw(CommandTable& commands, ViewContext& context) {
    if (!open) {
        m_waiting_id.clear();
        return;
    }
    const float unit = ImGui::GetFontSize();
    ImGui::SetNextWindowSize({std::min(unit * 34, ImGui::GetMainViewport()->WorkSize.x * 0.95f), ImGui::GetMainViewport()->WorkSize.y * 0.85f},
                             ImGuiCond_Appearing);
    if (begin_overlay("Keys###keys", open, unit * 34)) {
        if (is_waiting()) draw_waiting(commands, context);
        ImGui::SetNextItemWidth(unit * 14);
        ImGui::InputTextWithHint("###filter", "find a command", &m_filter);
        tooltip("Shows only what has these letters in its name");
        ImGui::SameLine();
        ImGui::BeginDisabled(commands.changed_keys().empty());
        if (ImGui::Button("All keys as delivered###reset_all")) commands.reset_all_keys();
        tooltip("Every command gets its first key back");
        ImGui::EndDisabled();
        dim_text("Letters, digits and signs do nothing while a text field is active. In the prompt: Enter runs, Ctrl+Enter begins a line.");
        const ImGuiTableFlags flags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_RowBg | ImGuiTableFlags_ScrollY;
        if (ImGui::BeginTable("###list", 3, flags)) {
            ImGui::TableSetupColumn("key", ImGuiTableColumnFlags_WidthFixed, unit * 9);
            ImGui::TableSetupColumn("does", ImGuiTableColumnFlags_WidthStretch);
            ImGui::TableSetupColumn("", ImGuiTableColumnFlags_WidthFixed, unit * 2);
            const char* group = nullptr;
            for (const Command& command : commands.all()) {
                if (!m_filter.empty() && fuzzy_score(m_filter, command.title) == 0) continue;
                if (const char* name = name_of(command.group); name != group) {
                    group = name;
                    ImGui::TableNextRow();
                    ImGui::TableNextColumn();
                    dim_text(group);
                }
                draw_row(commands, command);
            }
            ImGui::EndTable();
        }
    }
    ImGui::End();
}

}  // namespace app
