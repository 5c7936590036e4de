// The three layouts: where panels stand and which are shown (ux.md R5), each as the user left it. As delivered is view_table.cpp.
#define IMGUI_DEFINE_MATH_OPERATORS
#include <algorithm>
#include <array>
#include <map>

#include "app/shell/app_settings.h"
#include "app/shell/app_ui.h"
#include "imgui_internal.h"

namespace app {

const char* name_of(LayoutKind layout) { return kLayoutNames[static_cast<size_t>(layout)]; }

bool parse_layout(std::string_view name, LayoutKind& layout) {
    const auto* found = std::find(kLayoutNames.begin(), kLayoutNames.end(), name);
    if (found == kLayoutNames.end()) return false;
    layout = static_cast<LayoutKind>(found - kLayoutNames.begin());
    return true;
}

int64_t layout_version() {
    std::string all;
    for (const ViewRow& row : all_views()) {
        all += row.id;
        for (const LayoutKind layout : kLayouts) all += static_cast<char>('0' + static_cast<int>(row.places.in(layout)));
    }
    uint32_t hash = 2166136261u;  // FNV-1a: the same on every machine
    for (const char c : all) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    return hash;
}

void AppUi::show_panels(const std::vector<std::string>& ids) {
    for (Panel& panel : m_panels) panel.shown = panel.row->places.fixed() || std::find(ids.begin(), ids.end(), panel.row->id) != ids.end();
}

void AppUi::set_layout(LayoutKind layout) {
    if (layout == m_layout) return;
    m_left_layouts.erase(m_layout);
    if (const auto left = arrangement()) m_left_layouts[m_layout] = *left;
    m_layout = layout;
    const auto as_left = m_left_layouts.extract(layout);
    if (as_left.empty()) return reset_layout();
    show_panels(as_left.mapped().open);
    m_docking = as_left.mapped().docking;
    m_build_layout = false;
}

void AppUi::reset_layout() {
    for (Panel& panel : m_panels) panel.shown = panel.row->places.in(m_layout) != Dock::kClosed;
    m_docking.clear();
    m_build_layout = true;
}

LayoutState AppUi::layout_state() const {
    LayoutState state{.layout = m_layout, .open = {}, .others = m_left_layouts};
    for (const Panel& panel : m_panels)
        if (panel.shown && !panel.row->places.fixed()) state.open.push_back(panel.row->id);
    return state;
}

void AppUi::set_layout_state(const LayoutState& state) {
    m_layout = state.layout;
    show_panels(state.open);
    m_left_layouts = state.others;
    m_left_layouts.erase(m_layout);
}

/// Of the layout in force; none while it is still to be built as delivered.
std::optional<Arrangement> AppUi::arrangement() const {
    if (m_build_layout || m_dockspace == 0) return std::nullopt;
    return Arrangement{layout_state().open, m_docking.empty() ? docking() : m_docking};
}

/// Of Dear ImGui's settings, in sections with an empty line behind each, those of the panels and of the dock; small windows are where they are.
std::string AppUi::docking() const {
    const std::string_view all = ImGui::SaveIniSettingsToMemory();
    std::string kept;
    for (size_t from = 0; from < all.size();) {
        const size_t end = std::min(all.find("\n\n", from), all.size());
        const std::string_view section = all.substr(from, end - from);
        bool wanted = section.starts_with(kDockingSection);
        for (const Panel& panel : m_panels) wanted = wanted || section.starts_with(std::string("[Window][") + panel.row->id + "]");
        if (wanted) kept += std::string(section) + "\n\n";
        from = std::min(all.find_first_not_of('\n', end), all.size());
    }
    return kept;
}

void AppUi::read_docking() {
    if (!m_docking.empty()) ImGui::LoadIniSettingsFromMemory(m_docking.data(), m_docking.size());
    m_docking.clear();
}

namespace {

struct Nodes {
    ImGuiID center = 0, beside = 0, right = 0, bottom = 0;
};

/// Centre, right inspector, bottom strip; a wide window has room beside the centre. On a small one everything is a tab of the centre.
Nodes split(ImGuiID dockspace, ImVec2 size, float height, float unit, float strip) {
    Nodes nodes{.center = dockspace};
    const bool wide = size.x - unit * 24 > unit * 62;
    if (size.x < unit * 46 || height < unit * 20) {  // at 300 % on a small screen
        nodes.right = nodes.bottom = nodes.center;
    } else {
        ImGui::DockBuilderSplitNode(nodes.center, ImGuiDir_Right, std::clamp(unit * 24 / size.x, 0.2f, 0.4f), &nodes.right, &nodes.center);
        if (height < unit * 32)
            nodes.bottom = nodes.center;
        else
            ImGui::DockBuilderSplitNode(nodes.center, ImGuiDir_Down, std::clamp(unit * strip / size.y, 0.26f, 0.42f), &nodes.bottom, &nodes.center);
    }
    if (wide) ImGui::DockBuilderSplitNode(nodes.center, ImGuiDir_Right, 0.42f, &nodes.beside, &nodes.center);
    else nodes.beside = nodes.center;
    return nodes;
}

}  // namespace

void AppUi::build_layout() {
    const ImVec2 size = ImGui::GetMainViewport()->WorkSize;
    ImGui::DockBuilderRemoveNode(m_dockspace);
    ImGui::DockBuilderAddNode(m_dockspace, ImGuiDockNodeFlags_DockSpace);
    ImGui::DockBuilderSetNodeSize(m_dockspace, size);
    const float height = ImGui::GetMainViewport()->Size.y;  // the bars have not taken their share yet in the first frame
    const Nodes nodes = split(m_dockspace, size, height, ImGui::GetFontSize(), m_layout == LayoutKind::kTeach ? 11.0f : 13.5f);
    // In this order they become tabs where places coincide; closed panels have their place, too, for when they are asked for.
    std::map<ImGuiID, std::string> front;   // the first panel of each group, or one that was asked for meanwhile
    for (const auto& [dock, node] : {std::pair(Dock::kCenter, nodes.center), std::pair(Dock::kBeside, nodes.beside), std::pair(Dock::kRight, nodes.right),
                                     std::pair(Dock::kBottom, nodes.bottom), std::pair(Dock::kClosed, nodes.center)})
        for (const Panel& panel : m_panels) {
            if (panel.row->places.in(m_layout) != dock) continue;
            ImGui::DockBuilderDockWindow(panel.title.c_str(), node);
            if (!panel.shown) continue;
            const std::string id = panel.row->id;
            if (std::find(m_raise.begin(), m_raise.end(), id) != m_raise.end()) front[node] = id;
            else front.emplace(node, id);
        }
    ImGui::DockBuilderFinish(m_dockspace);
    for (const auto& [node, id] : front) raise(id);  // not at once: a panel that was never shown has no tab yet
}

}  // namespace app
