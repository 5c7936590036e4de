// Every control of every panel: a tooltip when it is pointed at, and a way to it by the keyboard.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

/// Controls of ImGui's own that explain themselves: tabs, splitters, scroll bars, window frames, menus' titles, headers of tables.
bool is_chrome(const ImGuiWindow* window, ImGuiID id) {
    if (!window || id == 0) return true;
    const std::string name = window->Name;
    if (name.find("DockSpace") != std::string::npos || name.starts_with("##MainMenuBar")) return true;
    if (name.starts_with("Gating###gates/curve")) return true;  // a plot: the card comes at its points only
    if (window->DockNode && window->DockNode->TabBar)
        for (const ImGuiTabItem& tab : window->DockNode->TabBar->Tabs)
            if (tab.ID == id || id == ImHashStr("#CLOSE", 0, tab.ID)) return true;
    for (const ImGuiWindow* w = window; w; w = w->ParentWindow) {
        if (id == w->MoveId || id == ImGui::GetWindowScrollbarID(const_cast<ImGuiWindow*>(w), ImGuiAxis_X) || id == ImGui::GetWindowScrollbarID(const_cast<ImGuiWindow*>(w), ImGuiAxis_Y)) return true;
        for (int n = 0; n < 4; ++n)
            if (id == ImGui::GetWindowResizeCornerID(const_cast<ImGuiWindow*>(w), n) || id == ImGui::GetWindowResizeBorderID(const_cast<ImGuiWindow*>(w), static_cast<ImGuiDir>(n))) return true;
    }
    return false;
}

bool tooltip_is_shown() {
    for (const ImGuiWindow* window : GImGui->Windows)
        if ((window->Flags & ImGuiWindowFlags_Tooltip) && window->Active && !window->Hidden) return true;
    return false;
}

/// Points at every place of a grid; what lights up is a control.
std::map<ImGuiID, std::string> controls_without_tooltip(WindowStage& stage, ImVec2 size) {
    std::map<ImGuiID, std::string> without;
    std::set<ImGuiID> seen;
    ImGuiStyle& style = ImGui::GetStyle();
    style.HoverStationaryDelay = style.HoverDelayShort = style.HoverDelayNormal = 0;
    for (float y = 4; y < size.y; y += 11)
        for (float x = 4; x < size.x; x += 17) {
            ImGui::GetIO().AddMousePosEvent(x, y);
            stage.frames(1);
            const ImGuiID id = GImGui->HoveredId;
            if (id == 0 || seen.contains(id) || is_chrome(GImGui->HoveredWindow, id)) continue;
            stage.frames(2);
            if (GImGui->HoveredId != id) continue;
            seen.insert(id);
            if (!tooltip_is_shown()) without[id] = std::string(GImGui->HoveredWindow->Name) + " at " + std::to_string(int(x)) + "," + std::to_string(int(y));
            else without.erase(id);
        }
    EXPECT_GT(seen.size(), 15u);
    return without;
}

TEST(Controls, AllHaveATooltip) {
    const ImVec2 size(1280, 720);
    WindowStage stage(size);
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 12, .n_layers = 2});
    stage.state.run = make_run(trace, 1);
    stage.state.model = make_card(trace);
    stage.frames();
    for (const ViewRow& row : all_views()) {
        if (row.places.fixed()) continue;
        stage.ui->raise(row.id);
        stage.frames(6);
        for (const auto& [id, where] : controls_without_tooltip(stage, size)) ADD_FAILURE() << row.id << " in front: no tooltip in " << where;
    }
}

TEST(Controls, EveryPanelIsReachedAndWalkedThroughByTheKeyboard) {
    WindowStage stage({1600, 900});
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 12, .n_layers = 2});
    stage.state.run = make_run(trace, 1);
    stage.state.model = make_card(trace);
    stage.frames(6);
    std::set<std::string> reached;
    const int n_open = int(std::count_if(all_views().begin(), all_views().end(), [&](const ViewRow& row) { return stage.ui->is_open(row.id); }));
    for (int i = 0; i < 2 * n_open; ++i) {
        stage.key(ImGuiKey_F6);
        ASSERT_NE(GImGui->NavWindow, nullptr);
        const std::string window = GImGui->NavWindow->RootWindow->Name;
        if (!reached.insert(window).second) continue;
        std::set<ImGuiID> visited;
        for (int n = 0; n < 80; ++n) {
            stage.key(ImGuiKey_Tab);
            EXPECT_EQ(GImGui->NavWindow->RootWindow->Name, window) << "Tab stays in the panel";
            EXPECT_TRUE(ImGui::GetIO().NavVisible) << "the focus is seen";
            if (GImGui->NavId && !visited.insert(GImGui->NavId).second) break;
        }
        EXPECT_GE(visited.size(), 1u) << window;
    }
    for (const ViewRow& row : all_views()) {
        const std::string window = std::string(row.title) + "###" + row.id;
        const bool in_sight = stage.is_drawn(window.c_str()) && row.places.in(LayoutKind::kExplore) != Dock::kStatus;
        EXPECT_TRUE(!in_sight || reached.contains(window)) << window;
    }
}

}  // namespace
}  // namespace app::test
