// Parts of the sensitivity panel: figures of a schedule beside one k for all layers, the curve of what bytes buy, the map as a table.
#pragma once

#include "app/views/sensitivity_picture.h"
#include "app/views/view.h"

namespace app {

/// What the panel shows of a budget.
struct ScheduleShown {
    gs::Budget budget;
    std::optional<gs::LayerSchedule> planned;              ///< nothing: no schedule keeps the budget, as predicted
    const gs::ScheduleResult* checked = nullptr;           ///< of this budget; null until it was run
    int uniform = -1;                                      ///< column of the best k for all layers; -1: none keeps the budget
    bool by_hand = false;                                  ///< planned was changed by hand: it need not keep the budget
    /// What was run where there is such, else the plan; null: neither.
    const gs::LayerSchedule* schedule() const { return checked ? &checked->schedule : planned ? &*planned : nullptr; }
};

/// A sentence that says which is better, and a table: unchanged, predicted, run, one k for all layers.
/// compact: on its side, low and wide.
void draw_schedule_figures(ViewContext& context, const gs::SensitivityMap& map, const ScheduleShown& shown, bool compact);
/// Height that those take when they are not compact, about.
float figures_height(const ScheduleShown& shown);
/// Loss against bytes per token: cheapest schedules as predicted, every k for all layers, what was run, and the budget.
void draw_schedule_curve(const ViewContext& context, const SchedulePlans& plans, const ScheduleShown& shown, ImVec2 size);
/// Layers down, k across; the schedule's cells marked. Returns the MoE layer whose row was clicked, or -1.
int draw_sensitivity_table(const ViewContext& context, const gs::SensitivityMap& map, SensitivityQuantity quantity, const gs::LayerSchedule* schedule, ImVec2 size);
/// Everything about one cell, at the pointer.
void sensitivity_card(const gs::SensitivityMap& map, int moe_layer, int column, const gs::LayerSchedule* schedule);

}  // namespace app
