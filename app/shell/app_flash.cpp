// The pinned run in place of the one on screen for as long as a key is held (ux.md R13), so that the eye finds what differs. Views know nothing of
// it: they draw ViewContext::run and the trace that comes with it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "app/shell/app_ui.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "imgui_internal.h"

namespace app {

/// Menus and the palette: what the key does, as it does nothing by being chosen.
void AppUi::say_how_to_flash(const ViewContext& context) {
    const std::string key = m_commands.find("run.flash_pinned")->keys_text();
    if (!context.state.pinned) say(context, fmt::format("Nothing is pinned to be flashed: {} pins the run on screen as A", m_commands.keys_of("run.pin")));
    else if (key.empty()) say(context, "Give it a key first (Help, Keys…)");
    else say(context, fmt::format("Now {}: every panel draws the pinned run A", key));
}

/// Before anything is drawn: which run is. Where a panel looks is kept, however much shorter A is.
const std::shared_ptr<const gs::RunResult>& AppUi::settle_flash(const gs::SessionState& state) {
    const bool flashes = m_flash_held && state.pinned;
    if (flashes) m_flash_trace.set_run(state.pinned->trace);
    if (flashes && !m_flashes) {
        for (const Panel& panel : m_panels) m_zoom_before.push_back(panel.view->zoom());
    } else if (!flashes && m_flashes) {
        for (size_t i = 0; i < m_panels.size(); ++i)
            if (m_panels[i].view->zoom() != m_zoom_before[i]) m_panels[i].view->set_zoom(m_zoom_before[i]);
        m_zoom_before.clear();
        m_flash_trace.set_run({});
    }
    m_flashes = flashes;
    return flashes ? state.pinned : state.run;
}

/// A frame around all panels and a tag over their tabs; the first time that nothing is pinned, a word about it.
void AppUi::draw_flash(ViewContext& context) {
    const bool have_run = context.state.run && !context.state.run->trace.empty();
    if (m_flash_held && !m_flashes && have_run && !std::exchange(m_flash_explained, true)) say_how_to_flash(context);
    if (!m_flashes) return;
    const ImGuiViewport* screen = ImGui::GetMainViewport();
    const float unit = ImGui::GetFontSize(), thick = std::max(2.0f, unit * 0.2f);
    const ImU32 color = pinned_color(0);                     // of A in the Compare panel
    const ImVec2 low = screen->WorkPos, high = {low.x + screen->WorkSize.x, low.y + screen->WorkSize.y};
    ImGui::GetForegroundDrawList()->AddRect({low.x + thick / 2, low.y + thick / 2}, {high.x - thick / 2, high.y - thick / 2}, color, 0, thick);
    const gs::RunResult& a = *context.run;
    const gs::TraceInfo& info = a.trace.info();
    const std::string what = a.trace.empty() ? "" : info.source.empty() ? a.trace.policy(a.trace.n_tokens() - 1).to_text() : visible_name(info.source);
    ImGui::SetNextWindowPos({screen->GetCenter().x, low.y}, ImGuiCond_Always, {0.5f, 0});
    const ImGuiWindowFlags flags = ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoInputs | ImGuiWindowFlags_NoNav | ImGuiWindowFlags_NoSavedSettings |
                                   ImGuiWindowFlags_NoFocusOnAppearing | ImGuiWindowFlags_AlwaysAutoResize | ImGuiWindowFlags_NoDocking;
    ImGui::PushStyleColor(ImGuiCol_WindowBg, color);
    ImGui::PushStyleColor(ImGuiCol_Text, text_color_on(color));
    if (ImGui::Begin("###flash", nullptr, flags)) {
        ImGui::BringWindowToDisplayFront(ImGui::GetCurrentWindow());
        if (ImGui::IsWindowAppearing()) context.keep_awake(0.1);   // it is measured first and seen some frames later
        ImGui::TextUnformatted(fmt::format("A, the pinned run: {}, {} tokens.  Let go for B", fit_text(what, unit * 20), a.trace.n_tokens()).c_str());
    }
    ImGui::End();
    ImGui::PopStyleColor(2);
}

}  // namespace app
