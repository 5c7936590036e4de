// What the heatmap says in words: the hover card of a cell and the line above the picture.
#pragma once

#include <string>

#include "app/views/heatmap_panel_picture.h"
#include "app/views/view.h"
#include "engine/routing/choices.h"

namespace app {

/// Exact values of a cell, with what the recorded run lacks said.
void draw_cell_card(const ViewContext& context, RoutePicture& picture, gs::ChoiceReader& choices, int col, int row);
/// What the picture is, with the meaning of the hatch and the signs where there are some.
std::string picture_legend(const ViewContext& context, const RoutePicture& picture);

}  // namespace app
