#include "app/cli/window_bench.h"

#ifdef GATESCOPE_HAVE_WINDOW
#include "app/base/paths.h"
#include "app/shell/app.h"
#include "engine/io/trace_file.h"
#endif

namespace app {

#ifdef GATESCOPE_HAVE_WINDOW

/// The tokens of a recorded run over and over, up to n_tokens: real routing at a size the bundled run does not have.
static gs::TraceSnapshot repeat_trace(const gs::TraceSnapshot& run, int n_tokens) {
    gs::TraceWriter writer(run.info());
    std::vector<int32_t> ids;
    for (int t = 0; t < n_tokens; t++) {
        const int from = t % run.n_tokens();
        writer.begin_tokens(std::span(&run.token(from), 1), run.policy(from));
        for (int m = 0; m < run.n_moe_layers(); m++) {
            const auto chosen = run.ids(m, from);
            ids.assign(chosen.begin(), chosen.end());
            writer.set_route(m, 0, run.logits(m, from), ids, run.weights(m, from));
        }
        writer.publish();
    }
    return writer.snapshot();
}

gs::Result<Json> bench_window() {
    GS_TRY(gs::TraceSnapshot bundled, gs::load_trace(bundled_run_path()));
    GS_TRY(WindowBench b, bench_frames(repeat_trace(bundled, 4096), 1920, 1080));
    return Json{{"first_frame_ms", b.first_frame_ms},
                {"bundled_run_ms", b.bundled_run_ms},
                {"ui_thread_ms", {{"median", b.ui_thread_ms_median}, {"max", b.ui_thread_ms_max}}},
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
