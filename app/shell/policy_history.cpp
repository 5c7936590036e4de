#include "app/shell/policy_history.h"

namespace app {

void PolicyHistory::observe(const gs::Policy& policy) {
    if (m_steps.empty()) {
        m_steps.push_back(policy);
        return;
    }
    if (policy == m_steps[m_now]) {
        m_moving = false;
        return;
    }
    if (m_moving) return;  // the session still reports the one from before the undo
    m_steps.resize(m_now + 1);
    m_steps.push_back(policy);
    if (m_steps.size() > kMaxSteps) m_steps.erase(m_steps.begin());
    m_now = m_steps.size() - 1;
}

const gs::Policy* PolicyHistory::go_to(size_t step) {
    if (step >= m_steps.size()) return nullptr;
    m_now = step;
    m_moving = true;
    return &m_steps[m_now];
}

const gs::Policy* PolicyHistory::undo() { return can_undo() ? go_to(m_now - 1) : nullptr; }
const gs::Policy* PolicyHistory::redo() { return can_redo() ? go_to(m_now + 1) : nullptr; }

}  // namespace app
