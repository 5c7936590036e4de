#include "app/views/policy_edit.h"

#include <algorithm>

namespace app {

void ViewContext::keep_awake(double seconds) { awake_until = std::max(awake_until, time_seconds + seconds); }

void ViewContext::keep_awake_past(double seconds) {
    constexpr double kSlowestFrame_seconds = 1;
    keep_awake(seconds + kSlowestFrame_seconds);
}

const gs::Policy& shown_policy(const ViewContext& context) {
    return context.what_if.policy() ? *context.what_if.policy() : context.state.policy;
}

bool is_of_model(const gs::SessionState& state, const gs::RunResult* run) {
    return state.model && run && !run->trace.empty() && state.model->hash == run->trace.info().model_hash;
}

bool can_rerun(const gs::SessionState& state) { return is_of_model(state, state.run.get()); }

void preview_policy(ViewContext& context, const gs::Policy& policy) { context.what_if.set_policy(policy); }

void commit_policy(ViewContext& context, const gs::Policy& policy) {
    const gs::SessionState& state = context.state;
    const bool live = state.run && state.run->phase != gs::RunPhase::kFinished;
    if (live) {  // earlier tokens keep what they were routed by
        context.session.set_policy(policy);
        context.what_if.set_policy(std::nullopt);
    } else if (can_rerun(state)) {
        context.session.rerun_and_compare(policy);
        context.what_if.set_policy(policy);
        context.what_if.pending = WhatIfCache::PendingRun{state.run->id};
    } else {
        if (state.run && !state.run->trace.has_logits())
            context.session.notify({.is_error = false,
                                    .error = {gs::ErrorKind::kUsage, "no_logits", "The picture stays as it was recorded", "this run holds no router logits, so that another rule cannot be tried on it",
                                              "The rule counts for the next run"}});
        context.session.set_policy(policy);
        const bool as_recorded =
            state.run && !state.run->trace.empty() && policy == state.run->trace.policy(state.run->trace.n_tokens() - 1);
        context.what_if.set_policy(as_recorded ? std::nullopt : std::optional(policy));
    }
}

void apply_policy(ViewContext& context, const gs::Policy& policy) {
    preview_policy(context, policy);
    commit_policy(context, policy);
}

void settle_what_if(const gs::SessionState& state, WhatIfCache& what_if) {
    if (!what_if.pending) return;
    WhatIfCache::PendingRun& pending = *what_if.pending;
    const bool busy = state.activity != gs::Activity::kIdle;
    pending.seen_busy |= busy;
    pending.idle_frames = busy ? 0 : pending.idle_frames + 1;
    const bool new_run = state.run && state.run->id != pending.old_run_id && !state.run->trace.empty();
    const bool ended = !busy && (pending.seen_busy || pending.idle_frames > 120);
    if (new_run || ended) what_if.set_policy(std::nullopt);
}

gs::RunRequest make_request(const ViewContext& context) {
    const ViewSettings& s = context.settings;
    return {.prompt = s.prompt,
            .mode = s.chat ? gs::PromptMode::kChat : gs::PromptMode::kRaw,
            .max_new_tokens = s.max_new_tokens,
            .sampler = s.sampler,
            .policy = context.state.policy};
}

}  // namespace app
