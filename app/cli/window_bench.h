// The window's part of `bench`.
#pragma once

#include "app/cli/common.h"

namespace app {

/// {first_frame_ms, bundled_run_ms, ui_thread_ms {median, max}, idle_frames}; an error in a build without the window.
gs::Result<Json> bench_window();

}  // namespace app
