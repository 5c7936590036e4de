// Parts of the sweep panel: the linked curves, their card, the same figures as tables.
#pragma once

#include "app/views/sweep_picture.h"
#include "app/views/view.h"

namespace app {

/// What the panel shows.
struct SweepShown {
    const gs::SweepResult& sweep;
    const gs::SweepResult* ghost = nullptr;                ///< the sweep before over the same text, drawn faint; null: none
    int row = -1;                                          ///< lit in every curve; -1: none
    bool log_scale = false;                                ///< of the figures that may be logarithmic
};

struct SweepHit {
    int hovered = -1, clicked = -1;                        ///< rows of the sweep
};

/// Every figure over k on one shared axis, native k and the lit k marked in all.
SweepHit draw_sweep_curves(ViewContext& context, const SweepShown& shown, ImVec2 size);
/// A row per k; the lit one marked.
SweepHit draw_sweep_table(const SweepShown& shown, ImVec2 size);
/// Output error of every layer: layers down, k across. Picks the layer.
SweepHit draw_sweep_layers(ViewContext& context, const SweepShown& shown, ImVec2 size);
/// Every exact value of one k, at the pointer.
void sweep_card(const ViewContext& context, const SweepShown& shown, int row);

}  // namespace app
