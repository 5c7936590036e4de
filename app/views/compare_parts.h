// Parts of the Compare panel: figures with their nulls, the list of flips, the difference heatmap.
#pragma once

#include <memory>

#include "app/views/compare_difference.h"

namespace app {

/// What is compared. diff: of exactly these two, or null while there is none.
struct ComparedRuns {
    const gs::RunResult& a;
    const gs::RunResult& b;
    std::shared_ptr<const gs::RunDiff> diff;
};

/// Why there are no figures: no diff yet, other routers, no token in common. True when it said so.
bool say_why_no_routes(const ComparedRuns& runs);
/// Route agreement, KL, flips, first divergence; bars of the agreement by layer.
void draw_route_figures(ViewContext& context, const ComparedRuns& runs);

/// Every changed decision; a click on one selects its token, layer and expert.
class FlipTable {
public:
    void draw(ViewContext& context, const ComparedRuns& runs);

private:
    void row(ViewContext& context, const ComparedRuns& runs, const gs::RouteFlip& flip, int place);
    bool m_reversed = false;                     ///< nearest decisions first
};

class DifferenceMap {
public:
    void draw(ViewContext& context, const ComparedRuns& runs);

private:
    void controls(ViewContext& context, const ComparedRuns& runs, int& moe_layer);
    void card(ViewContext& context, const ComparedRuns& runs, int pair, int expert);
    DifferencePicture m_picture;
    std::unique_ptr<Heatmap> m_heatmap;
    HeatmapView m_view;
    DifferenceOf m_what = DifferenceOf::kAppliedWeight;
};

}  // namespace app
