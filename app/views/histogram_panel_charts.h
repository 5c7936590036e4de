// The bars of every MoE layer in the order on screen, with their colours and the load before: what both sizes of histogram draw from.
#pragma once

#include <vector>

#include "app/views/layer_stats.h"
#include "app/views/load_ghost.h"
#include "app/views/view.h"
#include "app/widgets/bars.h"

namespace app {

/// One layer's bars.
struct LoadChart {
    std::vector<float> shares;
    std::vector<int> experts;              ///< of each slot
    std::vector<ImU32> colors;
    std::vector<float> ghosts;             ///< shares before; empty: none

    /// Highest share, of the load before too.
    float most() const;
    int slot_of(int expert) const;         ///< -1: none
};

class LoadCharts {
public:
    /// Once a frame: counts and orders anew what has changed. by_load: most loaded first, each layer in its own order.
    void update(ViewContext& context, bool by_load);
    const RunStats& stats() const { return m_stats; }
    const LoadGhost& ghost() const { return m_ghost; }
    const LoadChart& chart(int moe_layer) const { return m_charts[static_cast<size_t>(moe_layer)]; }
    /// On an axis from 0 to `high`.
    BarsInput bars(const ViewContext& context, int moe_layer, double high) const;
    /// Highest share of all layers: the small charts are on one scale.
    double most_of_all(const ViewContext& context) const;

private:
    RunStats m_stats;
    LoadGhost m_ghost;
    std::vector<LoadChart> m_charts;
    uint64_t m_drawn_revision = 0, m_drawn_ghost = 0;
    ImU32 m_drawn_accent = 0;
    bool m_drawn_by_load = false;
};

}  // namespace app
