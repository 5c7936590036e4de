// The values of a heatmap with everything a zoomed-out view needs. A map of 4,000 tokens x 64 experts is squeezed in one direction only, so
// columns and rows are halved each on their own (a "ripmap", 4 times the memory): a pixel then covers at most 3 x 3 cells of some level,
// whatever the zoom, and a lone hot cell never vanishes.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace app {

/// What stands for several cells in one: their maximum, or, for signed values, the one farthest from 0 (of two equally far, the positive
/// one). NaN ("no value") loses to everything.
enum class Reduce : uint8_t { kMax, kMaxAbs };
float reduce(Reduce how, float a, float b);

class HeatmapPyramid {
public:
    /// One level, column-major: cell (col, row) is at first + col * n_rows + row. The layout the shader reads, four words each.
    struct Level {
        uint32_t first, n_cols, n_rows, unused;
    };
    using FillColumn = std::function<void(int col, std::span<float> out)>;

    /// Forgets everything. n_rows >= 1.
    void reset(int n_rows, Reduce how);
    /// Columns [first_col, n_cols) come from `fill`; columns before first_col stay. first_col <= n_cols(). Work is in proportion to the new
    /// columns (plus one column a level).
    void set_columns(int first_col, int n_cols, const FillColumn& fill);

    int n_cols() const { return m_n_cols; }
    int n_rows() const { return m_n_rows; }
    float at(int col, int row) const { return m_values[size_t(col) * size_t(m_n_rows) + size_t(row)]; }
    /// Levels [lc * n_row_levels() + lr]: columns halved lc times, rows lr times; level 0 is the values.
    std::span<const Level> levels() const { return m_levels; }
    int n_row_levels() const { return m_n_row_levels; }
    std::span<const float> values() const { return m_values; }
    /// Words of values() after growing to n_cols columns.
    static uint64_t size_for(int n_cols, int n_rows);
    /// Changes when values() was laid out anew: everything must be uploaded again.
    uint64_t layout_generation() const { return m_layout_generation; }
    /// Ranges of values() (first, count) written since the last call, for an incremental upload.
    std::vector<std::pair<size_t, size_t>> take_dirty();

private:
    void lay_out(int capacity);
    void halve_rows(const Level& from, const Level& to, int first_col, int last_col);
    void halve_cols(const Level& from, const Level& to, int first_col, int last_col, int n_from);

    Reduce m_how = Reduce::kMax;
    int m_n_cols = 0, m_n_rows = 0, m_capacity = 0, m_n_row_levels = 0;
    std::vector<float> m_values;
    std::vector<Level> m_levels;
    std::vector<std::pair<size_t, size_t>> m_dirty;
    uint64_t m_layout_generation = 0;
};

}  // namespace app
