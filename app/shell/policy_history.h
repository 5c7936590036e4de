// The routing rules the user went through, for undo and redo (ux.md R15).
#pragma once

#include <vector>

#include "engine/routing/policy.h"

namespace app {

class PolicyHistory {
public:
    /// The policy in force, every frame; a new one is remembered and what was undone before it is forgotten.
    void observe(const gs::Policy& policy);
    /// Null when there is nothing to go back (forward) to.
    const gs::Policy* undo();
    const gs::Policy* redo();
    /// Null when there is no such step.
    const gs::Policy* go_to(size_t step);
    const std::vector<gs::Policy>& steps() const { return m_steps; }   ///< oldest first
    size_t now() const { return m_now; }
    bool can_undo() const { return m_now > 0; }
    bool can_redo() const { return m_now + 1 < m_steps.size(); }

private:
    static constexpr size_t kMaxSteps = 200;
    std::vector<gs::Policy> m_steps;
    size_t m_now = 0;
    bool m_moving = false;  ///< an undo was sent and is not in force yet
};

}  // namespace app
