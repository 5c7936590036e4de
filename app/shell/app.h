// The window and its head-less twin: session + views + shell, wired together. Same drawing code in both.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "app/views/view.h"
#include "engine/core/result.h"
#include "engine/run/session.h"

namespace app {

struct WindowOptions {
    std::filesystem::path file;  ///< model (.gguf) or recorded run (.safetensors) to open; empty: the bundled run, then the bundled model
    std::string prompt, policy = "native";  ///< an empty prompt keeps the one of the settings
    std::string state;                      ///< a state line to begin with; empty: none
    std::filesystem::path config_dir;       ///< settings and layout; empty: nothing is read or kept
    std::string theme;                      ///< "dark", "light", "contrast"; empty: as set
    float scale = 0;                        ///< 0: as set, else the monitor's
    int width = 1600, height = 900;
    bool safe_mode = false;         ///< ignore settings and layout
    bool interop = true;            ///< share memory with an engine on the same device
    bool validate = false;          ///< Vulkan validation layer on; messages to stderr
    double exit_after_seconds = 0;  ///< for tests; 0: until closed
    gs::Reading reading = gs::Reading::kLlamaCpp;
    gs::EngineRequest engine;
};
/// Exit code. Messages to stderr when there is no display or no Vulkan.
int run_window(const WindowOptions& options);

struct ScreenshotOptions {
    std::filesystem::path out;  ///< PNG to write
    int width = 1600, height = 900;
    float scale = 1;
    std::string theme = "dark";
    std::string state;            ///< a state line, restored after all else is loaded; empty: none
    std::string layout;           ///< "explore", "teach", "tune"; empty: explore
    std::string view;             ///< id of one panel to fill the picture with; empty: the whole window
    std::filesystem::path trace;  ///< recorded run to show; empty: the bundled one unless a prompt is given
    std::string prompt;           ///< run it first
    int max_new_tokens = 64;
    std::filesystem::path model;  ///< empty: the bundled one where a model is needed (prompt, gates)
    std::string policy = "native";
    std::filesystem::path pin;   ///< recorded run that is pinned as A of the comparison; empty: none
    std::string what_if;         ///< policy shown as what-if on the run; empty: none
    std::string compare_policy;  ///< run again under it and compare; empty: no
    std::string ablate;          ///< experts that are zeroed and measured on the run, e.g. "12:3"; empty: none
    std::filesystem::path beside; ///< model that is run beside the loaded one; empty: none
    std::string sweep_domain;    ///< bundled sample that k is swept on; empty: none
    std::string map_domain;      ///< bundled sample whose sensitivity map is measured; empty: none
    bool study = false;          ///< study the experts on the bundled samples first
    int map_tokens = 128;        ///< of either sample
    std::string budget;          ///< of a schedule that is made from the map and checked; empty: none
    Pick pick;                   ///< selection; all -1: the last token at the middle layer
    bool interop = true;
    bool validate = false;
    gs::EngineRequest engine;
};
/// How the routing of the run got to the heatmap (Decoder::drawing); empty where nothing was run.
/// Errors: kUsage "unknown_view", "bad_policy", "bad_budget", "unknown_domain"; those of loading and running; kDevice without Vulkan; kRun "cannot_write".
gs::Result<std::string> render_screenshot(const ScreenshotOptions& options);
/// Names accepted by ScreenshotOptions::view, for --help.
std::string view_names();

/// What the window costs, for `bench --window`. Off screen, real Vulkan driver.
struct WindowBench {
    double first_frame_ms = 0;                             ///< start of the graphics set-up to the first frame drawn
    double bundled_run_ms = 0;                             ///< the same, to the bundled run on screen; 0 if there is none
    /// UI thread per frame at `trace`, the whole window with this panel in front of its tabs, the pointer moving.
    struct Panel {
        std::string id;
        double median_ms = 0, max_ms = 0;
    };
    std::vector<Panel> panels;
    double ui_thread_ms_median = 0, ui_thread_ms_max = 0;  ///< the largest of them
    int idle_frames = 0;                                   ///< frames asked for during 2 s with nothing to do
    int n_tokens = 0, n_layers = 0, n_experts = 0;
    int64_t heatmap_cells = 0;                             ///< of one heatmap alone in the window
    double heatmap_ms = 0, heatmap_zoomed_ms = 0;          ///< UI thread per frame, median: all of it in sight; 40 columns of it
};
gs::Result<WindowBench> bench_frames(const gs::TraceSnapshot& trace, int width, int height);

}  // namespace app
