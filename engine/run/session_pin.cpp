// The pinned run: A of the run diff, whatever is loaded or run as B.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run/session_impl.h"

namespace gs {

void Session::Impl::show_run(const std::shared_ptr<const RunResult>& run) {
    end_generator(StopReason::kStopped);
    generator.reset();
    compare_with.reset();
    const bool fits = !model || run->request.policy.check(model->spec.router, model->spec.n_layers);
    edit([&](SessionState& s) {
        s.run = run;
        s.previous.reset();
        s.diff.reset();
        s.comparison.reset();
        s.gates.reset();
        s.policy = fits ? run->request.policy : Policy{};
    });
    refresh_diff();
}

void Session::Impl::pin() {
    const auto state = seen();
    if (!state->run || state->run->trace.empty())
        return fail({ErrorKind::kUsage, "no_run", "There is nothing to pin", "no run is on screen", "Run a prompt or open a recorded run first"});
    edit([&](SessionState& s) {
        s.pinned = s.run;
        s.diff.reset();
    });
    refresh_diff();
}

void Session::Impl::unpin() {
    edit([](SessionState& s) {
        s.pinned.reset();
        s.diff.reset();
    });
    refresh_diff();
}

void Session::Impl::swap_pinned() {
    const auto state = seen();
    if (!state->pinned || !state->run) return;
    end_generator(StopReason::kStopped);
    const std::shared_ptr<const RunResult> now = seen()->run, pinned = state->pinned;   // with what the ended run had last
    const bool can_rerun = model && pinned->trace.info().model_hash == model->hash;
    last_request = can_rerun ? std::optional(pinned->request) : std::nullopt;
    edit([&](SessionState& s) { s.pinned = now; });
    show_run(pinned);
}

void Session::Impl::refresh_diff() {
    using Clock = std::chrono::steady_clock;
    const auto state = seen();
    const std::shared_ptr<const RunResult> a = state->baseline(), b = state->run;
    // A pinned run beside itself says nothing.
    if (!a || !b || a->id == b->id || a->trace.empty() || b->trace.empty()) {
        if (state->diff) edit([](SessionState& s) { s.diff.reset(); });
        return;
    }
    const bool live = b->phase == RunPhase::kPrefill || b->phase == RunPhase::kDecoding;
    const auto start = Clock::now();
    if (live && start - diff_end < std::max<Clock::duration>(std::chrono::milliseconds(250), 30 * diff_time)) return;
    const auto diff = std::make_shared<RunDiff>(diff_runs(a->trace, b->trace));
    diff->run_a = a->id, diff->run_b = b->id;
    diff_end = Clock::now();
    diff_time = diff_end - start;
    edit([&](SessionState& s) { s.diff = diff; });
}

void Session::Impl::export_run(const Command& command) {
    const auto state = seen();
    if (!state->run || state->run->trace.empty())
        return fail({ErrorKind::kUsage, "no_run", "There is nothing to export", "no run is on screen", "Run a prompt or open a recorded run first"});
    const Result<void> written = command.writer(state->run->trace, command.path);
    if (!written) return fail(written.error());
    post({.is_error = false, .error = {ErrorKind::kRun, "saved", fmt::format("Exported {} tokens", state->run->trace.n_tokens()), command.path.string(), ""}});
}

}  // namespace gs
