// What the commands do to run, routing and selection, and the keys that call them (ux.md R13).
#include <algorithm>

#include "app/shell/app_ui.h"
#include "app/views/policy_edit.h"
#include "app/views/routing_bar.h"
#include "imgui_internal.h"

namespace app {

void AppUi::start_run(ViewContext& context) {
    m_what_if.set_policy(std::nullopt);
    m_session.run(make_request(context));
}

void AppUi::toggle_run(ViewContext& context) {
    const gs::SessionState& state = context.state;
    if (state.run && state.run->phase == gs::RunPhase::kPaused) return m_session.resume();
    if (state.run && state.run->phase != gs::RunPhase::kFinished) return m_session.stop();
    if (state.can_run()) start_run(context);
}

void AppUi::move_token(ViewContext& context, int by) {
    const int n = m_what_if.run_trace().n_tokens();
    if (n == 0) return;
    const int from = context.selected.token < 0 ? n - 1 : context.selected.token;
    context.selected.token = std::clamp(from + by, 0, n - 1);
}

void AppUi::move_layer(ViewContext& context, int by) {
    const int n = m_what_if.run_trace().n_moe_layers();
    if (n == 0) return;
    const int from = context.selected.moe_layer < 0 ? n / 2 : context.selected.moe_layer;
    context.selected.moe_layer = std::clamp(from + by, 0, n - 1);
}

/// Gives the keyboard to the next (previous) panel in sight; Tab then walks through its controls.
void AppUi::focus_panel() {
    const int by = std::exchange(m_focus_step, 0);
    if (by == 0) return;
    std::vector<ImGuiWindow*> windows;
    int now = -1;
    for (const Panel& panel : m_panels) {
        ImGuiWindow* window = ImGui::FindWindowByName(panel.title.c_str());
        const bool in_sight = window && (panel.row->places.fixed() ? panel.row->places.explore == Dock::kTop : is_in_front(panel));
        if (!in_sight) continue;
        if (GImGui->NavWindow && GImGui->NavWindow->RootWindow == window) now = static_cast<int>(windows.size());
        windows.push_back(window);
    }
    if (windows.empty()) return;
    const int n = static_cast<int>(windows.size());
    ImGuiWindow* next = windows[static_cast<size_t>(now < 0 ? 0 : (now + by + n) % n)];
    ImGui::FocusWindow(next);
    ImGui::NavInitWindow(next, true);
    ImGui::SetNavCursorVisible(true);
}

/// k = 0: the one there is, else the model's own. A held key repeats; once is enough.
void AppUi::set_rule(ViewContext& context, gs::GateRule rule, int k) {
    const gs::RouterSpec router = router_on_screen(context.state);
    gs::Policy policy = shown_policy(context);
    policy.rule = rule;
    policy.k = rule != gs::GateRule::kTopK ? 0 : k > 0 ? std::min(k, router.n_experts) : policy.k ? policy.k : router.n_used;
    if (!(policy == shown_policy(context))) apply_policy(context, policy);
}

/// Opens it, brings it to the front, or, when it is there already, closes it.
void AppUi::toggle_panel(Panel& panel) {
    if (is_in_front(panel)) panel.shown = false;
    else raise(panel.row->id);
}

void AppUi::pin(bool swap) {
    if (swap) m_session.swap_pinned();
    else m_session.pin_run();
    raise("compare");
}

void AppUi::zoom(int direction) {
    float scale = 1;
    if (direction > 0) {
        scale = kMaxScale;
        for (const float s : kScales)
            if (s > m_appearance.scale + 0.01f) scale = std::min(scale, s);
    } else if (direction < 0) {
        scale = kMinScale;
        for (const float s : kScales)
            if (s < m_appearance.scale - 0.01f) scale = std::max(scale, s);
    }
    m_requests.appearance = Appearance{m_appearance.theme, scale};
}

bool AppUi::takes_keys() const {
    return !m_single && ImGui::GetTopMostPopupModal() == nullptr && !m_file_dialog.is_open() && !m_palette.is_open() && !m_key_list.is_waiting();
}

/// Before anything is drawn. Seconds until a key that is down will count as held; 0: none.
double AppUi::run_held_keys() {
    m_flash_held = false;
    return m_commands.run_held(takes_keys() && !ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopupId));
}

void AppUi::handle_keys(ViewContext& context) {
    if (!takes_keys()) return;
    const Command* command = m_commands.pressed(context);
    if (!command) return;
    // An open menu or list takes the plain keys.
    const ImGuiIO& io = ImGui::GetIO();
    if (ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopupId) && !io.KeyCtrl && !io.KeyAlt) return;
    command->run(context);
}

}  // namespace app
