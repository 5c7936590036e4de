// Two texts side by side with the difference marked.
#pragma once

#include <vector>

#include "engine/routing/text_diff.h"
#include "imgui.h"

namespace app {

using gs::diff_words;
using gs::DiffPiece;
using gs::TextDiff;

/// Wrapped text with differing pieces on a tinted, underlined background (colour is never the only mark).
void draw_diff(const std::vector<DiffPiece>& pieces, ImU32 mark, float width);

}  // namespace app
