// A panel as a PNG of any size: drawn anew off screen from the same session, so that the window itself need not change its size.
#pragma once

#include <filesystem>
#include <string>

#include "app/views/view.h"
#include "engine/core/result.h"

namespace app {

struct PanelPicture {
    std::string view;                      ///< id of the panel
    int width_px = 1920, height_px = 1080;
    float scale = 1;
    std::string theme = "dark";
    Pick pick;                             ///< selection
    std::filesystem::path path;            ///< to write
};

/// On the window's thread, also in the middle of its frame; some tenths of a second. The panel is as it first opens, with what the session has
/// computed. Errors: those of Shell::create and Shell::screenshot.
gs::Result<void> save_panel_picture(const PanelPicture& picture, gs::Session& session, const ViewSettings& settings);

}  // namespace app
