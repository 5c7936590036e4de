#include "tests/app/panels_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "app/views/policy_edit.h"
#include "imgui_impl_null.h"
#include "imgui_internal.h"
#include "implot.h"

namespace app::test {

PanelStage::PanelStage(gs::TraceSnapshot trace, ImVec2 size) : session(gs::SessionOptions{}), m_heatmaps(HeatmapRenderer::without_gpu()), m_size(size) {
    IMGUI_CHECKVERSION();
    ImGui::CreateContext();
    ImPlot::CreateContext();
    ImGui::GetIO().IniFilename = nullptr;
    ImGui_ImplNull_Init();
    theme.text = IM_COL32(230, 230, 230, 255);
    theme.text_dim = IM_COL32(150, 150, 150, 255);
    theme.accent = IM_COL32(90, 160, 250, 255);
    theme.warning = theme.error = IM_COL32(230, 120, 60, 255);
    theme.ok = IM_COL32(90, 200, 120, 255);
    theme.grid = IM_COL32(60, 60, 60, 255);
    theme.selection = theme.hover = IM_COL32(255, 255, 255, 255);
    theme.what_if = IM_COL32(200, 120, 220, 255);
    theme.track = IM_COL32(40, 40, 40, 255);
    set_trace(std::move(trace));
}

PanelStage::~PanelStage() {
    ImGui_ImplNull_Shutdown();
    ImPlot::DestroyContext();
    ImGui::DestroyContext();
}

void PanelStage::set_trace(gs::TraceSnapshot trace) {
    auto run = std::make_shared<gs::RunResult>();
    run->id = m_run_id++;
    run->trace = std::move(trace);
    state.run = run;
    what_if.set_run(run->trace);
}

void PanelStage::one_frame(View& view) {
    ImGuiIO& io = ImGui::GetIO();
    io.DisplaySize = m_size;
    io.DeltaTime = 1.0f / 60;
    ImGui_ImplNull_NewFrame();
    io.DisplaySize = m_size;
    ImGui::NewFrame();
    ImGui::SetNextWindowPos({0, 0});
    ImGui::SetNextWindowSize(m_size);
    hovered = hovered_next;
    hovered_next = {};
    settle_what_if(state, what_if);
    ViewContext context{.state = state, .run = state.run, .session = session, .selected = selected, .hovered = hovered, .hovered_next = hovered_next, .settings = settings,
                        .what_if = what_if, .heatmaps = *m_heatmaps, .theme = theme, .scale = scale};
    if (ImGui::Begin("###panel", nullptr, ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove)) {
        ImGui::LogToBuffer();
        view.draw(context);
        text = GImGui->LogBuffer.c_str();
        ImGui::LogFinish();
    }
    ImGui::End();
    wants_open_file |= context.wants_open_file;
    ImGui::Render();
    measure();
    ImGui_ImplNullRender_RenderDrawData(ImGui::GetDrawData());
}

void PanelStage::measure() {
    n_vertices = 0;
    drawn_low = {1e9f, 1e9f};
    drawn_high = {-1e9f, -1e9f};
    for (const ImDrawList* list : ImGui::GetDrawData()->CmdLists) {
        n_vertices += list->VtxBuffer.Size;
        for (const ImDrawCmd& command : list->CmdBuffer) {
            if (command.ClipRect.z <= command.ClipRect.x || command.ClipRect.w <= command.ClipRect.y) continue;   // scrolled out of sight
            for (unsigned i = 0; i < command.ElemCount; ++i) {
                const ImVec2 at = list->VtxBuffer[static_cast<int>(list->IdxBuffer[static_cast<int>(command.IdxOffset + i)] + command.VtxOffset)].pos;
                const ImVec2 clipped{std::clamp(at.x, command.ClipRect.x, command.ClipRect.z), std::clamp(at.y, command.ClipRect.y, command.ClipRect.w)};
                drawn_low = {std::min(drawn_low.x, clipped.x), std::min(drawn_low.y, clipped.y)};
                drawn_high = {std::max(drawn_high.x, clipped.x), std::max(drawn_high.y, clipped.y)};
            }
        }
    }
}

void PanelStage::frames(View& view, int n) {
    for (int i = 0; i < n; ++i) one_frame(view);
}

void PanelStage::hover(View& view, ImVec2 at) {
    ImGui::GetIO().AddMousePosEvent(at.x, at.y);
    frames(view, 2);
}

void PanelStage::click(View& view, ImVec2 at) {
    hover(view, at);
    ImGui::GetIO().AddMouseButtonEvent(0, true);
    frames(view, 2);
    ImGui::GetIO().AddMouseButtonEvent(0, false);
    frames(view, 2);
}

void PanelStage::expect_drawn_inside() const {
    EXPECT_GT(n_vertices, 100);
    EXPECT_GE(drawn_low.x, 0);
    EXPECT_GE(drawn_low.y, 0);
    EXPECT_LE(drawn_high.x, m_size.x);
    EXPECT_LE(drawn_high.y, m_size.y);
}

}  // namespace app::test
