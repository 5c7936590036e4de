#include "app/widgets/heatmap_controls.h"

#include <cmath>

namespace app {

static constexpr double kZoomPerNotch = 0.85;

void use_mouse(const HeatmapPlot& plot, const HeatmapInput& input, const HeatmapPyramid& values, HeatmapView& view, HeatmapHit& hit) {
    const HeatmapAxis &cols = plot.cols, &rows = plot.rows;
    const ImGuiIO& io = ImGui::GetIO();
    const ImVec2 mouse = plot.swapped ? ImVec2(io.MousePos.y, io.MousePos.x) : io.MousePos;
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
            hit.value = values.at(hit.col, hit.row);
        }
        if (ImGui::IsMouseDoubleClicked(ImGuiMouseButton_Left)) fit_view(view);
        hit.context_menu =
            hit.hovered && ImGui::IsMouseReleased(ImGuiMouseButton_Right) && !ImGui::IsMouseDragPastThreshold(ImGuiMouseButton_Right);
    }
    const bool paints = input.paints && !io.KeyShift;
    hit.painting = paints && hit.hovered && ImGui::IsItemActive() && ImGui::IsMouseDown(ImGuiMouseButton_Left);
    if (!paints && ImGui::IsItemActive() && ImGui::IsMouseDragging(ImGuiMouseButton_Left)) {
        const ImVec2 delta = plot.swapped ? ImVec2(io.MouseDelta.y, io.MouseDelta.x) : io.MouseDelta;
        pan_view(view, cols, rows, -double(delta.x / cols.cell_px()), -double(delta.y / rows.cell_px()));
    }
    const float slop = io.MouseDragThreshold * io.MouseDragThreshold;
    hit.clicked = hit.hovered && ImGui::IsItemDeactivated() && io.MouseDragMaxDistanceSqr[ImGuiMouseButton_Left] < slop;
}

void use_keys(const HeatmapPlot& plot, const HeatmapInput& input, HeatmapView& view, HeatmapHit& hit) {
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
        const bool along_cols = to_the_end || (move.x != 0) != plot.swapped;
        (along_cols ? hit.move_cols : hit.move_rows) += (move.x + move.y) * times;
    }
}

}  // namespace app
