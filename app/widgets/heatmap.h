// A heatmap drawn by a shader into its own image and shown with ImGui: values stay on the GPU, one quad, a max pyramid when zoomed out; cost
// does not depend on the number of cells. Zoom at the pointer, pan, keyboard, hover, selection marks, number in the cell when it is large.
//
//   app::HeatmapInput in{.n_cols = trace.n_tokens(), .n_rows = E, .values = fill, .revision = …};
//   app::HeatmapHit hit = heatmap.draw("token_expert", in, view, size);
//   if (hit.hovered) …hover card…; if (hit.clicked) select(hit.col, hit.row);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "app/base/colormap.h"
#include "engine/routing/shared_routing.h"
#include "imgui.h"

namespace app {

/// Columns that the engine may have written into memory of the device that draws (engine/routing/shared_routing.h): the positions of a run at one MoE layer.
struct HeatmapOnDevice {
    uint64_t run = 0;
    gs::SharedLayout::Plane plane = gs::SharedLayout::kWeights;
    int moe_layer = 0;
};

/// What a heatmap shows. Column-major growth: columns are appended (tokens), rows are fixed.
struct HeatmapInput {
    int n_cols = 0, n_rows = 0;
    /// Fills out[n_rows] of one column: called only for columns that are new or whose revision changed. NaN: no value (hatched).
    std::function<void(int col, std::span<float> out)> fill_column;
    uint64_t revision = 0;                 ///< identity of the content; a change refills everything
    int first_new_col = -1;                ///< with an unchanged revision: columns from here on are new (append); -1: detect by n_cols
    std::optional<HeatmapOnDevice> on_device;   ///< where the same values may be found without a copy; those of fill_column are used where they are not
    float low = 0, high = 1;               ///< value range of the colour map
    ColorMap map = ColorMap::kCividis;
    bool paints = false;                   ///< dragging is the panel's: HeatmapHit::painting; with Shift it pans
    bool swap_axes = false;                ///< draw columns downwards
    std::function<std::string(int col)> col_label;      ///< short axis label (token text made visible); called for visible ones only
    std::function<std::string(int row)> row_label;
    std::string col_title, row_title;      ///< axis titles: "token", "expert"
    static constexpr uint8_t kDropped = 1, kTie = 2, kFragile = 4;
    /// Signs of one column's cells, out[n_rows] of the bits above: called each frame for columns in sight, where cells are large enough (heatmap_signs.h).
    std::function<void(int col, std::span<uint8_t> out)> fill_signs;
    ImU32 sign_color = IM_COL32(255, 140, 60, 255);
};

/// Where the user looks; owned by the panel, kept over frames.
struct HeatmapView {
    double first_col = 0, n_cols_shown = 0;  ///< 0 = fit
    double first_row = 0, n_rows_shown = 0;
    bool follow = true;                    ///< keeps the newest column in view until the user pans or zooms; a click on "follow" re-attaches
};

/// Cells to outline: -1 = none; row = -1 with a column outlines the whole column, and the other way round.
struct HeatmapMark {
    int col = -1, row = -1;
    ImU32 color = 0;
    float thickness_px = 1.5f;
};

/// A stepped line over the cells, from the first column to the last.
struct HeatmapPath {
    std::span<const int> rows;             ///< [n_cols]; -1: a gap
    ImU32 color = 0;
    float thickness_px = 2;
};

struct HeatmapHit {
    bool hovered = false, clicked = false, context_menu = false;
    int col = -1, row = -1;                ///< under the pointer
    bool painting = false;                 ///< the left button is down, and col and row are under the pointer
    float value = 0;                       ///< the stored float, independent of the colour range
    int move_cols = 0, move_rows = 0;      ///< arrow keys pressed while focused: the panel moves the selection
};

class HeatmapRenderer;                     ///< the GPU side; made by the shell, drawn before the ImGui pass

class Heatmap {
public:
    explicit Heatmap(HeatmapRenderer& renderer);
    ~Heatmap();
    Heatmap(Heatmap&&) noexcept;
    /// Draws into the current window at the cursor. size in pixels, axis labels included.
    HeatmapHit draw(const char* id, const HeatmapInput& input, HeatmapView& view, ImVec2 size, std::span<const HeatmapMark> marks = {},
                    std::span<const HeatmapPath> paths = {});

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

/// A vertical or horizontal bar with end labels for a range; always drawn beside a heatmap (ux.md R24).
void color_bar(const char* id, ColorMap map, float low, float high, const char* title, ImVec2 size);

}  // namespace app
