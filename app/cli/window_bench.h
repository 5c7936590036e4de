// The window's part of `bench`.
#pragma once

#include "app/cli/common.h"

namespace app {

/// {first_frame_ms, bundled_run_ms, ui_thread_ms {median, max, panels}, heatmap {cells, ms, zoomed_ms}, idle_frames_in_2_s}; an error in a build without the window.
gs::Result<Json> bench_window();

}  // namespace app
