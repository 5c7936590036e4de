#define IMGUI_DEFINE_MATH_OPERATORS                         // before the first imgui.h
#include "app/widgets/heatmap.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "app/widgets/heatmap_axes.h"
#include "app/widgets/heatmap_renderer.h"
#include "app/widgets/heatmap_signs.h"
#include "app/widgets/heatmap_view.h"
#include "imgui_internal.h"

namespace app {

static constexpr float kLargestFitCellPx = 96;                  // a run of three tokens must not become three billboards
static constexpr float kNumberCellPx = 22, kBarCellPx = 60;     // ux.md R12
static constexpr int kMostNumbers = 2500;
static constexpr double kZoomPerNotch = 0.85;

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
    void draw_numbers(const HeatmapInput& input, ImDrawList& list) const;
    void draw_marks(std::span<const HeatmapMark> marks, ImDrawList& list) const;
    void draw_path(const HeatmapPath& path, ImDrawList& list) const;
    void use_mouse(HeatmapView& view, const HeatmapInput& input, HeatmapHit& hit) const;
    void use_keys(HeatmapView& view, const HeatmapInput& input, HeatmapHit& hit) const;
    ImRect cell_rect(double col, double row, double n_cols, double n_rows) const;
    float color_position(const HeatmapInput& input, float value) const;

    HeatmapRenderer& renderer;
    std::unique_ptr<HeatmapSurface> surface;
    HeatmapPyramid pyramid;
    std::string problem;                                        // shown in place of the cells
    uint64_t revision = 0;
    Reduce how = Reduce::kMax;
    bool filled = false;
    // This frame's geometry.
    HeatmapAxis cols, rows;
    ImRect whole, plot;
    AxisLayout left, below;
    AxisLabel x_label, y_label;
    std::string x_title, y_title;
    bool swapped = false;
    float px = 1;                                               // pixels per unit of design size
};

/// The text of one cell: short enough for a small one, full where there is room.
static std::string number_text(float value, bool roomy) {
    char text[32];
    std::snprintf(text, sizeof text, roomy ? "%.3g" : std::abs(value) < 10 ? "%.2f" : "%.0f", double(value));
    return text;
}

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
    list.AddRectFilled(plot.Min, plot.Max, background);
    if (!problem.empty() || !renderer.has_gpu() || input.n_cols == 0) return;
    const ImVec2 pixels = ImGui::GetWindowViewport()->FramebufferScale;
    const float pixel = pixels.x > 0 ? pixels.x : 1;            // framebuffer pixels per ImGui pixel
    HeatmapPush push;
    push.view_col = float(cols.first);
    push.view_row = float(rows.first);
    push.cols_per_px = 1 / (cols.cell_px() * pixel);
    push.rows_per_px = 1 / (rows.cell_px() * pixel);
    push.low = input.low;
    push.inverse_range = 1 / std::max(input.high - input.low, std::numeric_limits<float>::min());
    push.n_cols = uint32_t(pyramid.n_cols());
    push.n_rows = uint32_t(pyramid.n_rows());
    push.n_row_levels = uint32_t(pyramid.n_row_levels());
    push.n_col_levels = uint32_t(pyramid.levels().size()) / push.n_row_levels;
    push.first_color = 256 * uint32_t(input.map);
    push.flags = (swapped ? HeatmapPush::kSwapAxes : 0) | (how == Reduce::kMaxAbs ? HeatmapPush::kFarthestFromZero : 0);
    push.background = background;
    push.no_value = background;  // a quiet hatch on the ground, so that what has a value stands out
    push.no_value_stripe = ImGui::GetColorU32(ImGuiCol_FrameBgActive) | IM_COL32_A_MASK;
    push.px = std::max(1.0f, std::round(px * pixel));
    if (auto done = upload(input, !push.shows_single_cells()); !done) {
        problem = done.error().message();
        return;
    }
    ImVec2 uv_max;
    auto image = surface->show(push, int(plot.GetWidth() * pixel), int(plot.GetHeight() * pixel), uv_max);
    if (!image) {
        problem = image.error().message();
        return;
    }
    list.AddImage(*image, plot.Min, plot.Max, {0, 0}, uv_max);
}

ImRect Heatmap::Impl::cell_rect(double col, double row, double n_cols, double n_rows) const {
    const ImVec2 a(cols.to_px(col), rows.to_px(row)), b(cols.to_px(col + n_cols), rows.to_px(row + n_rows));
    return swapped ? ImRect(a.y, a.x, b.y, b.x) : ImRect(a.x, a.y, b.x, b.y);
}

float Heatmap::Impl::color_position(const HeatmapInput& input, float value) const {
    return std::clamp((value - input.low) / std::max(input.high - input.low, std::numeric_limits<float>::min()), 0.0f, 1.0f);
}

void Heatmap::Impl::draw_numbers(const HeatmapInput& input, ImDrawList& list) const {
    const float smaller_px = std::min(cols.cell_px(), rows.cell_px());
    const int n_visible = (cols.end() - cols.begin()) * (rows.end() - rows.begin());
    if (smaller_px < kNumberCellPx * px || n_visible > kMostNumbers) return;
    const bool roomy = smaller_px >= kBarCellPx * px;
    const float font_px = (roomy ? 14 : 12) * px;
    for (int col = cols.begin(); col < cols.end(); ++col) {
        for (int row = rows.begin(); row < rows.end(); ++row) {
            const float value = pyramid.at(col, row);
            if (std::isnan(value)) continue;
            const ImRect cell = cell_rect(col, row, 1, 1);
            const std::string text = number_text(value, roomy);
            const ImVec2 size = ImGui::GetFont()->CalcTextSizeA(font_px, FLT_MAX, 0, text.c_str());
            if (size.x + 3 * px > cell.GetWidth()) continue;
            const float t = color_position(input, value);
            const ImU32 color = text_color_on(sample(input.map, t));
            const ImVec2 center = cell.GetCenter();
            list.AddText(nullptr, font_px, {center.x - size.x / 2, center.y - size.y / 2}, color, text.c_str());
            if (!roomy) continue;
            const ImVec2 bar(cell.Min.x + 8 * px, cell.Max.y - 10 * px);
            const float length = cell.GetWidth() - 16 * px;
            list.AddRectFilled(bar, {bar.x + length, bar.y + 3 * px}, (color & ~IM_COL32_A_MASK) | IM_COL32(0, 0, 0, 60));
            list.AddRectFilled(bar, {bar.x + length * t, bar.y + 3 * px}, color);
        }
    }
}

void Heatmap::Impl::draw_marks(std::span<const HeatmapMark> marks, ImDrawList& list) const {
    for (const HeatmapMark& mark : marks) {
        if ((mark.col < 0 && mark.row < 0) || mark.col >= cols.n || mark.row >= rows.n) continue;
        const bool whole_col = mark.row < 0, whole_row = mark.col < 0;
        ImRect rect = cell_rect(whole_row ? 0 : mark.col, whole_col ? 0 : mark.row, whole_row ? cols.n : 1, whole_col ? rows.n : 1);
        // Where a cell is smaller than a few pixels, its mark is not.
        const float grow_x = std::max(0.0f, 5 * px - rect.GetWidth()) / 2, grow_y = std::max(0.0f, 5 * px - rect.GetHeight()) / 2;
        rect.Expand({grow_x, grow_y});
        const float thickness = mark.thickness_px * px;
        // A dark line outside the coloured one: readable on every colour of every map.
        list.AddRect(rect.Min - ImVec2(thickness, thickness), rect.Max + ImVec2(thickness, thickness), IM_COL32(0, 0, 0, 170), 0,
                     thickness);
        list.AddRect(rect.Min, rect.Max, mark.color, 0, thickness);
    }
}

/// Level over each cell, upright at its edges; a dark line under the coloured one, as around marks.
void Heatmap::Impl::draw_path(const HeatmapPath& path, ImDrawList& list) const {
    std::vector<ImVec2> points;
    const auto stroke = [&] {
        const float thickness = path.thickness_px * px;
        list.AddPolyline(points.data(), int(points.size()), IM_COL32(0, 0, 0, 170), thickness + 2 * px);
        list.AddPolyline(points.data(), int(points.size()), path.color, thickness);
        points.clear();
    };
    for (int col = 0; col < std::min(cols.n, int(path.rows.size())); ++col) {
        const int row = path.rows[size_t(col)];
        if (row < 0 || row >= rows.n) {
            stroke();
            continue;
        }
        const ImRect cell = cell_rect(col, row, 1, 1);
        const ImVec2 middle = cell.GetCenter();
        points.push_back(swapped ? ImVec2(middle.x, cell.Min.y) : ImVec2(cell.Min.x, middle.y));
        points.push_back(swapped ? ImVec2(middle.x, cell.Max.y) : ImVec2(cell.Max.x, middle.y));
    }
    stroke();
}

void Heatmap::Impl::use_mouse(HeatmapView& view, const HeatmapInput& input, HeatmapHit& hit) const {
    const ImGuiIO& io = ImGui::GetIO();
    const ImVec2 mouse = swapped ? ImVec2(io.MousePos.y, io.MousePos.x) : io.MousePos;
    // ImGui rounds the pointer down to a pixel's corner; the shader colours the pixel by its centre.
    const double at_col = cols.to_cell(mouse.x + 0.5f), at_row = rows.to_cell(mouse.y + 0.5f);
    if (ImGui::IsItemHovered()) {
        ImGui::SetItemKeyOwner(ImGuiKey_MouseWheelY);           // the window behind must not scroll
        ImGui::SetItemKeyOwner(ImGuiKey_MouseWheelX);
        if (io.MouseWheel != 0) {
            const double factor = std::pow(kZoomPerNotch, double(io.MouseWheel));
            zoom_view(view, cols, rows, io.KeyShift ? 1 : factor, io.KeyCtrl ? 1 : factor, at_col, at_row);
        }
        if (io.MouseWheelH != 0) pan_view(view, cols, rows, -double(io.MouseWheelH) * cols.shown / 20, 0);
        if (at_col >= 0 && at_row >= 0 && at_col < cols.n && at_row < rows.n) {
            hit.hovered = true;
            hit.col = int(at_col);
            hit.row = int(at_row);
            hit.value = pyramid.at(hit.col, hit.row);
        }
        if (ImGui::IsMouseDoubleClicked(ImGuiMouseButton_Left)) fit_view(view);
        hit.context_menu =
            hit.hovered && ImGui::IsMouseReleased(ImGuiMouseButton_Right) && !ImGui::IsMouseDragPastThreshold(ImGuiMouseButton_Right);
    }
    const bool paints = input.paints && !io.KeyShift;
    hit.painting = paints && hit.hovered && ImGui::IsItemActive() && ImGui::IsMouseDown(ImGuiMouseButton_Left);
    if (!paints && ImGui::IsItemActive() && ImGui::IsMouseDragging(ImGuiMouseButton_Left)) {
        const ImVec2 delta = swapped ? ImVec2(io.MouseDelta.y, io.MouseDelta.x) : io.MouseDelta;
        pan_view(view, cols, rows, -double(delta.x / cols.cell_px()), -double(delta.y / rows.cell_px()));
    }
    const float slop = io.MouseDragThreshold * io.MouseDragThreshold;
    hit.clicked = hit.hovered && ImGui::IsItemDeactivated() && io.MouseDragMaxDistanceSqr[ImGuiMouseButton_Left] < slop;
}

void Heatmap::Impl::use_keys(HeatmapView& view, const HeatmapInput& input, HeatmapHit& hit) const {
    const ImGuiIO& io = ImGui::GetIO();
    const bool focused = ImGui::IsItemFocused();
    if ((focused || ImGui::IsItemHovered()) && !io.WantTextInput && ImGui::IsKeyPressed(ImGuiKey_F, false) && !io.KeyCtrl && !io.KeyAlt)
        fit_view(view);
    if (!focused || io.KeyCtrl || io.KeyAlt) return;
    struct Move { ImGuiKey key; int x, y; };
    for (const Move& move : {Move{ImGuiKey_LeftArrow, -1, 0},
                             {ImGuiKey_RightArrow, 1, 0},
                             {ImGuiKey_UpArrow, 0, -1},
                             {ImGuiKey_DownArrow, 0, 1},
                             {ImGuiKey_Home, -input.n_cols, 0},
                             {ImGuiKey_End, input.n_cols, 0}}) {
        ImGui::SetKeyOwner(move.key, ImGui::GetItemID());       // else the arrows would move ImGui's focus to the next widget
        if (!ImGui::IsKeyPressed(move.key)) continue;
        const bool to_the_end = move.key == ImGuiKey_Home || move.key == ImGuiKey_End;
        const int times = io.KeyShift && !to_the_end ? 10 : 1;
        const bool along_cols = to_the_end || (move.x != 0) != swapped;
        (along_cols ? hit.move_cols : hit.move_rows) += (move.x + move.y) * times;
    }
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
    if (swapped) {
        std::swap(x_label, y_label);
        std::swap(x_title, y_title);
    }
    HeatmapAxis &x = swapped ? rows : cols, &y = swapped ? cols : rows;
    const float largest_px = kLargestFitCellPx * px;
    // The labels' room depends on which cells show, and that on the plot's size: a guess with the whole size is near enough.
    x.length_px = size.x;
    y.length_px = size.y;
    resolve_view(view, input.n_cols, input.n_rows, largest_px, cols, rows);
    left = lay_out_axis(y, y_label, y_title, false, px);
    below = lay_out_axis(x, x_label, x_title, true, px);
    whole = ImRect(at, at + size);
    plot.Min = {at.x + std::floor(std::min(left.gutter_px, size.x / 2)), at.y};
    plot.Max = {std::floor(whole.Max.x), at.y + std::floor(size.y - std::min(below.gutter_px, size.y / 2))};
    x.origin_px = plot.Min.x;
    x.length_px = plot.GetWidth();
    y.origin_px = plot.Min.y;
    y.length_px = plot.GetHeight();
    resolve_view(view, input.n_cols, input.n_rows, largest_px, cols, rows);
}

void Heatmap::Impl::draw_problem() const {
    ImGui::SetCursorScreenPos(plot.Min + ImVec2(8, 8) * px);
    ImGui::PushTextWrapPos(plot.Max.x - ImGui::GetWindowPos().x - 8 * px);
    ImGui::TextUnformatted(problem.c_str());
    ImGui::PopTextWrapPos();
}

void Heatmap::Impl::paint(const HeatmapInput& input, std::span<const HeatmapMark> marks, std::span<const HeatmapPath> paths, const HeatmapHit& hit,
                          bool focus_ring) {
    ImDrawList& list = *ImGui::GetWindowDrawList();
    draw_cells(input);
    list.PushClipRect(plot.Min, plot.Max, true);
    if (problem.empty() && filled) draw_numbers(input, list);
    if (problem.empty() && filled) draw_signs(input, cols, rows, swapped, px, list);
    draw_marks(marks, list);
    for (const HeatmapPath& path : paths) draw_path(path, list);
    if (hit.hovered) {
        const ImRect cell = cell_rect(hit.col, hit.row, 1, 1);
        list.AddRect(cell.Min, cell.Max, text_color_on(sample(input.map, color_position(input, hit.value))), 0, px);
    }
    list.PopClipRect();
    if (focus_ring) list.AddRect(plot.Min, plot.Max, ImGui::GetColorU32(ImGuiCol_NavCursor), 0, 2 * px);
    list.PushClipRect(whole.Min, whole.Max, true);
    draw_horizontal_axis(list, swapped ? rows : cols, below, x_label, x_title, plot.Max.y, px);
    draw_vertical_axis(list, swapped ? cols : rows, left, y_label, y_title, plot.Min.x, px);
    list.PopClipRect();
    if (!problem.empty()) draw_problem();
}

void Heatmap::Impl::draw_follow_button(const HeatmapInput& input, HeatmapView& view) const {
    ImGui::SetCursorScreenPos(plot.Min + ImVec2(6, 6) * px);
    if (ImGui::SmallButton("follow###follow")) view.follow = true;
    ImGui::SetItemTooltip("Keep the newest %s in view", input.col_title.empty() ? "column" : input.col_title.c_str());
}

HeatmapHit Heatmap::draw(const char* id, const HeatmapInput& input, HeatmapView& view, ImVec2 size, std::span<const HeatmapMark> marks,
                         std::span<const HeatmapPath> paths) {
    Impl& m = *m_impl;
    HeatmapHit hit;
    m.px = ImGui::GetFontSize() / ImGui::GetStyle().FontSizeBase;
    m.swapped = input.swap_axes;
    const ImVec2 at(std::floor(ImGui::GetCursorScreenPos().x), std::floor(ImGui::GetCursorScreenPos().y));
    if (input.n_rows <= 0 || size.x < 24 * m.px || size.y < 24 * m.px) {
        ImGui::Dummy(size);
        return hit;
    }
    m.fill(input);
    m.place(input, view, at, size);
    ImGui::PushID(id);
    ImGui::SetCursorScreenPos(m.plot.Min);
    ImGui::SetNextItemAllowOverlap();                           // the follow button lies on it
    ImGui::InvisibleButton("###cells", m.plot.GetSize());
    if (m.filled) {
        m.use_mouse(view, input, hit);
        m.use_keys(view, input, hit);
        resolve_view(view, input.n_cols, input.n_rows, kLargestFitCellPx * m.px, m.cols, m.rows);
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
