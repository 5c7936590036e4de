// A panel as a PNG of any size, drawn by the same program without a window (gatescope screenshot), so that the window itself need not change its size.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "app/views/view.h"
#include "engine/core/result.h"

namespace app {

struct PanelPicture {
    std::string view;                      ///< id of the panel
    int width_px = 1920, height_px = 1080;
    float scale = 1;
    std::string theme = "dark";
    Pick pick;                             ///< selection
    std::shared_ptr<const gs::RunResult> pinned;   ///< A of the comparison; or null
};

/// Blocks until the picture is there: not for the UI thread. Errors: kRun "no_picture" with what the program said; those of saving.
gs::Result<void> save_panel_picture(const PanelPicture& picture, const gs::TraceSnapshot& trace, const std::filesystem::path& to);
/// What the program is called with; for tests.
std::vector<std::string> picture_arguments(const PanelPicture& picture, const std::filesystem::path& trace, const std::filesystem::path& pinned, const std::filesystem::path& to);

}  // namespace app
