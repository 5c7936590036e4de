// Two small windows over the panels: presets to open and to save, bookmarks to go to and to name.
#include <fmt/format.h>

#include <algorithm>

#include "app/shell/app_ui.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {

/// Title and sentence on a card that is one button; an own one has its Delete beside it.
bool AppUi::draw_preset(ViewContext& context, const Preset& preset) {
    const float unit = ImGui::GetFontSize();
    const ImGuiStyle& style = ImGui::GetStyle();
    ImGui::PushID(preset.is_own() ? ("own." + preset.id).c_str() : preset.id.c_str());
    const float remove = preset.is_own() ? ImGui::CalcTextSize("Delete").x + 2 * style.FramePadding.x + style.ItemSpacing.x : 0;
    const float width = ImGui::GetContentRegionAvail().x - remove;
    const float wrap = width - 2 * style.FramePadding.x;
    const std::string title = fit_text(visible_name(preset.title), wrap), sentence = visible_name(preset.sentence);
    const float height = unit + ImGui::CalcTextSize(sentence.c_str(), nullptr, false, wrap).y + 3 * style.FramePadding.y;
    const ImVec2 at = ImGui::GetCursorScreenPos();
    bool gone = false;
    if (ImGui::Button("###open", {width, height})) {
        open_preset(context, preset);
        m_gallery_open = false;
    }
    tooltip(fmt::format("Open it. As a line: {}", visible_name(preset.line)).c_str());
    ImDrawList* draw = ImGui::GetWindowDrawList();
    draw->AddText({at.x + style.FramePadding.x, at.y + style.FramePadding.y}, context.theme.text, title.c_str());
    draw->AddText(ImGui::GetFont(), unit, {at.x + style.FramePadding.x, at.y + unit + 2 * style.FramePadding.y}, context.theme.text_dim, sentence.c_str(), nullptr, wrap);
    if (preset.is_own()) {
        ImGui::SameLine();
        const bool ctrl = ImGui::GetIO().KeyCtrl;
        if (ImGui::Button("Delete###delete") && ctrl) {
            if (const auto done = delete_preset(preset); !done) m_session.notify({.error = done.error()});
            gone = true;
        }
        tooltip("Ctrl+click: the file is removed");
    }
    ImGui::PopID();
    return gone;
}

void AppUi::draw_save_preset(ViewContext& context) {
    heading("Keep what is on screen");
    const float unit = ImGui::GetFontSize();
    ImGui::SetNextItemWidth(unit * 12);
    ImGui::InputTextWithHint("###title", "title", &m_preset_title);
    tooltip("An own preset of the same title is replaced");
    ImGui::SameLine();
    ImGui::SetNextItemWidth(std::max(unit * 6, ImGui::GetContentRegionAvail().x - unit * 5));
    ImGui::InputTextWithHint("###sentence", "one sentence: what is to be seen", &m_preset_sentence);
    tooltip("Shown under the title");
    ImGui::SameLine();
    ImGui::BeginDisabled(m_preset_title.empty());
    if (ImGui::Button("Save###save_preset")) {
        const auto saved = save_preset(m_folder.empty() ? m_folder : m_folder / "presets", m_preset_title, m_preset_sentence, to_line(current_state(context.state)));
        if (saved) {
            say(context, "Saved as " + saved->file.string());
            m_preset_title.clear();
            m_preset_sentence.clear();
            m_presets_changed = true;
        } else {
            m_session.notify({.error = saved.error()});
        }
    }
    tooltip("Prompt, seed, routing with its layers, selection, panels and zoom, as a file in the settings folder");
    ImGui::EndDisabled();
}

void AppUi::draw_gallery(ViewContext& context) {
    if (!m_gallery_open) return;
    const float unit = ImGui::GetFontSize(), width = unit * 40;
    ImGui::SetNextWindowSize({std::min(width, ImGui::GetMainViewport()->WorkSize.x * 0.95f), std::min(unit * 42, ImGui::GetMainViewport()->WorkSize.y * 0.9f)}, ImGuiCond_Appearing);
    if (begin_overlay("Presets###presets", m_gallery_open, width)) {
        if (!context.state.can_run()) dim_text("Most presets run a prompt: they need a model.");
        const float below = 3 * ImGui::GetFrameHeightWithSpacing();
        if (ImGui::BeginChild("###cards", {0, std::max(unit * 6, ImGui::GetContentRegionAvail().y - below)}, ImGuiChildFlags_NavFlattened)) {
            bool own = false;
            for (const Preset& preset : m_presets) {
                if (preset.is_own() && !own) heading("Your own");
                own = preset.is_own();
                m_presets_changed |= draw_preset(context, preset);
            }
        }
        ImGui::EndChild();
        draw_save_preset(context);
    }
    ImGui::End();
}

void AppUi::draw_bookmarks(ViewContext& context) {
    if (!m_bookmarks_open) return;
    const float unit = ImGui::GetFontSize();
    if (begin_overlay("Bookmarks###bookmarks", m_bookmarks_open, unit * 30)) {
        dim_text(fmt::format("Of this prompt on this model. {} keeps the selection and the view in slot 1, {} goes there.", m_commands.keys_of("bookmark.set.1"),
                             m_commands.keys_of("bookmark.go.1")));
        int n = 0;
        for (int slot = 1; slot <= Bookmarks::kSlots; ++slot) {
            auto mark = m_bookmarks.at(slot);
            if (!mark) continue;
            ++n;
            ImGui::PushID(slot);
            if (ImGui::Button(fmt::format("{}###go", slot).c_str(), {ImGui::GetFrameHeight() * 1.4f, 0})) go_to_bookmark(context, slot);
            tooltip("Go there");
            ImGui::SameLine();
            ImGui::SetNextItemWidth(std::max(unit * 6, ImGui::GetContentRegionAvail().x - unit * 4.5f));
            if (ImGui::InputText("###name", &mark->name, ImGuiInputTextFlags_EnterReturnsTrue) || ImGui::IsItemDeactivatedAfterEdit())
                if (const auto done = m_bookmarks.set(slot, mark); !done) m_session.notify({.error = done.error()});
            tooltip("Its name: type another one");
            ImGui::SameLine();
            if (ImGui::Button("Delete###delete") && ImGui::GetIO().KeyCtrl)
                if (const auto done = m_bookmarks.set(slot, std::nullopt); !done) m_session.notify({.error = done.error()});
            tooltip("Ctrl+click: the slot is free again");
            ImGui::PopID();
        }
        if (n == 0) dim_text("None yet: select a token, then press Ctrl and a digit.");
    }
    ImGui::End();
}

}  // namespace app
