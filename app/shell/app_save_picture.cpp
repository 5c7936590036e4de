// "Save picture…" of a panel: on the menu of its tab, and in the File menu.
#include <algorithm>
#include <tuple>

#include "app/shell/app_ui.h"
#include "app/widgets/ui_kit.h"

namespace app {

/// Right after the panel's Begin: a right-click on its tab.
void AppUi::draw_tab_menu(ViewContext& context, const Panel& panel) {
    if (!ImGui::BeginPopupContextItem("###tab_menu")) return;
    const bool have_run = context.state.run && !context.state.run->trace.empty();
    if (ImGui::MenuItem("Save picture…###save_picture", nullptr, false, have_run)) m_picture.view = panel.row->id;
    ImGui::EndPopup();
}

/// Which panel and what size first, then the file.
void AppUi::draw_picture_dialog(ViewContext& context) {
    constexpr const char* kTitle = "Save picture###picture_size";
    if (!m_picture.view.empty() && !ImGui::IsPopupOpen(kTitle)) ImGui::OpenPopup(kTitle);
    ImGui::SetNextWindowPos(ImGui::GetMainViewport()->GetCenter(), ImGuiCond_Appearing, {0.5f, 0.5f});
    if (!ImGui::BeginPopupModal(kTitle, nullptr, ImGuiWindowFlags_AlwaysAutoResize | ImGuiWindowFlags_NoSavedSettings)) return;
    const Panel* chosen = panel_of(m_picture.view);
    label("Panel");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 12);
    if (ImGui::BeginCombo("###panel", chosen ? chosen->row->title : "")) {
        for (const Panel& panel : m_panels)
            if (!panel.row->places.fixed() && ImGui::Selectable(panel.row->title, &panel == chosen)) m_picture.view = panel.row->id;
        ImGui::EndCombo();
    }
    tooltip("The panel that is drawn");
    int size[2] = {m_picture.width_px, m_picture.height_px};
    label("Width, height in pixels");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 9);
    if (ImGui::InputInt2("###size", size)) m_picture.width_px = std::clamp(size[0], 320, 16384), m_picture.height_px = std::clamp(size[1], 320, 16384);
    tooltip("320 to 16384 each");
    for (const auto& [width, height, name] : {std::tuple(1280, 720, "1280×720"), {1920, 1080, "1920×1080"}, {3840, 2160, "3840×2160"}}) {
        if (ImGui::Button(name)) m_picture.width_px = width, m_picture.height_px = height;
        ImGui::SameLine();
    }
    ImGui::NewLine();
    dim_text("The panel is drawn anew at that size, as it first opens, with the selection of now and all that was computed.");
    bool done = ImGui::IsKeyPressed(ImGuiKey_Escape);
    if (ImGui::Button("Save as…###save")) {
        m_picture.theme = m_appearance.theme, m_picture.scale = m_appearance.scale;
        m_picture.pick = context.selected;
        m_picture_to_save = m_picture;
        ask_save_as("Save a picture of the panel", m_picture.view + ".png");
        done = true;
    }
    ImGui::SameLine();
    done |= ImGui::Button("Cancel###cancel");
    if (done) {
        m_picture.view.clear();
        ImGui::CloseCurrentPopup();
    }
    ImGui::EndPopup();
}

}  // namespace app
