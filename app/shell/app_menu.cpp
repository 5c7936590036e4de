#include "app/shell/app_ui.h"
#include "app/views/policy_edit.h"
#include "app/widgets/ui_kit.h"

namespace app {

void AppUi::draw_file_menu(ViewContext& context) {
    if (!ImGui::BeginMenu("File###file")) return;
    if (ImGui::MenuItem("Open…###open", "Ctrl+O")) m_ask_open = true;
    const bool have_run = context.state.run && !context.state.run->trace.empty();
    if (ImGui::MenuItem("Save run as…###save", "Ctrl+S", false, have_run)) ask_save(context.state);
    ImGui::Separator();
    if (ImGui::MenuItem("Settings…###settings_item")) m_settings_open = true;
    ImGui::Separator();
    if (ImGui::MenuItem("Quit###quit", "Ctrl+Q")) m_requests.quit = true;
    ImGui::EndMenu();
}

void AppUi::draw_run_menu(ViewContext& context) {
    if (!ImGui::BeginMenu("Run###run_menu")) return;
    const gs::SessionState& state = context.state;
    const bool live = state.run && state.run->phase != gs::RunPhase::kFinished;
    if (ImGui::MenuItem(live ? "Stop###toggle" : "Run###toggle", "Space", false, live || state.can_run())) toggle_run(context);
    if (ImGui::MenuItem("Step###step_item", ".", false, state.can_run())) m_session.step(make_request(context));
    if (ImGui::MenuItem("Restart the engine###restart_engine", nullptr, false, state.engine_failed)) m_session.restart_engine();
    ImGui::Separator();
    if (ImGui::MenuItem("Undo routing change###undo", "Ctrl+Z", false, m_history.can_undo())) apply_policy(context, *m_history.undo());
    if (ImGui::MenuItem("Redo routing change###redo", "Ctrl+Y", false, m_history.can_redo())) apply_policy(context, *m_history.redo());
    if (ImGui::MenuItem("Native routing###native", "N", false, !shown_policy(context).is_native())) apply_policy(context, gs::Policy{});
    ImGui::EndMenu();
}

void AppUi::draw_view_menu(ViewContext& context, const Appearance& appearance) {
    (void)context;
    if (!ImGui::BeginMenu("View###view_menu")) return;
    for (Panel& panel : m_panels) {
        if (panel.row->dock == Dock::kTop || panel.row->dock == Dock::kStatus) continue;
        ImGui::PushID(panel.row->id);
        if (ImGui::MenuItem(panel.row->title, nullptr, &panel.shown) && panel.shown) raise(panel.row->id);
        ImGui::PopID();
    }
    ImGui::Separator();
    if (ImGui::MenuItem("Reset layout###reset_layout")) {
        set_hidden_views({});
        m_build_layout = true;
    }
    ImGui::Separator();
    const bool light = appearance.theme == "light";
    if (ImGui::MenuItem("Dark###dark", nullptr, !light)) m_requests.appearance = Appearance{"dark", appearance.scale};
    if (ImGui::MenuItem("Light###light", nullptr, light)) m_requests.appearance = Appearance{"light", appearance.scale};
    ImGui::Separator();
    if (ImGui::MenuItem("Larger###larger", "Ctrl++")) zoom(appearance, 1);
    if (ImGui::MenuItem("Smaller###smaller", "Ctrl+-")) zoom(appearance, -1);
    if (ImGui::MenuItem("Normal size###normal", "Ctrl+0")) zoom(appearance, 0);
    ImGui::EndMenu();
}

void AppUi::draw_menu(ViewContext& context, const Appearance& appearance) {
    if (!ImGui::BeginMainMenuBar()) return;
    draw_file_menu(context);
    draw_run_menu(context);
    draw_view_menu(context, appearance);
    if (ImGui::BeginMenu("Help###help")) {
        if (ImGui::MenuItem("Keys###keys_item", "?")) m_keys_open = true;
        if (ImGui::MenuItem("About Gatescope###about_item")) m_about_open = true;
        ImGui::EndMenu();
    }
    ImGui::EndMainMenuBar();
}

}  // namespace app
