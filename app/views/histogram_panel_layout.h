// Places of the small multiples: as large as they can be, one row of cells after the other, scrolled when they would become unreadable.
#pragma once

namespace app {

struct CellGrid {
    int n_columns = 1, n_rows = 1;
    float cell_width = 0, cell_height = 0; ///< pixels, gaps not included
    bool scrolls = false;                  ///< the grid is higher than the room
};

/// n cells with `gap` between them in width x height pixels; a cell is at least min_width x min_height unless the room itself is narrower.
CellGrid place_cells(int n, float width, float height, float min_width, float min_height, float gap);

}  // namespace app
