#include "app/views/diagram_draw.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/route_data.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr size_t kMostLines = 16;                // connections drawn: soft gating chooses all experts

/// Ink on the accent colour.
ImU32 on_accent(const Theme& theme) { return theme.dark ? IM_COL32(10, 18, 24, 255) : IM_COL32_WHITE; }

struct Painter {
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const Theme& theme;
    float unit = ImGui::GetFontSize();

    void text(ImVec2 at, ImU32 color, const std::string& words, float width) const { draw->AddText(at, color, fit_text(words, width).c_str()); }
    void box(ImVec2 low, ImVec2 high, ImU32 fill, ImU32 border) const {
        draw->AddRectFilled(low, high, fill, unit / 4);
        draw->AddRect(low, high, border, unit / 4);
    }
    /// A box with a title and dim lines in it.
    void card(ImVec2 low, ImVec2 high, const std::string& title, const std::vector<std::string>& lines) const {
        box(low, high, theme.track, theme.grid);
        const float pad = unit * 0.4f, width = high.x - low.x - 2 * pad;
        text({low.x + pad, low.y + pad}, theme.text, title, width);
        for (size_t i = 0; i < lines.size(); ++i) {
            const float y = low.y + pad + unit * 1.25f * static_cast<float>(i + 1);
            if (y + unit < high.y) text({low.x + pad, y}, theme.text_dim, lines[i], width);
        }
    }
    void arrow(ImVec2 from, ImVec2 to, ImU32 color, float thickness) const {
        draw->AddLine(from, {to.x - unit * 0.35f, to.y}, color, thickness);
        draw->AddTriangleFilled(to, {to.x - unit * 0.5f, to.y - unit * 0.3f}, {to.x - unit * 0.5f, to.y + unit * 0.3f}, color);
    }
    void curve(ImVec2 from, ImVec2 to, ImU32 color, float thickness) const {
        const float bend = std::max((to.x - from.x) * 0.5f, unit);
        draw->AddBezierCubic(from, {from.x + bend, from.y}, {to.x - bend, to.y}, to, color, thickness);
    }
};

bool is_in(const std::vector<int>& list, int value) { return std::find(list.begin(), list.end(), value) != list.end(); }

/// How strongly an expert is lit: its weight against the largest.
float light(const DiagramData& data, int expert) {
    const float w = data.weight[static_cast<size_t>(expert)];
    if (std::isnan(w) || data.chosen.empty()) return 0;
    const float top = data.weight[static_cast<size_t>(data.chosen[0])];
    return top > 0 ? 0.35f + 0.65f * std::max(w, 0.0f) / top : 0.35f;
}

void draw_experts(const Painter& p, const ViewContext& context, const DiagramData& data, const CellGrid& grid) {
    const float gap = std::min(grid.cell * 0.08f, p.unit * 0.15f);
    for (int e = 0; e < data.n_experts; ++e) {
        const ImVec2 low{grid.corner(e).x + gap, grid.corner(e).y + gap}, high{low.x + grid.cell - 2 * gap, low.y + grid.cell - 2 * gap};
        const float lit = light(data, e);
        p.draw->AddRectFilled(low, high, lit > 0 ? with_alpha(p.theme.accent, lit) : p.theme.track, p.unit / 6);
        if (is_in(data.ablated, e)) p.draw->AddLine(low, high, p.theme.warning, 2);
        const auto is_here = [&](const Pick& pick) { return pick.expert == e && (pick.moe_layer < 0 || pick.moe_layer == data.moe_layer); };
        const bool here = is_here(context.selected), hovered = is_here(context.hovered);
        if (here || hovered) p.draw->AddRect(low, high, here ? p.theme.selection : p.theme.hover, p.unit / 6, here ? 2.0f : 1.0f);
        const std::string name = std::to_string(e);
        const ImVec2 extent = ImGui::CalcTextSize(name.c_str());
        if (extent.x + 4 < high.x - low.x && extent.y < high.y - low.y)
            p.draw->AddText({(low.x + high.x - extent.x) / 2, (low.y + high.y - extent.y) / 2}, lit > 0.6f ? on_accent(p.theme) : lit > 0 ? p.theme.text : p.theme.text_dim, name.c_str());
    }
}

/// Left of the column: what the router would like, as bars; with several columns there is no room for them.
float preference_length(const Painter& p, const DiagramData& data, const CellGrid& grid, int expert) {
    const float most = *std::max_element(data.preference.begin(), data.preference.end());
    return grid.n_cols > 1 || !(most > 0) ? 0 : 4 * p.unit * std::max(data.preference[static_cast<size_t>(expert)], 0.0f) / most;
}

void draw_preferences(const Painter& p, const DiagramData& data, const CellGrid& grid) {
    if (grid.n_cols > 1) return;
    const float high = std::min(grid.cell * 0.4f, p.unit * 0.7f);
    for (int e = 0; e < data.n_experts; ++e) {
        const float right = grid.corner(e).x - 2, y = grid.center(e).y;
        p.draw->AddRectFilled({right - preference_length(p, data, grid, e), y - high / 2}, {right, y + high / 2}, with_alpha(p.theme.text_dim, 0.6f));
    }
}

void draw_connections(const Painter& p, const DiagramData& data, const CellGrid& grid, ImVec2 router, ImVec2 sum) {
    for (size_t i = 0; i < std::min(data.chosen.size(), kMostLines); ++i) {
        const int e = data.chosen[i];
        const float lit = light(data, e), thickness = std::max(1.0f, lit * p.unit / 5);
        p.curve(router, {grid.corner(e).x - preference_length(p, data, grid, e), grid.center(e).y}, with_alpha(p.theme.accent, 0.25f + 0.5f * lit), thickness);
        p.curve({grid.corner(e).x + grid.cell, grid.center(e).y}, sum, with_alpha(p.theme.accent, 0.25f + 0.5f * lit), thickness);
    }
}

/// The experts with the largest weights, as many as fit, and the sum.
void draw_sum(const Painter& p, const DiagramData& data, ImVec2 low, ImVec2 high) {
    p.box(low, high, p.theme.track, p.theme.grid);
    const float pad = p.unit * 0.4f, line = p.unit * 1.25f, width = high.x - low.x - 2 * pad;
    float y = low.y + pad;
    p.text({low.x + pad, y}, p.theme.text, data.weigh_input ? "combine: Σ expert(w · x)" : "combine: Σ w · expert(x)", width);
    y += line;
    p.text({low.x + pad, y}, p.theme.text_dim, "expert   preference → weight", width);
    y += line;
    const auto room = static_cast<size_t>(std::max(0.0f, (high.y - pad - line - y) / line));
    const size_t shown = data.chosen.size() <= room ? data.chosen.size() : room > 0 ? room - 1 : 0;
    for (size_t i = 0; i < shown; ++i, y += line) {
        const auto e = static_cast<size_t>(data.chosen[i]);
        p.text({low.x + pad, y}, p.theme.text, fmt::format("{:>3}   {} → {}", e, format_number(data.preference[e]), format_number(data.weight[e])), width);
    }
    if (shown < data.chosen.size()) {
        p.text({low.x + pad, y}, p.theme.text_dim, fmt::format("and {} more", data.chosen.size() - shown), width);
        y += line;
    }
    p.text({low.x + pad, y}, p.theme.text, fmt::format("Σ weights {}", format_number(data.weight_sum)), width);
}

std::vector<std::string> expert_lines(const DiagramData& data) {
    std::vector<std::string> lines;
    if (data.expert_params > 0) lines.push_back(fmt::format("{} of {} used: {} of {} parameters", data.chosen.size(), data.n_experts, format_count(static_cast<uint64_t>(data.expert_params * static_cast<double>(data.chosen.size()))),
                                                            format_count(static_cast<uint64_t>(data.expert_params * data.n_experts))));
    else lines.push_back(fmt::format("{} of {} experts used", data.chosen.size(), data.n_experts));
    if (data.expert_bytes > 0) lines.push_back(fmt::format("reads {} of {}", format_bytes(data.expert_bytes * static_cast<double>(data.chosen.size())), format_bytes(data.expert_bytes * data.n_experts)));
    return lines;
}

}  // namespace

CellGrid::CellGrid(int n_cells, ImVec2 at, ImVec2 room, float largest) : n(std::max(n_cells, 1)), low(at) {
    constexpr float kColumnCell = 24;            // pixels: in one column every expert can be reached by a line of its own
    cell = std::min({room.x, room.y / static_cast<float>(n), largest});
    for (int cols = 2; cols <= n && cell < kColumnCell; ++cols) {
        const int rows = (n + cols - 1) / cols;
        const float side = std::min({room.x / static_cast<float>(cols), room.y / static_cast<float>(rows), largest});
        if (side > cell + 0.01f || n_cols == 1) cell = std::max(cell, side), n_cols = cols;
        if (side < cell - 0.01f && cell >= kColumnCell) break;
    }
    cell = std::max(cell, 1.0f);
    low.x += std::max(0.0f, (room.x - cell * static_cast<float>(n_cols)) / 2);
    low.y += std::max(0.0f, (room.y - cell * static_cast<float>(n_rows())) / 2);
}

int CellGrid::at(ImVec2 point) const {
    const int col = static_cast<int>(std::floor((point.x - low.x) / cell)), row = static_cast<int>(std::floor((point.y - low.y) / cell));
    if (col < 0 || row < 0 || col >= n_cols) return -1;
    const int i = row * n_cols + col;
    return i < n ? i : -1;
}

int draw_moe_diagram(const ViewContext& context, const DiagramData& data, ImVec2 size, bool& clicked) {
    const Painter p{.theme = context.theme};
    const float u = p.unit;
    const ImVec2 at = ImGui::GetCursorScreenPos();
    clicked = ImGui::InvisibleButton("###moe", {std::max(size.x, 1.0f), std::max(size.y, 1.0f)});
    const bool over = ImGui::IsItemHovered();
    const bool wide = size.x > u * 44;
    const float side = wide ? u * 9 : u * 6.5f, gap = wide ? u * 2.5f : u * 1.2f, sum_width = std::min(wide ? u * 15 : u * 11, size.x * 0.34f);
    const float shared_height = data.has_shared ? u * 3.4f : 0, head = u * 2.8f;
    const ImVec2 routed_low{at.x, at.y}, routed_high{at.x + size.x, at.y + size.y - shared_height};
    const float middle = (routed_low.y + head + routed_high.y) / 2;
    // x and the router, one over the other at the left.
    const ImVec2 x_low{at.x, at.y}, x_high{at.x + side, at.y + u * 4.4f};
    p.card(x_low, x_high, "x", {data.width > 0 ? fmt::format("{} numbers", data.width) : "hidden state", "of this token"});
    const float bypass = data.has_shared ? u * 1.4f : 0;   // the shared expert gets x past the router, not from it
    const ImVec2 r_low{at.x + bypass, std::max(x_high.y + u * 1.2f, middle - u * 2.6f)}, r_high{at.x + side, r_low.y + u * 4.6f};
    if (data.has_shared) p.draw->AddLine({at.x + bypass / 2, x_high.y}, {at.x + bypass / 2, at.y + size.y - (shared_height - u * 0.4f) / 2}, p.theme.text_dim, 1.5f);
    p.card(r_low, r_high, "router", {fmt::format("{} logits →", data.n_experts), fmt::format("top {}", data.chosen.size())});
    p.draw->AddLine({(r_low.x + r_high.x) / 2, x_high.y}, {(r_low.x + r_high.x) / 2, r_low.y}, p.theme.text_dim, 1.5f);
    // Experts in the middle.
    const ImVec2 e_low{at.x + side + gap, at.y + head}, e_room{size.x - side - sum_width - 2 * gap, routed_high.y - at.y - head - u * 0.3f};
    const CellGrid grid(data.n_experts, e_low, e_room, u * 3.2f);
    const std::vector<std::string> lines = expert_lines(data);
    for (size_t i = 0; i < lines.size(); ++i) p.text({e_low.x, at.y + u * 1.25f * static_cast<float>(i)}, i == 0 ? p.theme.text : p.theme.text_dim, lines[i], e_room.x);
    const float s_height = std::min(routed_high.y - at.y - u * 0.3f, u * (0.8f + 1.25f * static_cast<float>(data.chosen.size() + 3)));
    const ImVec2 s_low{at.x + size.x - sum_width, std::max(at.y, middle - s_height / 2)}, s_high{at.x + size.x, s_low.y + s_height};
    draw_connections(p, data, grid, {r_high.x, (r_low.y + r_high.y) / 2}, {s_low.x, (s_low.y + s_high.y) / 2});
    draw_preferences(p, data, grid);
    draw_experts(p, context, data, grid);
    draw_sum(p, data, s_low, s_high);
    if (data.has_shared) {
        const ImVec2 low{e_low.x, routed_high.y + u * 0.4f}, high{e_low.x + e_room.x, at.y + size.y};
        p.box(low, high, with_alpha(p.theme.what_if, 0.25f), p.theme.what_if);
        const std::string what = data.shared_params > 0 ? fmt::format("shared expert: always on, not routed; {} parameters", format_count(static_cast<uint64_t>(data.shared_params))) : "shared expert: always on, not routed";
        p.text({low.x + u * 0.4f, (low.y + high.y - u) / 2}, p.theme.text, what, high.x - low.x - u * 0.8f);
        p.arrow({at.x + bypass / 2, (low.y + high.y) / 2}, {low.x, (low.y + high.y) / 2}, p.theme.text_dim, 1.5f);
        p.curve({high.x, (low.y + high.y) / 2}, {s_low.x + u, s_high.y}, p.theme.text_dim, 1.5f);
    }
    const int hit = over ? grid.at(ImGui::GetIO().MousePos) : -1;
    if (hit < 0) tooltip("The layer as the picked token sees it. Point at an expert for its figures, click it to select it, right-click it to take it out.");
    clicked = clicked && hit >= 0;
    return hit;
}

void draw_dense_block(const ViewContext& context, const DenseBlock& block, ImVec2 size) {
    const Painter p{.theme = context.theme};
    const float u = p.unit, line = u * 1.25f;
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImGui::Dummy({std::max(size.x, 1.0f), std::max(size.y, 1.0f)});
    p.text(at, p.theme.text, block.title, size.x);
    const float text_height = line * static_cast<float>(block.lines.size());
    const ImVec2 low{at.x, at.y + line}, high{at.x + size.x, std::max(at.y + line + u * 2, at.y + size.y - text_height - u * 0.4f)};
    const CellGrid grid(block.n_cells, low, {high.x - low.x, high.y - low.y}, u * 3.2f);
    const float wider = grid.n_cols == 1 ? std::min(u * 3, (size.x - grid.cell) / 2) : 0;   // one column would be a thread
    const float begin_x = grid.low.x - wider, end_x = grid.low.x + grid.cell * static_cast<float>(grid.n_cols) + wider, end_y = grid.low.y + grid.cell * static_cast<float>(grid.n_rows());
    p.draw->AddRectFilled({begin_x, grid.low.y}, {end_x, end_y}, p.theme.accent, u / 4);
    for (int i = 1; i < grid.n_cols; ++i) {
        const float x = grid.low.x + grid.cell * static_cast<float>(i);
        p.draw->AddLine({x, grid.low.y}, {x, end_y}, with_alpha(p.theme.track, 0.35f), 1);
    }
    for (int i = 1; i < grid.n_rows(); ++i) {
        const float y = grid.low.y + grid.cell * static_cast<float>(i);
        p.draw->AddLine({begin_x, y}, {end_x, y}, with_alpha(p.theme.track, 0.35f), 1);
    }
    for (size_t i = 0; i < block.lines.size(); ++i) p.text({at.x, high.y + u * 0.4f + line * static_cast<float>(i)}, p.theme.text_dim, block.lines[i], size.x);
}

int draw_layer_strip(const ViewContext& context, const gs::TraceInfo& info, int selected, int& hovered, float width) {
    const Painter p{.theme = context.theme};
    const float u = p.unit, height = std::max(u * 1.7f, 24.0f);
    const int n = n_model_layers(info);
    const ImVec2 at = ImGui::GetCursorScreenPos();
    const bool clicked = ImGui::InvisibleButton("###layers", {std::max(width, 1.0f), height});
    const bool over = ImGui::IsItemHovered();
    const float cell = width / static_cast<float>(std::max(n, 1)), gap = cell > 6 ? 1.5f : 0.5f;
    hovered = -1;
    const int under = over ? std::clamp(static_cast<int>((ImGui::GetIO().MousePos.x - at.x) / cell), 0, n - 1) : -1;
    for (int l = 0; l < n; ++l) {
        const int m = moe_row_of(info, l);
        const ImVec2 low{at.x + cell * static_cast<float>(l) + gap, at.y}, high{at.x + cell * static_cast<float>(l + 1) - gap, at.y + height};
        if (m >= 0) p.draw->AddRectFilled(low, high, with_alpha(p.theme.accent, m == selected ? 0.95f : 0.4f), u / 6);
        else p.draw->AddRect(low, high, p.theme.text_dim, u / 6);
        if (m >= 0 && m == selected) p.draw->AddRect(low, high, p.theme.selection, u / 6, 2.0f);
        else if (l == under || (m >= 0 && m == context.hovered.moe_layer)) p.draw->AddRect(low, high, p.theme.hover, u / 6);
        const std::string name = std::to_string(l);
        const ImVec2 extent = ImGui::CalcTextSize(name.c_str());
        if (extent.x + 4 < cell - 2 * gap) p.draw->AddText({(low.x + high.x - extent.x) / 2, (low.y + high.y - extent.y) / 2}, m < 0 ? p.theme.text_dim : m == selected ? on_accent(p.theme) : p.theme.text, name.c_str());
    }
    if (under < 0) return -1;
    hovered = moe_row_of(info, under);
    tooltip(fmt::format("layer {}: {}", under, hovered >= 0 ? fmt::format("MoE, {} experts", info.router.n_experts) : "dense, no router").c_str());
    return clicked ? hovered : -1;
}

}  // namespace app
