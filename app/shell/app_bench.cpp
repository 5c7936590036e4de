// What a frame costs at full size, panel by panel.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "app/base/paths.h"
#include "app/shell/app.h"
#include "app/shell/app_ui.h"
#include "app/shell/shell.h"
#include "app/widgets/heatmap.h"

namespace fs = std::filesystem;

namespace app {
namespace {

constexpr double kLongestLoad_seconds = 60;
constexpr int kSettleFrames = 15, kMoves = 60;

/// The pointer wanders over everything, as it does in use.
InputScript wandering_pointer(int width, int height) {
    InputScript script;
    for (int i = 0; i < kMoves; ++i)
        script.move({static_cast<float>(width) * static_cast<float>(i % 20) / 20, static_cast<float>(height) * static_cast<float>(i) / kMoves});
    return script;
}

gs::Result<void> start_up(Shell& shell, gs::Session& session, AppUi& ui, WindowBench& bench, std::chrono::steady_clock::time_point start) {
    const auto since_start_ms = [&] { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count(); };
    const auto draw = [&](FrameInfo& info) { ui.draw(*session.latest(), theme_of(shell.theme()), {"dark", info.scale}, info.time_seconds); };
    std::error_code ignored;
    const bool have_run = fs::exists(bundled_run_path(), ignored);
    if (have_run) session.load_trace(bundled_run_path());
    GS_TRY_VOID(shell.run_frames(1, draw));
    GS_TRY([[maybe_unused]] const Picture first, shell.picture());  // waits for the device
    bench.first_frame_ms = since_start_ms();
    if (!have_run || !session.wait_idle(kLongestLoad_seconds)) return {};
    GS_TRY_VOID(shell.run_frames(1, draw));
    GS_TRY([[maybe_unused]] const Picture with_run, shell.picture());
    bench.bundled_run_ms = since_start_ms();
    return {};
}

gs::Result<double> median_of(Shell& shell, const Shell::DrawUi& draw, int width, int height, double* max = nullptr) {
    GS_TRY_VOID(shell.run_frames(kSettleFrames, draw));
    shell.restart_stats();
    GS_TRY_VOID(shell.run_script(wandering_pointer(width, height).events(), draw));
    if (max) *max = shell.stats().summary().max_ms;
    return shell.stats().summary().median_ms;
}

/// Ten million cells, all in sight and then forty columns of them.
gs::Result<void> bench_heatmap(Shell& shell, WindowBench& bench, int width, int height) {
    Heatmap heatmap(shell.heatmaps());
    HeatmapView view;
    HeatmapInput input{.n_cols = 40'000, .n_rows = 250, .revision = 1};
    input.fill_column = [](int col, std::span<float> out) {
        for (size_t row = 0; row < out.size(); ++row) out[row] = static_cast<float>((static_cast<size_t>(col) * 31 + row * 7) % 97) / 97;
    };
    const auto draw = [&](FrameInfo&) {
        ImGui::SetNextWindowPos({0, 0});
        ImGui::SetNextWindowSize({static_cast<float>(width), static_cast<float>(height)});
        ImGui::Begin("###bench", nullptr, ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoSavedSettings);
        heatmap.draw("large", input, view, ImGui::GetContentRegionAvail());
        ImGui::End();
    };
    bench.heatmap_cells = int64_t{input.n_cols} * input.n_rows;
    GS_TRY(bench.heatmap_ms, median_of(shell, draw, width, height));
    view = {.first_col = 12'345, .n_cols_shown = 40, .follow = false};
    GS_TRY(bench.heatmap_zoomed_ms, median_of(shell, draw, width, height));
    return {};
}

}  // namespace

gs::Result<WindowBench> bench_frames(const gs::TraceSnapshot& trace, int width, int height) {
    const auto start = std::chrono::steady_clock::now();
    WindowBench bench{.n_tokens = trace.n_tokens(), .n_layers = trace.n_moe_layers(), .n_experts = trace.n_experts()};
    GS_TRY(std::unique_ptr<Shell> shell, Shell::create({.headless = true, .width = width, .height = height, .scale = 1}));
    ViewSettings settings;
    gs::Session session({});
    AppUi ui(session, shell->heatmaps(), settings);
    GS_TRY_VOID(start_up(*shell, session, ui, bench, start));
    gs::SessionState state;
    auto run = std::make_shared<gs::RunResult>();
    run->id = 1'000'000;
    run->trace = trace;
    state.run = run;
    const auto draw = [&](FrameInfo& info) {
        ui.draw(state, theme_of(shell->theme()), {"dark", info.scale}, info.time_seconds);
        info.awake_until = ui.awake_until();
    };
    for (const ViewRow& row : all_views()) {
        if (row.places.fixed()) continue;
        ui.raise(row.id);
        WindowBench::Panel panel{.id = row.id};
        GS_TRY(panel.median_ms, median_of(*shell, draw, width, height, &panel.max_ms));
        bench.ui_thread_ms_median = std::max(bench.ui_thread_ms_median, panel.median_ms);
        bench.ui_thread_ms_max = std::max(bench.ui_thread_ms_max, panel.max_ms);
        bench.panels.push_back(panel);
    }
    GS_TRY(bench.idle_frames, shell->count_idle_frames(2.0, draw));
    GS_TRY_VOID(bench_heatmap(*shell, bench, width, height));
    return bench;
}

}  // namespace app
