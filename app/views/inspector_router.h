// The router's decision for one token at one layer as a table: every expert's logit, preference, selection score and applied weight, with
// the k cut line.
#pragma once

#include <vector>

#include "app/views/expert_menu.h"
#include "app/views/route_data.h"

namespace app {

class RouterTable {
public:
    /// A click on a row selects the expert, a right click opens its menu. With many experts only the first ones, until "all" is pressed.
    void draw(ViewContext& context, RouteReader& reader, const Pick& pick);

private:
    void update(RouteReader& reader, const Pick& pick);
    void draw_row(ViewContext& context, const Pick& pick, int place);

    std::vector<ExpertFacts> m_facts;     ///< [E]
    std::vector<int> m_order;             ///< best selection score first
    float m_high = 1;                     ///< largest preference
    float m_left_px = 0, m_width_px = 0;  ///< of the table, in this frame
    bool m_score_differs = false, m_all = false;
    int m_n_chosen = 0;
    Pick m_pick;
    ExpertMenu m_menu;
    uint64_t m_revision = 0;
};

}  // namespace app
