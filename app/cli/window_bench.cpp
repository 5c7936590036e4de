#include "app/cli/window_bench.h"

#ifdef GATESCOPE_HAVE_WINDOW
#include "app/base/paths.h"
#include "app/shell/app.h"
#include "engine/io/trace_file.h"
#include "engine/routing/router.h"
#endif

namespace app {

#ifdef GATESCOPE_HAVE_WINDOW

/// Real router logits at a size that the bundled run does not have: those of its tokens, layers and groups of experts, in another order,
/// routed anew.
static gs::TraceSnapshot enlarge(const gs::TraceSnapshot& run, int n_tokens, int n_layers, int n_experts) {
    gs::TraceInfo info = run.info();
    info.router.n_experts = n_experts;
    info.router.n_used = 8;
    info.n_layers = n_layers;
    info.moe_layers.clear();
    for (int m = 0; m < n_layers; m++) info.moe_layers.push_back(m);
    gs::TraceWriter writer(info);
    gs::RouteRow row;
    std::vector<float> logits(static_cast<size_t>(n_experts));
    std::vector<int32_t> ids;
    for (int t = 0; t < n_tokens; t++) {
        const int from = t % run.n_tokens();
        writer.begin_tokens(std::span(&run.token(from), 1), {});
        for (int m = 0; m < n_layers; m++) {
            for (int e = 0; e < n_experts; e++) {
                const int group = e / run.n_experts();
                logits[static_cast<size_t>(e)] = run.logits((m + 3 * group) % run.n_moe_layers(), (from + 5 * group) % run.n_tokens())[static_cast<size_t>(e % run.n_experts())];
            }
            gs::route(info.router, {}, logits, {}, row);
            ids.assign(row.ids.begin(), row.ids.end());
            writer.set_route(m, 0, logits, ids, row.weights);
        }
        writer.publish();
    }
    return writer.snapshot();
}

gs::Result<Json> bench_window() {
    GS_TRY(gs::TraceSnapshot bundled, gs::load_trace(bundled_run_path()));
    GS_TRY(WindowBench b, bench_frames(enlarge(bundled, 4096, 48, 128), 1920, 1080));
    Json panels = Json::object();
    for (const WindowBench::Panel& panel : b.panels) panels[panel.id] = {{"median", panel.median_ms}, {"max", panel.max_ms}};
    return Json{{"first_frame_ms", b.first_frame_ms},
                {"bundled_run_ms", b.bundled_run_ms},
                {"ui_thread_ms", {{"median", b.ui_thread_ms_median}, {"max", b.ui_thread_ms_max}, {"panels", panels}}},
                {"heatmap", {{"cells", b.heatmap_cells}, {"ms", b.heatmap_ms}, {"zoomed_ms", b.heatmap_zoomed_ms}}},
                {"idle_frames_in_2_s", b.idle_frames},
                {"tokens", b.n_tokens},
                {"layers", b.n_layers},
                {"experts", b.n_experts}};
}

#else

gs::Result<Json> bench_window() {
    return gs::Error{gs::ErrorKind::kUsage, "no_window", "This build has no window", "it was configured with GATESCOPE_APP=OFF", "Leave out --window"};
}

#endif

}  // namespace app
