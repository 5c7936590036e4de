// The schedule side of the sensitivity panel: a budget, the cheapest k for every layer under it, changes to it by hand, checks by runs, and what can be
// done with the result.
#pragma once

#include <memory>
#include <vector>

#include "app/views/sensitivity_edits.h"
#include "app/views/sensitivity_parts.h"
#include "app/views/text_saver.h"

namespace app {

class SchedulePane {
public:
    /// Every frame, with the map and the newest schedule of the state (may be null).
    void follow(ViewContext& context);
    /// There are plans: the map is complete.
    bool ready() const { return m_plans.ready(); }
    /// The schedule to draw over the map, or null; how sure it is.
    const gs::LayerSchedule* schedule() const { return ready() ? m_shown.schedule() : nullptr; }
    bool is_checked() const { return m_shown.checked != nullptr; }
    void draw(ViewContext& context, ImVec2 room);

    /// k of one layer by hand; a stroke ends with end_stroke(). Nothing while there is no schedule to begin with.
    void paint(int moe_layer, int k);
    void end_stroke() { m_edits.end_stroke(); }
    /// k of one layer, so many of the map's columns up or down.
    void step(int moe_layer, int by);
    /// Ctrl+Z and Ctrl+Y in the panel's window go to the edits where the last thing done here was one; after Apply they go to the policy. Call inside that window.
    void use_keys();

private:
    void budget_controls(TuneChoice& tune);
    void actions(ViewContext& context);
    void edit_buttons();
    void copy_menu(ViewContext& context);
    ScheduleShown shown() const;
    const gs::ScheduleResult* checked_of(const gs::Budget& budget) const;
    double limit(const TuneChoice& tune) const;

    gs::Budget m_budget;                                   ///< of the settings, with the map's own limit where they have none
    SchedulePlans m_plans;
    ScheduleEdits m_edits;
    bool m_edited_last = false;
    ScheduleShown m_shown;
    std::vector<std::shared_ptr<const gs::ScheduleResult>> m_checked;   ///< of this map, newest last
    bool m_curve = false;                                  ///< where figures and curve have no room beside each other: which
    TextSaver m_saver;
};

}  // namespace app
