#include "app/widgets/heatmap_view.h"

#include <algorithm>
#include <cmath>

namespace app {

static constexpr double kFewestCells = 2;                       // closest zoom

int HeatmapAxis::begin() const { return std::clamp(int(std::floor(first)), 0, n); }
int HeatmapAxis::end() const { return std::clamp(int(std::ceil(first + shown)), 0, n); }

static void keep_inside(double& first, double shown, int n) { first = std::clamp(first, 0.0, std::max(0.0, n - shown)); }

void resolve_view(HeatmapView& view, int n_cols, int n_rows, float max_cell_px, HeatmapAxis& cols, HeatmapAxis& rows) {
    cols.n = n_cols;
    rows.n = n_rows;
    const double fit_cols = std::max({1.0, double(n_cols), double(cols.length_px / max_cell_px)});
    if (view.n_cols_shown >= fit_cols) view.n_cols_shown = 0;
    if (view.n_rows_shown >= n_rows) view.n_rows_shown = 0;
    cols.shown = view.n_cols_shown > 0 ? view.n_cols_shown : fit_cols;
    rows.shown = view.n_rows_shown > 0 ? view.n_rows_shown : std::max(1, n_rows);
    if (view.follow) view.first_col = n_cols - cols.shown;
    keep_inside(view.first_col, cols.shown, n_cols);
    keep_inside(view.first_row, rows.shown, n_rows);
    cols.first = view.first_col;
    rows.first = view.first_row;
}

void zoom_view(HeatmapView& view, const HeatmapAxis& cols, const HeatmapAxis& rows, double col_factor, double row_factor, double at_col,
               double at_row) {
    const auto zoom = [](const HeatmapAxis& axis, double factor, double at, double& first, double& shown) {
        const double wanted = std::max(axis.shown * factor, std::min(kFewestCells, axis.shown));
        first = at - (at - axis.first) * wanted / axis.shown;
        if (wanted != axis.shown) shown = wanted;               // an axis that fits keeps fitting
    };
    zoom(cols, col_factor, at_col, view.first_col, view.n_cols_shown);
    zoom(rows, row_factor, at_row, view.first_row, view.n_rows_shown);
    view.follow = view.n_cols_shown == 0;
}

void pan_view(HeatmapView& view, const HeatmapAxis& cols, const HeatmapAxis& rows, double by_cols, double by_rows) {
    view.first_col = cols.first + by_cols;
    view.first_row = rows.first + by_rows;
    if (by_cols != 0 && view.n_cols_shown > 0) view.follow = false;
}

void fit_view(HeatmapView& view) { view = HeatmapView{}; }

}  // namespace app
