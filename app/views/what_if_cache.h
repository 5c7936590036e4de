// The trace the views draw: the run's own, or, while a control is dragged, the recorded logits re-routed under the dragged policy (same frame,
// marked what-if).
#pragma once

#include <optional>

#include "engine/routing/what_if.h"

namespace app {

class WhatIfCache {
public:
    /// Call once per frame with the run on screen.
    void set_run(const gs::TraceSnapshot& trace);
    /// The policy being dragged; nullopt: back to the run's own routing.
    void set_policy(const std::optional<gs::Policy>& policy);
    bool active() const { return m_policy.has_value(); }
    const std::optional<gs::Policy>& policy() const { return m_policy; }
    /// Recomputed only when run or policy changed.
    const gs::TraceSnapshot& trace();

private:
    gs::TraceSnapshot m_run, m_what_if;
    std::optional<gs::Policy> m_policy;
    std::optional<gs::Policy> m_computed_policy;
    uint64_t m_computed_revision = 0;
};

}  // namespace app
