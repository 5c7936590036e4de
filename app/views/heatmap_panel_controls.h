// The tool bar of the heatmap panel, and what it chooses: which picture, which values, which colours, signs or none.
#pragma once

#include <array>

#include "app/views/heatmap_panel_picture.h"
#include "app/views/view.h"

namespace app {

/// What is chosen for this panel alone; quantity, colours and signs are in ViewSettings, the same for all panels.
struct HeatmapChoice {
    PictureKind kind = PictureKind::kTokenExpert;
    RouteScalar scalar = RouteScalar::kTopWeight;
    bool over_run = true;                  ///< layer x expert: share over the run, else one token
    bool as_table = false;
    std::array<HeatmapView, 3> views;      ///< where the user looks, per picture

    HeatmapView& view() { return views[static_cast<size_t>(kind)]; }
    const HeatmapView& view() const { return views[static_cast<size_t>(kind)]; }
    /// Of single choices: there are none in shares over a run.
    bool can_have_signs() const { return kind != PictureKind::kLayerExpert || !over_run; }
};

/// pick: the layer and token shown; stepping through layers changes it and the selection.
void draw_heatmap_controls(ViewContext& context, HeatmapChoice& choice, Pick& pick);

}  // namespace app
