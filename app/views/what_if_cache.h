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
    /// As recorded, whatever is being tried.
    const gs::TraceSnapshot& run_trace() const { return m_run; }

    /// A re-run that was asked for: the what-if stays until the run with another id is there (policy_edit.h, settle_what_if).
    struct PendingRun {
        uint64_t old_run_id = 0;
        bool seen_busy = false;
        int idle_frames = 0;
    };
    std::optional<PendingRun> pending;

private:
    gs::TraceSnapshot m_run, m_what_if;
    std::optional<gs::Policy> m_policy;
    std::optional<gs::Policy> m_computed_policy;
    uint64_t m_computed_revision = 0;
};

}  // namespace app
