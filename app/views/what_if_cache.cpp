#include "app/views/what_if_cache.h"

namespace app {

void WhatIfCache::set_run(const gs::TraceSnapshot& trace) { m_run = trace; }

void WhatIfCache::set_policy(const std::optional<gs::Policy>& policy) {
    m_policy = policy;
    pending.reset();
}

const gs::TraceSnapshot& WhatIfCache::trace() {
    if (!m_policy || m_run.empty() || m_run.n_experts() == 0) return m_run;
    if (m_computed_policy != m_policy || m_computed_revision != m_run.revision()) {
        m_what_if = gs::what_if_trace(m_run, *m_policy);
        m_computed_policy = m_policy;
        m_computed_revision = m_run.revision();
    }
    return m_what_if;
}

}  // namespace app
