// Everything the user set, step by step, for undo and redo (ux.md R15): the routing rule in force, prompt and sampler, what is measured, how it is drawn.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "app/views/view.h"

namespace app {

struct Parameters {
    gs::Policy policy;                       ///< in force in the session
    ViewSettings settings;                   ///< those that all_parameters() names; the others are not undone
};
struct ParametersSeen {
    const gs::Policy& policy;
    const ViewSettings& settings;
};

/// One parameter: its name, its value in words, and how it is compared and put back. A new one is a row in parameter_history.cpp.
struct ParameterRow {
    const char* name;
    std::string (*text)(ParametersSeen);
    bool (*same)(ParametersSeen, ParametersSeen);
    void (*copy)(const ViewSettings& from, ViewSettings& to);   ///< null: the policy, which is the session's
};
std::span<const ParameterRow> all_parameters();

class ParameterHistory {
public:
    /// What is in force, every frame; what is new is a step, and what was undone before it is forgotten. in_hand: a slider or a text field is still
    /// in use, or a state is being restored; what it becomes is one step then.
    void observe(const gs::Policy& policy, const ViewSettings& settings, bool in_hand = false);
    /// The step to be in force now, whose settings have been put into `settings`; its policy is for the caller to apply. Null when there is no such step.
    const Parameters* go_to(size_t step, ViewSettings& settings);

    size_t n_steps() const { return m_steps.size(); }        ///< oldest first; 0 is what there was at the start
    size_t now() const { return m_now; }
    bool can_undo() const { return m_now > 0; }
    bool can_redo() const { return m_now + 1 < m_steps.size(); }
    /// What a step changed: "routing: native → k=2", of several parameters one after the other. "" of step 0.
    const std::string& changes(size_t step) const { return m_steps[step].changes; }

private:
    struct Step {
        Parameters values;
        std::string changes;
    };
    static constexpr size_t kMaxSteps = 200;
    std::vector<Step> m_steps;
    size_t m_now = 0;
    std::vector<gs::Policy> m_left;     ///< of steps that were gone from: the session reports them until it has the policy of the step now
};

}  // namespace app
