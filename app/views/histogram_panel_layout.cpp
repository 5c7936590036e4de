#include "app/views/histogram_panel_layout.h"

#include <algorithm>

namespace app {
namespace {

constexpr float kAspect = 1.7f;            // width : height at which a bar chart of 16 to 64 bars reads best

float quality(const CellGrid& grid) { return std::min(grid.cell_width / kAspect, grid.cell_height); }

}  // namespace

CellGrid place_cells(int n, float width, float height, float min_width, float min_height, float gap) {
    CellGrid best;
    for (int columns = 1; columns <= n; ++columns) {
        CellGrid grid;
        grid.n_columns = columns;
        grid.n_rows = (n + columns - 1) / columns;
        grid.cell_width = (width - gap * static_cast<float>(columns - 1)) / static_cast<float>(columns);
        grid.cell_height = (height - gap * static_cast<float>(grid.n_rows - 1)) / static_cast<float>(grid.n_rows);
        if (grid.cell_width < min_width || grid.cell_height < min_height) continue;
        if (best.cell_width == 0 || quality(grid) > quality(best)) best = grid;
    }
    if (best.cell_width > 0) return best;
    best.n_columns = std::clamp(static_cast<int>((width + gap) / (min_width + gap)), 1, std::max(1, n));
    best.n_rows = (n + best.n_columns - 1) / best.n_columns;
    best.cell_width = std::max(1.0f, (width - gap * static_cast<float>(best.n_columns - 1)) / static_cast<float>(best.n_columns));
    best.cell_height = min_height;
    best.scrolls = true;
    return best;
}

}  // namespace app
