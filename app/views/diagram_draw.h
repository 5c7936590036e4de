// The drawn parts of the diagram panel: strip of layers, the MoE layer with its numbers, the dense counterpart. Plain data in, hits out.
#pragma once

#include <string>
#include <vector>

#include "app/views/view.h"

namespace app {

/// One token at one MoE layer, as recorded or as a what-if has it.
struct DiagramData {
    int layer = 0, moe_layer = 0, n_experts = 0;   ///< layer: blk.N
    std::vector<float> preference, weight;   ///< [E]; weight NaN: not chosen
    std::vector<int> chosen;                 ///< largest weight first
    double weight_sum = 0;
    bool has_shared = false, weigh_input = false;
    std::vector<int> ablated;                ///< experts of this layer that are ablated
    // Sizes; 0 where only a recorded run is there.
    int width = 0, expert_ff = 0, shared_ff = 0;
    double expert_params = 0, shared_params = 0, expert_bytes = 0;
};

/// "x → router → experts → Σ": returns the expert under the pointer, or -1. `clicked` is set when it was clicked.
int draw_moe_diagram(const ViewContext& context, const DiagramData& data, ImVec2 size, bool& clicked);

/// The same layer as one dense network: every cell lit.
struct DenseBlock {
    std::string title;
    std::vector<std::string> lines;          ///< figures under the block
    int n_cells = 1;
};
void draw_dense_block(const ViewContext& context, const DenseBlock& block, ImVec2 size);

/// A box a layer: MoE filled, dense outlined, the selected one marked. The MoE row that was clicked, or -1; `hovered` likewise.
int draw_layer_strip(const ViewContext& context, const gs::TraceInfo& info, int selected_moe_layer, int& hovered, float width);

/// Cells of a grid that fills an area as squares.
struct CellGrid {
    int n = 0, n_cols = 1;
    float cell = 1;
    ImVec2 low;
    CellGrid(int n_cells, ImVec2 at, ImVec2 room, float largest);
    ImVec2 corner(int i) const { return {low.x + static_cast<float>(i % n_cols) * cell, low.y + static_cast<float>(i / n_cols) * cell}; }
    ImVec2 center(int i) const { return {corner(i).x + cell / 2, corner(i).y + cell / 2}; }
    int n_rows() const { return (n + n_cols - 1) / n_cols; }
    /// Cell at a point, or -1.
    int at(ImVec2 point) const;
};

}  // namespace app
