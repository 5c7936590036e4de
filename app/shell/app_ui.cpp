#define IMGUI_DEFINE_MATH_OPERATORS
#include "app/shell/app_ui.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/views/policy_edit.h"
#include "app/widgets/ui_kit.h"
#include "imgui_internal.h"

namespace app {

static constexpr float kTeachType = 1.25f;  ///< larger type in the Teach layout (ux.md R9)

AppUi::AppUi(gs::Session& session, HeatmapRenderer& heatmaps, ViewSettings& settings)
    : m_session(session), m_heatmaps(heatmaps), m_settings(settings) {
    for (const ViewRow& row : all_views())
        m_panels.push_back({&row, row.make(), std::string(row.title) + "###" + row.id, row.places.in(m_layout) != Dock::kClosed});
    add_commands();
    read_all_presets();
}
AppUi::~AppUi() = default;

UiRequests AppUi::take_requests() { return std::exchange(m_requests, {}); }

bool AppUi::show_only(const std::string& view_id) {
    for (Panel& panel : m_panels)
        if (view_id == panel.row->id) {
            m_single = &panel;
            return true;
        }
    return false;
}

AppUi::Panel* AppUi::panel_of(const std::string& view_id) {
    for (Panel& panel : m_panels)
        if (view_id == panel.row->id) return &panel;
    return nullptr;
}

bool AppUi::is_open(const std::string& view_id) const {
    for (const Panel& panel : m_panels)
        if (view_id == panel.row->id) return panel.shown;
    return false;
}

void AppUi::raise(const std::string& view_id) {
    Panel* panel = panel_of(view_id);
    if (!panel || panel->row->places.fixed()) return;
    panel->shown = true;
    if (std::find(m_raise.begin(), m_raise.end(), view_id) == m_raise.end()) m_raise.push_back(view_id);
    m_raise_frames = 0;
    raise_when_docked();
}

/// A panel that was closed has no tab before it was drawn once.
void AppUi::raise_when_docked() {
    constexpr int kLongest = 8;  ///< it is not docked at all, then
    if (m_build_layout || !m_docking.empty()) return;  // it stands elsewhere soon
    std::erase_if(m_raise, [&](const std::string& id) {
        ImGuiWindow* window = ImGui::FindWindowByName(panel_of(id)->title.c_str());
        const bool docked = window && window->WasActive && window->DockNode && window->DockNode->TabBar;
        if (!docked) return false;
        window->DockNode->TabBar->NextSelectedTabId = window->TabId;
        // ImGui keeps the tab of the window that has the keyboard in front: where that is one of these tabs, the keyboard goes along.
        const ImGuiWindow* focused = ImGui::GetCurrentContext()->NavWindow;
        if (focused && focused->RootWindow->DockNode == window->DockNode) ImGui::FocusWindow(window);
        return true;
    });
    if (!m_raise.empty() && ++m_raise_frames > kLongest) m_raise.clear();
}

bool AppUi::is_in_front(const Panel& panel) const {
    const ImGuiWindow* window = ImGui::FindWindowByName(panel.title.c_str());
    return panel.shown && window && window->WasActive && (!window->DockNode || window->DockTabIsVisible);
}

/// What follows the data rather than the user.
void AppUi::new_state(const gs::SessionState& state) {
    // While a new run reads its first tokens the picture of the one before stays: nothing flashes empty.
    const bool reading = state.run && state.run->trace.empty() && state.run->phase != gs::RunPhase::kFinished;
    if (!reading) m_what_if.set_run(state.run ? state.run->trace : gs::TraceSnapshot{});
    settle_what_if(state, m_what_if);
    m_history.observe(state.policy, m_settings, ImGui::IsAnyItemActive() || m_pending_state.has_value());
    const uint64_t run_id = state.run ? state.run->id : 0;
    if (run_id != m_run_id) {  // positions mean other tokens now; layer and expert keep their meaning within a model
        m_selected.token = -1;
        if (!m_what_if.pending) m_what_if.set_policy(std::nullopt);
        const gs::TraceSnapshot& trace = m_what_if.run_trace();
        if (m_selected.moe_layer >= trace.n_moe_layers()) m_selected.moe_layer = -1;
        if (m_selected.expert >= trace.n_experts()) m_selected.expert = -1;
        m_run_id = run_id;
    }
    const std::pair shown(run_id, m_what_if.run_trace().n_tokens());
    if (!reading && shown != m_bookmarked_run) {
        m_bookmarks.show(identity_of(m_what_if.run_trace()));
        m_bookmarked_run = shown;
    }
    if (state.comparison && state.comparison->run_b != m_comparison_run) {
        m_comparison_run = state.comparison->run_b;
        raise("compare");
    }
    settle_state(state);
}

void AppUi::draw(const gs::SessionState& state, const Theme& theme, const Appearance& appearance, double time_seconds) {
    m_appearance = appearance;
    if (std::exchange(m_presets_changed, false)) read_all_presets();
    new_state(state);
    m_hovered = m_hovered_next;
    m_hovered_next = {};
    const double held_soon = run_held_keys();
    const std::shared_ptr<const gs::RunResult>& run = settle_flash(state);
    ViewContext context{.state = state,
                        .run = run,
                        .session = m_session,
                        .selected = m_selected,
                        .hovered = m_hovered,
                        .hovered_next = m_hovered_next,
                        .settings = m_settings,
                        .what_if = m_flashes ? m_flash_trace : m_what_if,
                        .heatmaps = m_heatmaps,
                        .theme = theme,
                        .scale = appearance.scale,
                        .time_seconds = time_seconds,
                        .layout = m_layout};
    ImGui::GetStyle().FontScaleMain = m_layout == LayoutKind::kTeach ? kTeachType : 1.0f;  // from the next frame on
    if (m_single) {
        draw_single(context, *m_single);
    } else {
        focus_panel();
        draw_menu(context);
        draw_panels(context);
        if (context.wants_panel) raise(context.wants_panel);
        handle_keys(context);
    }
    draw_dialogs(context);
    draw_flash(context);
    if (held_soon > 0) context.keep_awake_past(held_soon);
    if (!(m_hovered == m_hovered_next)) context.keep_awake(0.02);  // others light up one frame later
    if (state.activity != gs::Activity::kIdle) context.keep_awake(0.25);
    if (m_build_layout || !m_docking.empty() || !m_raise.empty() || m_pending_state) context.keep_awake(0.05);
    m_awake_until = context.awake_until;
}

void AppUi::draw_single(ViewContext& context, Panel& panel) {
    const ImGuiViewport* screen = ImGui::GetMainViewport();
    ImGui::SetNextWindowPos(screen->Pos);
    ImGui::SetNextWindowSize(screen->Size);
    ImGui::Begin(panel.title.c_str(), nullptr,
                 ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove | ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_NoDocking);
    panel.view->draw(context);
    ImGui::End();
}

/// A bar over the whole width, as tall as its content was in the frame before.
void AppUi::draw_bar(ViewContext& context, Panel& panel, bool at_top) {
    const ImGuiStyle& style = ImGui::GetStyle();
    float& content = m_bar_heights[panel.row->id];
    if (content <= 0) content = at_top ? 2 * ImGui::GetFrameHeightWithSpacing() : ImGui::GetTextLineHeight();
    const ImVec2 padding = {style.WindowPadding.x, at_top ? style.WindowPadding.y : style.FramePadding.y};
    ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, padding);
    ImGui::PushStyleVar(ImGuiStyleVar_WindowRounding, 0);
    const float height = content + 2 * padding.y;
    const ImGuiWindowFlags flags = ImGuiWindowFlags_NoScrollbar | ImGuiWindowFlags_NoScrollWithMouse | ImGuiWindowFlags_NoSavedSettings |
                                   ImGuiWindowFlags_NoDecoration;
    if (ImGui::BeginViewportSideBar(panel.title.c_str(), ImGui::GetMainViewport(), at_top ? ImGuiDir_Up : ImGuiDir_Down, height, flags)) {
        const float top = ImGui::GetCursorPosY();
        panel.view->draw(context);
        const float used = ImGui::GetCurrentWindow()->DC.CursorMaxPos.y - ImGui::GetWindowPos().y - top;
        if (std::abs(used - content) > 0.5f) context.keep_awake(0.05);
        content = std::max(used, ImGui::GetTextLineHeight());
    }
    ImGui::End();
    ImGui::PopStyleVar(2);
}

void AppUi::draw_notice_bar(ViewContext& context) {
    const float height = notices_height(context.state);
    if (height <= 0) return;
    const ImGuiStyle& style = ImGui::GetStyle();
    ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, ImVec2(style.WindowPadding.x, style.WindowPadding.y / 2));
    const ImGuiWindowFlags flags = ImGuiWindowFlags_NoScrollbar | ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_NoDecoration;
    if (ImGui::BeginViewportSideBar("###notices", ImGui::GetMainViewport(), ImGuiDir_Up, height, flags)) draw_notices(context);
    ImGui::End();
    ImGui::PopStyleVar();
}

void AppUi::draw_panels(ViewContext& context) {
    for (Panel& panel : m_panels) {
        if (panel.row->places.in(m_layout) == Dock::kTop) draw_bar(context, panel, true);
        if (panel.row->places.in(m_layout) == Dock::kStatus) draw_bar(context, panel, false);
    }
    draw_notice_bar(context);
    m_dockspace = ImGui::GetID("gatescope_dock");
    const bool type_settled = std::abs(ImGui::GetFontSize() - ImGui::GetStyle().FontSizeBase * ImGui::GetStyle().FontScaleMain * ImGui::GetStyle().FontScaleDpi) < 1;
    if (ImGui::DockBuilderGetNode(m_dockspace) == nullptr || (m_build_layout && type_settled)) {
        build_layout();
        m_build_layout = !type_settled;  // places are measured in type
    }
    ImGui::DockSpaceOverViewport(m_dockspace, ImGui::GetMainViewport(),
                                 ImGuiDockNodeFlags_NoWindowMenuButton | ImGuiDockNodeFlags_NoCloseButton);
    for (Panel& panel : m_panels) {
        if (panel.row->places.fixed() || !panel.shown) continue;
        const bool visible = ImGui::Begin(panel.title.c_str(), nullptr, ImGuiWindowFlags_NoFocusOnAppearing);
        draw_tab_menu(context, panel);
        if (visible) panel.view->draw(context);
        ImGui::End();
    }
    raise_when_docked();
}

void AppUi::draw_dialogs(ViewContext& context) {
    if (context.wants_open_file || m_ask_open) ask_open(context.state);
    if (context.wants_text_file) ask_text(context.state);
    m_takes_texts = context.takes_texts;
    m_ask_open = false;
    if (m_file_dialog.is_open()) {
        context.keep_awake(0.2);  // a dialog of the desktop is polled
        if (const auto path = m_file_dialog.draw()) {
            m_last_folder = path->parent_path();
            file_chosen(*path);
        }
    }
    draw_picture_dialog(context);
    m_load_dialog.draw(context);
    if (const auto wanted = draw_settings(context, m_appearance, m_settings_open)) m_requests.appearance = wanted;
    m_key_list.draw(m_commands, context);
    draw_history(context);
    draw_gallery(context);
    draw_bookmarks(context);
    draw_said(context);
    draw_about(m_about_open);
    if (const std::string id = m_palette.draw(m_commands, context); !id.empty())
        if (const Command* command = m_commands.find(id)) command->run(context);
}

}  // namespace app
