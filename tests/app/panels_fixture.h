// Panels drawn without window or graphics device: a Dear ImGui context on the null back end, a hand-made session state, injected mouse and keys.
//
//   PanelStage stage(gs::test::make_trace());
//   auto view = make_heatmap_view();
//   stage.frames(*view, 3);
//   stage.click(*view, {200, 300});
//   stage.selected.expert
#pragma once

#include <memory>
#include <string>

#include "app/views/view.h"
#include "app/widgets/heatmap_renderer.h"

namespace app::test {

class PanelStage {
public:
    explicit PanelStage(gs::TraceSnapshot trace, ImVec2 size = {900, 700});
    ~PanelStage();
    PanelStage(const PanelStage&) = delete;

    /// Draws the view n times as the only window, each time with the state and policy of now. At least 2 are needed for sizes to settle.
    void frames(View& view, int n = 3);
    /// Moves there, then presses and lets go, over several frames.
    void click(View& view, ImVec2 at);
    void hover(View& view, ImVec2 at);
    void set_trace(gs::TraceSnapshot trace);

    gs::SessionState state;
    gs::Session session;
    Pick selected, hovered, hovered_next;
    ViewSettings settings;
    WhatIfCache what_if;
    Theme theme{};
    float scale = 1;
    bool wants_open_file = false;

    // Of the last frame drawn.
    int n_vertices = 0;
    /// Smallest and largest corner of everything drawn, clipping applied.
    ImVec2 drawn_low, drawn_high;
    /// Something was drawn, and nothing outside the window.
    void expect_drawn_inside() const;
    /// What ImGui's own items said (its log): labels and texts, not what a widget draws by itself.
    std::string text;
    bool says(const std::string& part) const { return text.find(part) != std::string::npos; }

private:
    void one_frame(View& view);
    void measure();

    std::unique_ptr<HeatmapRenderer> m_heatmaps;
    ImVec2 m_size;
    uint64_t m_run_id = 1;
};

}  // namespace app::test
