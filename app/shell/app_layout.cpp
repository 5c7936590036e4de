// The three layouts: where panels stand and which are shown (ux.md R5). The table is view_table.cpp.
#define IMGUI_DEFINE_MATH_OPERATORS
#include <algorithm>
#include <array>

#include "app/shell/app_ui.h"
#include "imgui_internal.h"

namespace app {

static constexpr std::array kLayoutNames = {"explore", "teach", "tune"};

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

void AppUi::set_layout(LayoutKind layout) {
    m_layout = layout;
    for (Panel& panel : m_panels) panel.shown = panel.row->places.in(layout) != Dock::kClosed;
    m_build_layout = true;
}

LayoutState AppUi::layout_state() const {
    LayoutState state{.layout = m_layout, .open = {}};
    for (const Panel& panel : m_panels)
        if (panel.shown && !panel.row->places.fixed()) state.open.push_back(panel.row->id);
    return state;
}

void AppUi::set_layout_state(const LayoutState& state) {
    m_layout = state.layout;
    for (Panel& panel : m_panels)
        panel.shown = panel.row->places.fixed() || std::find(state.open.begin(), state.open.end(), panel.row->id) != state.open.end();
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

void AppUi::build_layout(ImGuiID dockspace) {
    const ImVec2 size = ImGui::GetMainViewport()->WorkSize;
    ImGui::DockBuilderRemoveNode(dockspace);
    ImGui::DockBuilderAddNode(dockspace, ImGuiDockNodeFlags_DockSpace);
    ImGui::DockBuilderSetNodeSize(dockspace, size);
    const float height = ImGui::GetMainViewport()->Size.y;  // the bars have not taken their share yet in the first frame
    const Nodes nodes = split(dockspace, size, height, ImGui::GetFontSize(), m_layout == LayoutKind::kTeach ? 11.0f : 13.5f);
    // In this order they become tabs where places coincide; closed panels have their place, too, for when they are asked for.
    for (const auto& [dock, node] : {std::pair(Dock::kCenter, nodes.center), std::pair(Dock::kBeside, nodes.beside), std::pair(Dock::kRight, nodes.right),
                                     std::pair(Dock::kBottom, nodes.bottom), std::pair(Dock::kClosed, nodes.center)})
        for (const Panel& panel : m_panels)
            if (panel.row->places.in(m_layout) == dock) ImGui::DockBuilderDockWindow(panel.title.c_str(), node);
    ImGui::DockBuilderFinish(dockspace);
    for (const ImGuiID node : {nodes.center, nodes.beside, nodes.bottom}) {  // the first panel of each group in front
        ImGuiDockNode* built = ImGui::DockBuilderGetNode(node);
        if (built && built->Windows.Size > 0) built->SelectedTabId = built->Windows[0]->TabId;
    }
}

}  // namespace app
