#define IMGUI_DEFINE_MATH_OPERATORS                         // before the first imgui.h
#include "app/widgets/heatmap.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "app/widgets/heatmap_axes.h"
#include "app/widgets/heatmap_controls.h"
#include "app/widgets/heatmap_marks.h"
#include "app/widgets/heatmap_renderer.h"
#include "app/widgets/heatmap_signs.h"

namespace app {

static constexpr float kLargestFitCellPx = 96;                  // a run of three tokens must not become three billboards

struct Heatmap::Impl {
    explicit Impl(HeatmapRenderer& r) : renderer(r) {}
    ~Impl() { renderer.retire(std::move(surface)); }

    void fill(const HeatmapInput& input);
    gs::Result<void> upload(const HeatmapInput& input, bool zoomed_out);
    void place(const HeatmapInput& input, HeatmapView& view, ImVec2 at, ImVec2 size);
    void paint(const HeatmapInput& input, std::span<const HeatmapMark> marks, std::span<const HeatmapPath> paths, const HeatmapHit& hit, bool focus_ring);
    void draw_cells(const HeatmapInput& input);
    void draw_problem() const;
    void draw_follow_button(const HeatmapInput& input, HeatmapView& view) const;

    HeatmapRenderer& renderer;
    std::unique_ptr<HeatmapSurface> surface;
    HeatmapPyramid pyramid;
    std::string problem;                                        // shown in place of the cells
    uint64_t revision = 0;
    Reduce how = Reduce::kMax;
    bool filled = false;
    // This frame's geometry.
    HeatmapPlot plot;
    ImRect whole;
    AxisLayout left, below;
    AxisLabel x_label, y_label;
    std::string x_title, y_title;
};

void Heatmap::Impl::fill(const HeatmapInput& input) {
    const Reduce wanted = input.map == ColorMap::kBlueOrange ? Reduce::kMaxAbs : Reduce::kMax;
    const bool anew = !filled || input.revision != revision || input.n_rows != pyramid.n_rows() || wanted != how;
    int first = input.n_cols;
    if (anew) {
        problem.clear();
        const uint64_t bytes = HeatmapPyramid::size_for(input.n_cols, input.n_rows) * sizeof(float);
        if (bytes > renderer.limit_bytes()) {
            problem = "This map has " + std::to_string(uint64_t(input.n_cols) * uint64_t(input.n_rows)) +
                      " cells, more than this graphics device can show at once. Choose one layer, or fewer tokens.";
            filled = false;
            return;
        }
        pyramid.reset(input.n_rows, wanted);
        first = 0;
    } else if (input.first_new_col >= 0 && input.first_new_col < input.n_cols) {
        first = std::min(input.first_new_col, pyramid.n_cols());
    } else if (input.n_cols != pyramid.n_cols()) {
        first = std::min(input.n_cols, pyramid.n_cols());
    } else {
        return;
    }
    pyramid.set_columns(first, input.n_cols, input.fill_column);
    filled = true;
    revision = input.revision;
    how = wanted;
}

gs::Result<void> Heatmap::Impl::upload(const HeatmapInput& input, bool zoomed_out) {
    if (!surface) {
        GS_TRY(surface, renderer.make_surface());
    }
    std::optional<SharedCells> shared;
    if (input.on_device && renderer.shared())
        shared = renderer.shared()->cells(input.on_device->run, input.on_device->plane, input.on_device->moe_layer, input.n_cols, input.n_rows);
    return surface->upload(pyramid, shared, zoomed_out);
}

void Heatmap::Impl::draw_cells(const HeatmapInput& input) {
    ImDrawList& list = *ImGui::GetWindowDrawList();
    const ImU32 background = ImGui::GetColorU32(ImGuiCol_FrameBg) | IM_COL32_A_MASK;
    list.AddRectFilled(plot.area.Min, plot.area.Max, background);
    if (!problem.empty() || !renderer.has_gpu() || input.n_cols == 0) return;
    const ImVec2 pixels = ImGui::GetWindowViewport()->FramebufferScale;
    const float pixel = pixels.x > 0 ? pixels.x : 1;            // framebuffer pixels per ImGui pixel
    HeatmapPush push;
    push.view_col = float(plot.cols.first);
    push.view_row = float(plot.rows.first);
    push.cols_per_px = 1 / (plot.cols.cell_px() * pixel);
    push.rows_per_px = 1 / (plot.rows.cell_px() * pixel);
    push.low = input.low;
    push.inverse_range = 1 / std::max(input.high - input.low, std::numeric_limits<float>::min());
    push.n_cols = uint32_t(pyramid.n_cols());
    push.n_rows = uint32_t(pyramid.n_rows());
    push.n_row_levels = uint32_t(pyramid.n_row_levels());
    push.n_col_levels = uint32_t(pyramid.levels().size()) / push.n_row_levels;
    push.first_color = 256 * uint32_t(input.map);
    push.flags = (plot.swapped ? HeatmapPush::kSwapAxes : 0) | (how == Reduce::kMaxAbs ? HeatmapPush::kFarthestFromZero : 0);
    push.background = background;
    push.no_value = background;  // a quiet hatch on the ground, so that what has a value stands out
    push.no_value_stripe = ImGui::GetColorU32(ImGuiCol_FrameBgActive) | IM_COL32_A_MASK;
    push.px = std::max(1.0f, std::round(plot.px * pixel));
    if (auto done = upload(input, !push.shows_single_cells()); !done) {
        problem = done.error().message();
        return;
    }
    ImVec2 uv_max;
    auto image = surface->show(push, int(plot.area.GetWidth() * pixel), int(plot.area.GetHeight() * pixel), uv_max);
    if (!image) {
        problem = image.error().message();
        return;
    }
    list.AddImage(*image, plot.area.Min, plot.area.Max, {0, 0}, uv_max);
}

Heatmap::Heatmap(HeatmapRenderer& renderer) : m_impl(std::make_unique<Impl>(renderer)) {}
Heatmap::~Heatmap() = default;
Heatmap::Heatmap(Heatmap&&) noexcept = default;

void Heatmap::Impl::place(const HeatmapInput& input, HeatmapView& view, ImVec2 at, ImVec2 size) {
    const AxisLabel number = [](int cell) { return std::to_string(cell); };
    x_label = input.col_label ? input.col_label : number;
    y_label = input.row_label ? input.row_label : number;
    x_title = input.col_title;
    y_title = input.row_title;
    if (plot.swapped) {
        std::swap(x_label, y_label);
        std::swap(x_title, y_title);
    }
    HeatmapAxis &x = plot.swapped ? plot.rows : plot.cols, &y = plot.swapped ? plot.cols : plot.rows;
    const float px = plot.px, largest_px = kLargestFitCellPx * px;
    // The labels' room depends on which cells show, and that on the plot's size: a guess with the whole size is near enough.
    x.length_px = size.x;
    y.length_px = size.y;
    resolve_view(view, input.n_cols, input.n_rows, largest_px, plot.cols, plot.rows);
    left = lay_out_axis(y, y_label, y_title, false, px);
    below = lay_out_axis(x, x_label, x_title, true, px);
    whole = ImRect(at, at + size);
    plot.area.Min = {at.x + std::floor(std::min(left.gutter_px, size.x / 2)), at.y};
    plot.area.Max = {std::floor(whole.Max.x), at.y + std::floor(size.y - std::min(below.gutter_px, size.y / 2))};
    x.origin_px = plot.area.Min.x;
    x.length_px = plot.area.GetWidth();
    y.origin_px = plot.area.Min.y;
    y.length_px = plot.area.GetHeight();
    resolve_view(view, input.n_cols, input.n_rows, largest_px, plot.cols, plot.rows);
}

void Heatmap::Impl::draw_problem() const {
    ImGui::SetCursorScreenPos(plot.area.Min + ImVec2(8, 8) * plot.px);
    ImGui::PushTextWrapPos(plot.area.Max.x - ImGui::GetWindowPos().x - 8 * plot.px);
    ImGui::TextUnformatted(problem.c_str());
    ImGui::PopTextWrapPos();
}

void Heatmap::Impl::paint(const HeatmapInput& input, std::span<const HeatmapMark> marks, std::span<const HeatmapPath> paths, const HeatmapHit& hit,
                          bool focus_ring) {
    ImDrawList& list = *ImGui::GetWindowDrawList();
    draw_cells(input);
    list.PushClipRect(plot.area.Min, plot.area.Max, true);
    if (problem.empty() && filled) {
        draw_numbers(plot, input, pyramid, list);
        draw_signs(plot, input, list);
    }
    for (const HeatmapMark& mark : marks) draw_mark(plot, mark, list);
    for (const HeatmapPath& path : paths) draw_path(plot, path, list);
    if (hit.hovered) draw_pointed_cell(plot, input, hit, list);
    list.PopClipRect();
    if (focus_ring) list.AddRect(plot.area.Min, plot.area.Max, ImGui::GetColorU32(ImGuiCol_NavCursor), 0, 2 * plot.px);
    list.PushClipRect(whole.Min, whole.Max, true);
    draw_horizontal_axis(list, plot.swapped ? plot.rows : plot.cols, below, x_label, x_title, plot.area.Max.y, plot.px);
    draw_vertical_axis(list, plot.swapped ? plot.cols : plot.rows, left, y_label, y_title, plot.area.Min.x, plot.px);
    list.PopClipRect();
    if (!problem.empty()) draw_problem();
}

void Heatmap::Impl::draw_follow_button(const HeatmapInput& input, HeatmapView& view) const {
    ImGui::SetCursorScreenPos(plot.area.Min + ImVec2(6, 6) * plot.px);
    if (ImGui::SmallButton("follow###follow")) view.follow = true;
    ImGui::SetItemTooltip("Keep the newest %s in view", input.col_title.empty() ? "column" : input.col_title.c_str());
}

HeatmapHit Heatmap::draw(const char* id, const HeatmapInput& input, HeatmapView& view, ImVec2 size, std::span<const HeatmapMark> marks,
                         std::span<const HeatmapPath> paths) {
    Impl& m = *m_impl;
    HeatmapHit hit;
    m.plot.px = ImGui::GetFontSize() / ImGui::GetStyle().FontSizeBase;
    m.plot.swapped = input.swap_axes;
    const ImVec2 at(std::floor(ImGui::GetCursorScreenPos().x), std::floor(ImGui::GetCursorScreenPos().y));
    if (input.n_rows <= 0 || size.x < 24 * m.plot.px || size.y < 24 * m.plot.px) {
        ImGui::Dummy(size);
        return hit;
    }
    m.fill(input);
    m.place(input, view, at, size);
    ImGui::PushID(id);
    ImGui::SetCursorScreenPos(m.plot.area.Min);
    ImGui::SetNextItemAllowOverlap();                           // the follow button lies on it
    ImGui::InvisibleButton("###cells", m.plot.area.GetSize());
    if (m.filled) {
        use_mouse(m.plot, input, m.pyramid, view, hit);
        use_keys(m.plot, input, view, hit);
        resolve_view(view, input.n_cols, input.n_rows, kLargestFitCellPx * m.plot.px, m.plot.cols, m.plot.rows);
    }
    const bool focus_ring = ImGui::IsItemFocused() && ImGui::GetIO().NavVisible;
    if (ImGui::IsItemVisible()) m.paint(input, marks, paths, hit, focus_ring);
    if (!view.follow && view.n_cols_shown > 0) m.draw_follow_button(input, view);
    ImGui::PopID();
    ImGui::SetCursorScreenPos(at);
    ImGui::Dummy(size);
    return hit;
}

}  // namespace app
