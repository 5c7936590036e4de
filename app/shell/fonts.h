// The fonts of the window, from assets/fonts: glyphs are made on demand at any size, so nothing is rebuilt when the scale changes.
#pragma once

#include "engine/core/result.h"
#include "imgui.h"

namespace app {

struct Fonts {
    ImFont* text = nullptr;                      ///< Roboto, with symbols and icons merged in
    ImFont* mono = nullptr;                      ///< Inconsolata, with symbols and icons merged in
};

/// Adds them to the current ImGui context; `text` becomes the default. Errors: kInput "font_missing" with the path.
gs::Result<Fonts> load_fonts();

}  // namespace app
