#define IMGUI_DEFINE_MATH_OPERATORS
#include "app/shell/app_ui.h"

#include <algorithm>

#include "app/views/policy_edit.h"
#include "app/widgets/ui_kit.h"
#include "imgui_internal.h"

namespace app {

AppUi::AppUi(gs::Session& session, HeatmapRenderer& heatmaps, ViewSettings& settings)
    : m_session(session), m_heatmaps(heatmaps), m_settings(settings) {
    for (const ViewRow& row : all_views()) m_panels.push_back({&row, row.make(), std::string(row.title) + "###" + row.id, true});
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

std::vector<std::string> AppUi::hidden_views() const {
    std::vector<std::string> ids;
    for (const Panel& panel : m_panels)
        if (!panel.shown) ids.push_back(panel.row->id);
    return ids;
}

void AppUi::set_hidden_views(const std::vector<std::string>& ids) {
    for (Panel& panel : m_panels) {
        const bool fixed = panel.row->dock == Dock::kTop || panel.row->dock == Dock::kStatus;
        panel.shown = fixed || std::find(ids.begin(), ids.end(), panel.row->id) == ids.end();
    }
}

void AppUi::raise(const std::string& view_id) {
    for (Panel& panel : m_panels) {
        if (view_id != panel.row->id) continue;
        panel.shown = true;
        const ImGuiWindow* window = ImGui::FindWindowByName(panel.title.c_str());
        if (window && window->DockNode && window->DockNode->TabBar) window->DockNode->TabBar->NextSelectedTabId = window->TabId;
    }
}

/// What follows the data rather than the user.
void AppUi::new_state(const gs::SessionState& state) {
    // While a new run reads its first tokens the picture of the one before stays: nothing flashes empty.
    const bool reading = state.run && state.run->trace.empty() && state.run->phase != gs::RunPhase::kFinished;
    if (!reading) m_what_if.set_run(state.run ? state.run->trace : gs::TraceSnapshot{});
    settle_what_if(state, m_what_if);
    m_history.observe(state.policy);
    const uint64_t run_id = state.run ? state.run->id : 0;
    if (run_id != m_run_id) {  // positions mean other tokens now; layer and expert keep their meaning within a model
        m_selected.token = -1;
        if (!m_what_if.pending) m_what_if.set_policy(std::nullopt);
        const gs::TraceSnapshot& trace = m_what_if.run_trace();
        if (m_selected.moe_layer >= trace.n_moe_layers()) m_selected.moe_layer = -1;
        if (m_selected.expert >= trace.n_experts()) m_selected.expert = -1;
        m_run_id = run_id;
    }
    if (state.comparison && state.comparison->run_b != m_comparison_run) {
        m_comparison_run = state.comparison->run_b;
        raise("compare");
    }
}

void AppUi::draw(const gs::SessionState& state, const Theme& theme, const Appearance& appearance, double time_seconds) {
    new_state(state);
    m_hovered = m_hovered_next;
    m_hovered_next = {};
    ViewContext context{.state = state,
                        .session = m_session,
                        .selected = m_selected,
                        .hovered = m_hovered,
                        .hovered_next = m_hovered_next,
                        .settings = m_settings,
                        .what_if = m_what_if,
                        .heatmaps = m_heatmaps,
                        .theme = theme,
                        .scale = appearance.scale,
                        .time_seconds = time_seconds};
    if (m_single) {
        draw_single(context, *m_single);
    } else {
        draw_menu(context, appearance);
        draw_panels(context);
        handle_keys(context, appearance);
    }
    draw_dialogs(context, appearance);
    if (!(m_hovered == m_hovered_next)) context.keep_awake(0.02);  // others light up one frame later
    if (state.activity != gs::Activity::kIdle) context.keep_awake(0.25);
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
        if (panel.row->dock == Dock::kTop) draw_bar(context, panel, true);
        if (panel.row->dock == Dock::kStatus) draw_bar(context, panel, false);
    }
    draw_notice_bar(context);
    const ImGuiID dockspace = ImGui::GetID("gatescope_dock");
    if (ImGui::DockBuilderGetNode(dockspace) == nullptr || m_build_layout) build_layout(dockspace);
    m_build_layout = false;
    ImGui::DockSpaceOverViewport(dockspace, ImGui::GetMainViewport(),
                                 ImGuiDockNodeFlags_NoWindowMenuButton | ImGuiDockNodeFlags_NoCloseButton);
    for (Panel& panel : m_panels) {
        if (panel.row->dock == Dock::kTop || panel.row->dock == Dock::kStatus || !panel.shown) continue;
        if (ImGui::Begin(panel.title.c_str(), nullptr, ImGuiWindowFlags_NoFocusOnAppearing)) panel.view->draw(context);
        ImGui::End();
    }
}

/// ux.md R5: centre, right inspector, bottom strip; wide windows show the load beside the heatmap.
void AppUi::build_layout(ImGuiID dockspace) {
    const ImVec2 size = ImGui::GetMainViewport()->WorkSize;
    const float unit = ImGui::GetFontSize();
    ImGui::DockBuilderRemoveNode(dockspace);
    ImGui::DockBuilderAddNode(dockspace, ImGuiDockNodeFlags_DockSpace);
    ImGui::DockBuilderSetNodeSize(dockspace, size);
    ImGuiID center = dockspace, right = 0, bottom = 0, beside = 0;
    const bool wide = size.x - unit * 24 > unit * 62;
    const float height = ImGui::GetMainViewport()->Size.y;  // the bars have not taken their share yet in the first frame
    if (size.x < unit * 46 || height < unit * 20) {         // at 300 % on a small screen: everything in tabs
        right = bottom = center;
    } else {
        ImGui::DockBuilderSplitNode(center, ImGuiDir_Right, std::clamp(unit * 24 / size.x, 0.2f, 0.4f), &right, &center);
        if (height < unit * 32)
            bottom = center;
        else
            ImGui::DockBuilderSplitNode(center, ImGuiDir_Down, std::clamp(unit * 13.5f / size.y, 0.26f, 0.42f), &bottom, &center);
    }
    if (wide) ImGui::DockBuilderSplitNode(center, ImGuiDir_Right, 0.42f, &beside, &center);
    for (const Panel& panel : m_panels) {
        ImGuiID node = 0;
        if (panel.row->dock == Dock::kCenter) node = center;
        if (panel.row->dock == Dock::kRight) node = right;
        if (panel.row->dock == Dock::kBottom) node = bottom;
        const std::string id = panel.row->id;
        if (wide && (id == "histogram" || id == "gates")) node = beside;
        if (node) ImGui::DockBuilderDockWindow(panel.title.c_str(), node);
    }
    ImGui::DockBuilderFinish(dockspace);
    for (const ImGuiID node : {center, beside, bottom}) {  // the first panel of each group in front
        ImGuiDockNode* built = node ? ImGui::DockBuilderGetNode(node) : nullptr;
        if (built && built->Windows.Size > 0) built->SelectedTabId = built->Windows[0]->TabId;
    }
}

void AppUi::draw_dialogs(ViewContext& context, const Appearance& appearance) {
    if (context.wants_open_file || m_ask_open) ask_open(context.state);
    m_ask_open = false;
    if (m_file_dialog.is_open()) {
        context.keep_awake(0.2);  // a dialog of the desktop is polled
        if (const auto path = m_file_dialog.draw()) {
            m_last_folder = path->parent_path();
            if (m_dialog_saves)
                m_session.save_trace(*path);
            else
                open_path(*path);
        }
    }
    m_load_dialog.draw(context);
    if (const auto wanted = draw_settings(context, appearance, m_settings_open)) m_requests.appearance = wanted;
    draw_key_list(m_keys_open);
    draw_about(m_about_open);
}

}  // namespace app
