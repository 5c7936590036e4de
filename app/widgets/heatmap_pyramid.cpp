#include "app/widgets/heatmap_pyramid.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/core/check.h"

namespace app {

static constexpr int kFirstCapacity = 64;

float reduce(Reduce how, float a, float b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    if (how == Reduce::kMax) return std::max(a, b);
    const float size_a = std::abs(a), size_b = std::abs(b);
    return size_a == size_b ? std::max(a, b) : size_a > size_b ? a : b;
}

static int halved(int n) { return (n + 1) / 2; }

static int count_levels(int n) {
    int levels = 1;
    for (; n > 1; n = halved(n)) ++levels;
    return levels;
}

static int capacity_for(int n_cols) { return std::max(kFirstCapacity, int(std::bit_ceil(unsigned(n_cols)))); }

uint64_t HeatmapPyramid::size_for(int n_cols, int n_rows) {
    uint64_t cols = 0, rows = 0;
    for (int n = capacity_for(n_cols);; n = halved(n)) {
        cols += uint64_t(n);
        if (n == 1) break;
    }
    for (int n = n_rows;; n = halved(n)) {
        rows += uint64_t(n);
        if (n <= 1) break;
    }
    return cols * rows;
}

void HeatmapPyramid::reset(int n_rows, Reduce how) {
    GS_CHECK(n_rows >= 1, "a heatmap has at least one row");
    m_how = how;
    m_n_rows = n_rows;
    m_n_cols = m_capacity = 0;
    m_levels.clear();
    m_dirty.clear();
    m_values.clear();
    m_n_row_levels = count_levels(n_rows);
}

void HeatmapPyramid::lay_out(int capacity) {
    std::vector<float> old;
    old.swap(m_values);
    m_capacity = capacity;
    m_values.assign(size_for(capacity, m_n_rows), 0.0f);
    m_levels.clear();
    uint32_t first = 0;
    for (int cols = capacity;; cols = halved(cols)) {
        for (int lr = 0, rows = m_n_rows; lr < m_n_row_levels; ++lr, rows = halved(rows)) {
            m_levels.push_back({first, uint32_t(cols), uint32_t(rows), 0});
            first += uint32_t(cols) * uint32_t(rows);
        }
        if (cols == 1) break;
    }
    std::copy_n(old.begin(), std::min(old.size(), size_t(m_n_cols) * size_t(m_n_rows)), m_values.begin());   // level 0 is always first
    ++m_layout_generation;
    m_dirty.clear();
}

void HeatmapPyramid::halve_rows(const Level& from, const Level& to, int first_col, int last_col) {
    for (int col = first_col; col < last_col; ++col) {
        const float* in = &m_values[from.first + size_t(col) * from.n_rows];
        float* out = &m_values[to.first + size_t(col) * to.n_rows];
        for (uint32_t row = 0; row < to.n_rows; ++row)
            out[row] = 2 * row + 1 < from.n_rows ? reduce(m_how, in[2 * row], in[2 * row + 1]) : in[2 * row];
    }
}

void HeatmapPyramid::halve_cols(const Level& from, const Level& to, int first_col, int last_col, int n_from) {
    for (int col = first_col; col < last_col; ++col) {
        const float* left = &m_values[from.first + size_t(2 * col) * from.n_rows];
        const float* right = 2 * col + 1 < n_from ? left + from.n_rows : left;     // columns that do not exist yet must not count
        float* out = &m_values[to.first + size_t(col) * to.n_rows];
        for (uint32_t row = 0; row < to.n_rows; ++row) out[row] = reduce(m_how, left[row], right[row]);
    }
}

void HeatmapPyramid::set_columns(int first_col, int n_cols, const FillColumn& fill) {
    GS_CHECK(first_col >= 0 && first_col <= m_n_cols && first_col <= n_cols, "heatmap columns must follow those that are there");
    const bool grows = capacity_for(n_cols) > m_capacity;
    if (grows) {
        m_n_cols = std::min(m_n_cols, first_col);
        lay_out(capacity_for(n_cols));
    }
    for (int col = first_col; col < n_cols; ++col) fill(col, {&m_values[size_t(col) * size_t(m_n_rows)], size_t(m_n_rows)});
    m_n_cols = n_cols;
    // A new layout has empty upper levels; a shorter map leaves stale cells in the last column of each level: redo from there.
    int first = grows ? 0 : std::max(0, std::min(first_col, n_cols - 1)), last = n_cols;
    const int n_col_levels = int(m_levels.size()) / std::max(1, m_n_row_levels);
    for (int lc = 0; lc < n_col_levels && last > 0; ++lc) {
        for (int lr = 0; lr < m_n_row_levels; ++lr) {
            const Level& level = m_levels[size_t(lc * m_n_row_levels + lr)];
            if (lr > 0) halve_rows(m_levels[size_t(lc * m_n_row_levels + lr - 1)], level, first, last);
            else if (lc > 0) halve_cols(m_levels[size_t((lc - 1) * m_n_row_levels)], level, first, last, ((n_cols - 1) >> (lc - 1)) + 1);
            m_dirty.emplace_back(level.first + size_t(first) * level.n_rows, size_t(last - first) * level.n_rows);
        }
        first /= 2;
        last = halved(last);
    }
}

std::vector<std::pair<size_t, size_t>> HeatmapPyramid::take_dirty() { return std::exchange(m_dirty, {}); }

}  // namespace app
