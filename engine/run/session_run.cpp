// Generating: run, step, stop, rerun under another policy.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run/session_impl.h"

namespace gs {

void Session::Impl::handle(const Command& command) {
    switch (command.kind) {
        case CommandKind::kInspect: return inspect_model(command);
        case CommandKind::kLoadModel: return load_model(command);
        case CommandKind::kLoadTrace: return load_trace(command);
        case CommandKind::kSaveTrace: return save_trace(command);
        case CommandKind::kExport: return export_run(command);
        case CommandKind::kPin: return pin();
        case CommandKind::kUnpin: return unpin();
        case CommandKind::kSwapPinned: return swap_pinned();
        case CommandKind::kRun: return run(command);
        case CommandKind::kRerun: return rerun(command);
        case CommandKind::kStep1: return step(command);
        case CommandKind::kSetPolicy: return set_policy(command);
        case CommandKind::kGates: return answer_gates(command);
        case CommandKind::kSweep: return sweep(command);
        case CommandKind::kSensitivity: return map_sensitivity(command);
        case CommandKind::kSchedule: return schedule(command);
        case CommandKind::kStudy: return study_experts(command);
        case CommandKind::kRouterWords: return read_router(command);
        case CommandKind::kAblate: return ablate(command);
        case CommandKind::kSideBySide: return side_by_side(command);
        case CommandKind::kCompare: return compare();
        case CommandKind::kRestartEngine: return restart_engine();
        case CommandKind::kStop:
        case CommandKind::kCancel: return end_generator(StopReason::kStopped);
        case CommandKind::kResume:
            paused = false;
            if (generator) generator->set_paused(false);
            return;
        case CommandKind::kNone: return;
    }
}

void Session::Impl::publish_run() {
    const auto result = std::make_shared<const RunResult>(generator->result());
    cached_run = result->id;
    cached_tokens = generator->cached_tokens();
    const bool prefilling = result->phase == RunPhase::kPrefill;
    const int done = prefilling ? generator->cached_tokens() : result->timings.decode_tokens;
    const int total = prefilling ? result->n_prompt_tokens : std::max(result->request.max_new_tokens, 1);
    edit([&](SessionState& s) {
        s.run = result;
        if (s.activity != Activity::kRunning) return;
        s.progress = static_cast<double>(done) / static_cast<double>(total);
        s.progress_text = fmt::format("{} of {} {}", done, total, prefilling ? "prompt tokens" : "tokens");
    });
    refresh_diff();
}

/// Stops the run on screen if it is going on; what there is of it stays.
void Session::Impl::end_generator(StopReason reason) {
    compare_with.reset();
    if (!generator || generator->done()) return;
    generator->stop(reason);
    paused = false;
    steps_left = 0;
    publish_run();
}

/// One step of the generator: a batch of the prompt, or a token.
void Session::Impl::generate_one() {
    if (seen()->activity != Activity::kRunning) begin(Activity::kRunning);
    const int before = generator->result().timings.decode_tokens;
    const Result<void> stepped = generator->step(&cancel_job);
    if (!stepped && stepped.error().kind == ErrorKind::kCancelled) return;   // the command that wanted it is in the queue
    if (paused && (generator->result().timings.decode_tokens > before || generator->done())) --steps_left;
    generator->set_paused(paused && steps_left <= 0);
    publish_run();
    if (!stepped) fail(stepped.error());
    if (generator->done() && compare_with) push({.kind = CommandKind::kCompare});
}

/// Replaces the run on screen by a new one; false, with a notice, when the request cannot be run and all stays as it was.
bool Session::Impl::start_run(const RunRequest& request) {
    Result<std::unique_ptr<Generator>> fresh = Generator::start(*decoder, request, next_run_id);
    if (!fresh) {
        fail(fresh.error());
        return false;
    }
    ++next_run_id;
    end_generator(StopReason::kStopped);
    const auto before = seen();
    std::shared_ptr<const RunResult> old = before->run;
    if (old && (old->trace.empty() || old->request.prompt != request.prompt || old->request.mode != request.mode)) old = nullptr;
    // A rerun that was itself cut short is no baseline: dragging k through several values compares with the run before the drag.
    if (old && before->previous && old->stop == StopReason::kStopped && old->id == rerun_id) old = before->previous;
    generator = std::move(*fresh);
    paused = false;
    steps_left = 0;
    last_request = request;
    edit([&](SessionState& s) {
        s.previous = old;
        s.diff.reset();
        s.comparison.reset();
        s.gates.reset();
        s.policy = request.policy;
    });
    publish_run();
    return true;
}

void Session::Impl::run(const Command& command) {
    if (need_engine("A run")) start_run(command.request);
}

void Session::Impl::rerun(const Command& command) {
    if (!need_engine("Another run")) return;
    const auto state = seen();
    if (!last_request && !state->run)
        return fail({ErrorKind::kUsage, "no_run", "There is no run to repeat", "nothing has been run yet", "Run a prompt first"});
    RunRequest request = last_request ? *last_request : state->run->request;
    request.policy = command.policy;
    if (!start_run(request)) return;
    const auto now = seen();
    rerun_id = now->run->id;
    if (now->previous && now->previous->trace.info().model_hash == model->hash && now->previous->trace.n_tokens() >= 2) compare_with = now->previous;
}

void Session::Impl::step(const Command& command) {
    if (generator && !generator->done()) {
        if (paused) steps_left = 1;
        paused = true;
        generator->set_paused(steps_left == 0);
        publish_run();
        return;
    }
    if (!need_engine("A step") || !start_run(command.request)) return;
    paused = true;
    steps_left = 1;
}

void Session::Impl::set_policy(const Command& command) {
    if (model) {
        const Result<void> fits = command.policy.check(model->spec.router, model->spec.n_layers);
        if (!fits) return fail(fits.error());
    }
    if (generator && !generator->done())
        if (const Result<void> set = generator->set_policy(command.policy); !set) return fail(set.error());
    edit([&](SessionState& s) { s.policy = command.policy; });
}

}  // namespace gs
