// Which cells a heatmap's plot shows, and how the wheel and dragging change that. Pure functions of HeatmapView.
#pragma once

#include "app/widgets/heatmap.h"

namespace app {

/// One axis of the plot: `shown` cells from `first` on, over `length_px` from `origin_px` on.
struct HeatmapAxis {
    double first = 0, shown = 1;
    float origin_px = 0, length_px = 1;
    int n = 0;                                   ///< cells that exist

    float cell_px() const { return float(length_px / shown); }
    float to_px(double cell) const { return origin_px + float((cell - first) * length_px / shown); }
    double to_cell(float px) const { return first + double(px - origin_px) * shown / length_px; }
    /// First and one past the last cell that exists and shows.
    int begin() const;
    int end() const;
};

/// What `view` means for a map of n_cols x n_rows cells on col_px x row_px pixels; keeps `view` within the map and applies `follow`. Few
/// columns do not fill the plot: a cell grows to max_cell_px at most.
void resolve_view(HeatmapView& view, int n_cols, int n_rows, float max_cell_px, HeatmapAxis& cols, HeatmapAxis& rows);

/// Zooms by `factor` (< 1: closer) so that the cell at `at` stays where it is; detaches from the newest column unless everything shows
/// again.
void zoom_view(HeatmapView& view, const HeatmapAxis& cols, const HeatmapAxis& rows, double col_factor, double row_factor, double at_col,
               double at_row);
void pan_view(HeatmapView& view, const HeatmapAxis& cols, const HeatmapAxis& rows, double by_cols, double by_rows);
void fit_view(HeatmapView& view);

}  // namespace app
