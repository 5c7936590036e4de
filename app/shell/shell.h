// The window and everything under the panels: Vulkan, Dear ImGui, the frame loop, pictures. Headless it is the same without a window:
// frames are drawn off screen on request.
//
//   GS_TRY(auto shell, Shell::create({.headless = true, .width = 1600, .height = 900}));
//   GS_TRY_VOID(shell->run_frames(6, draw));          // panels settle over the first frames
//   GS_TRY_VOID(shell->screenshot("window.png"));
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "app/shell/fonts.h"
#include "app/shell/frame_stats.h"
#include "app/shell/input_script.h"
#include "app/base/picture.h"
#include "app/shell/settings.h"
#include "app/shell/theme.h"
#include "app/widgets/heatmap_renderer.h"

namespace app {

struct ShellOptions {
    bool headless = false;
    int width = 1600, height = 900;              ///< pixels
    float scale = 0;                             ///< 0.75 to 3; 0: the monitor's (headless: 1)
    ThemeKind theme = ThemeKind::kDark;
    bool interop = true;                         ///< routing is drawn where the engine wrote it, if both are on one device
    bool validation = false;                     ///< also with GATESCOPE_VALIDATION=1 in the environment
    std::filesystem::path config_dir;            ///< settings and layout; empty: nothing is read or kept
    double exit_after_seconds = 0;               ///< run() ends then; 0: when the window is closed
    std::string title = "Gatescope";
};

/// Of one frame, for whoever draws it.
struct FrameInfo {
    uint64_t number = 0;                         ///< from 0
    double time_seconds = 0;                     ///< since the start; headless: counted in frames
    float scale = 1;                             ///< pixels per unit of design size
    double awake_until = 0;                      ///< set it: frames are wanted until that time (animation, streaming)
    bool close = false;                          ///< set it: the window closes
};

class Shell {
public:
    using DrawUi = std::function<void(FrameInfo&)>;

    /// Errors: those of Window, GpuDevice and load_fonts.
    static gs::Result<std::unique_ptr<Shell>> create(const ShellOptions& options);
    ~Shell();                                    ///< after every Heatmap; keeps settings and layout

    /// The window's loop: sleeps while nothing happens. Until it is closed. Errors (kDevice): "device_lost" and others of vulkan_error;
    /// what was on screen cannot be drawn any more, the engine is untouched.
    gs::Result<void> run(const DrawUi& draw);
    /// n frames now, also headless.
    gs::Result<void> run_frames(int n, const DrawUi& draw);
    /// One frame for each event, then some to settle: for tests, with or without a window.
    gs::Result<void> run_script(std::span<const InputEvent> events, const DrawUi& draw);
    /// Lets `seconds` pass with nothing to do and returns how many frames would have been, and were, drawn: 0 is the aim.
    gs::Result<int> count_idle_frames(double seconds, const DrawUi& draw);

    /// There is something new to draw. From any thread; costs nothing when a frame is due anyway (one event a frame at most).
    void wake();

    gs::Result<Picture> picture();               ///< of the newest frame
    gs::Result<void> screenshot(const std::filesystem::path& path);

    /// From the next frame on. scale 0: the monitor's.
    void set_theme(ThemeKind theme);
    void set_scale(float scale);
    ThemeKind theme() const;
    float scale() const;                         ///< in force, 0.75 to 3
    void toggle_full_screen();
    void set_title(const std::string& title);

    HeatmapRenderer& heatmaps();
    /// For the engine, to share its routing with the heatmaps.
    std::shared_ptr<gs::RoutingViewer> viewer() const;
    const Fonts& fonts() const;
    Settings& settings();
    const FrameStats& stats() const;
    void restart_stats();
    int validation_messages() const;
    std::string device_name() const;

    /// Files dropped on the window; called between frames.
    std::function<void(std::vector<std::filesystem::path>)> on_drop;

private:
    struct Impl;
    explicit Shell(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

}  // namespace app
