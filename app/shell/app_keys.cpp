// Shortcuts (ux.md R13). Punctuation goes by the character typed, not by the key: on other keyboards it lies elsewhere.
#include <algorithm>

#include "app/shell/app_ui.h"
#include "app/views/policy_edit.h"
#include "app/views/routing_bar.h"
#include "imgui_internal.h"

namespace app {
namespace {

/// Pressed, and no widget claimed it.
bool pressed(ImGuiKey key, bool repeat = false) {
    return ImGui::IsKeyPressed(key, repeat ? ImGuiInputFlags_Repeat : 0, ImGuiKeyOwner_NoOwner);
}

}  // namespace

void AppUi::toggle_run(ViewContext& context) {
    const gs::SessionState& state = context.state;
    if (state.run && state.run->phase == gs::RunPhase::kPaused) return m_session.resume();
    if (state.run && state.run->phase != gs::RunPhase::kFinished) return m_session.stop();
    if (!state.can_run()) return;
    m_what_if.set_policy(std::nullopt);
    m_session.run(make_request(context));
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

void AppUi::zoom(const Appearance& appearance, int direction) {
    float scale = 1;
    if (direction > 0) {
        scale = kMaxScale;
        for (const float s : kScales)
            if (s > appearance.scale + 0.01f) scale = std::min(scale, s);
    } else if (direction < 0) {
        scale = kMinScale;
        for (const float s : kScales)
            if (s < appearance.scale - 0.01f) scale = std::max(scale, s);
    }
    m_requests.appearance = Appearance{appearance.theme, scale};
}

void AppUi::handle_chords(ViewContext& context, const Appearance& appearance) {
    if (ImGui::IsKeyPressed(ImGuiKey_O, false)) m_ask_open = true;
    if (ImGui::IsKeyPressed(ImGuiKey_S, false)) ask_save(context.state);
    if (ImGui::IsKeyPressed(ImGuiKey_Q, false)) m_requests.quit = true;
    if (ImGui::IsKeyPressed(ImGuiKey_Equal) || ImGui::IsKeyPressed(ImGuiKey_KeypadAdd)) zoom(appearance, 1);
    if (ImGui::IsKeyPressed(ImGuiKey_Minus) || ImGui::IsKeyPressed(ImGuiKey_KeypadSubtract)) zoom(appearance, -1);
    if (ImGui::IsKeyPressed(ImGuiKey_0, false) || ImGui::IsKeyPressed(ImGuiKey_Keypad0, false)) zoom(appearance, 0);
    if (ImGui::GetIO().WantTextInput) return;  // there Ctrl+Z undoes typing
    const bool redo = ImGui::IsKeyPressed(ImGuiKey_Y, false) || (ImGui::GetIO().KeyShift && ImGui::IsKeyPressed(ImGuiKey_Z, false));
    if (const gs::Policy* p = redo ? m_history.redo() : ImGui::IsKeyPressed(ImGuiKey_Z, false) ? m_history.undo() : nullptr)
        apply_policy(context, *p);
}

void AppUi::handle_characters(ViewContext& context) {
    const gs::RouterSpec router = router_on_screen(context.state);
    const auto apply = [&](const gs::Policy& policy) {  // a held key repeats; once is enough
        if (!(policy == shown_policy(context))) apply_policy(context, policy);
    };
    for (const ImWchar typed : ImGui::GetIO().InputQueueCharacters) {
        const ImWchar c = typed >= 'A' && typed <= 'Z' ? typed + 32 : typed;
        if (c == '.' && context.state.can_run()) m_session.step(make_request(context));
        if (c == ',') move_token(context, -1);
        if (c == '[') move_layer(context, -1);
        if (c == ']') move_layer(context, 1);
        if (c == '?') m_keys_open = !m_keys_open;
        if (router.n_experts == 0) continue;
        gs::Policy policy = shown_policy(context);
        if (c >= '1' && c <= '9') {
            policy.rule = gs::GateRule::kTopK;
            policy.k = std::min(static_cast<int>(c - '0'), router.n_experts);
            apply(policy);
        }
        const auto rule = [&](gs::GateRule wanted) {
            policy.rule = wanted;
            policy.k = wanted == gs::GateRule::kTopK ? (policy.k ? policy.k : router.n_used) : 0;
            apply(policy);
        };
        if (c == 's') rule(gs::GateRule::kSoft);
        if (c == 'h') rule(gs::GateRule::kHard);
        if (c == 't') rule(gs::GateRule::kTopK);
        if (c == 'n') apply(gs::Policy{});
        if (c == 'c') raise("compare");
    }
}

void AppUi::handle_keys(ViewContext& context, const Appearance& appearance) {
    const ImGuiIO& io = ImGui::GetIO();
    if (ImGui::GetTopMostPopupModal() != nullptr || m_file_dialog.is_open()) return;
    if (io.KeyCtrl && !io.KeyAlt && !io.KeySuper) return handle_chords(context, appearance);
    if (io.WantTextInput || io.KeyAlt || io.KeySuper) return;
    handle_characters(context);
    if (ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopupId)) return;
    if (pressed(ImGuiKey_Escape)) {
        m_selected = {};
        m_keys_open = m_about_open = m_settings_open = false;
    }
    if (io.NavVisible) return;  // Space and arrows then belong to the focused widget
    if (pressed(ImGuiKey_Space)) toggle_run(context);
    if (pressed(ImGuiKey_LeftArrow, true)) move_token(context, -1);
    if (pressed(ImGuiKey_RightArrow, true)) move_token(context, 1);
}

}  // namespace app
