// Ablation of experts, and two models beside each other.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run/prompt.h"
#include "engine/run/session_impl.h"

namespace gs {
namespace {

/// Positions that the prompt and its answer take; kWindow at least, what the context holds at most.
int context_for(const Model& model, const RunRequest& run) {
    int n = kWindow;
    if (run.prompt.empty()) return std::min(n, model.n_ctx);
    const Result<PromptTokens> prompt = tokenize_prompt(model, run, model.n_ctx);
    if (prompt) n = std::max(n, static_cast<int>(prompt->ids.size()) + std::max(run.max_new_tokens, 0) + 1);
    return std::min(n, model.n_ctx);
}

}  // namespace

void Session::Impl::ablate(const Command& command) {
    if (!need_engine("An ablation")) return;
    begin(Activity::kAblating);
    AblationRequest wanted = command.ablation;
    EvaluateOptions how{.window = kWindow};
    std::vector<int32_t> ids;
    if (wanted.of_run) {
        const auto run = seen()->run;
        const bool ours = run && !run->trace.empty() && run->trace.info().model_hash == model->hash;
        if (!ours) return fail({ErrorKind::kUsage, "no_run", "There is no run to ablate experts of", "none of the loaded model is on screen", "Run the prompt, or choose a text"});
        for (int t = 0; t < std::min(run->trace.n_tokens(), wanted.max_tokens); ++t) ids.push_back(run->trace.token(t).id);
        if (static_cast<int>(ids.size()) > run->n_prompt_tokens + 1) how.first_scored = std::max(run->n_prompt_tokens - 1, 0);
    } else {
        ids = text_to_score(wanted.text, wanted.max_tokens, nullptr);
    }
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(context_for(*model, wanted.continuation));
    if (!scorer) return fail(scorer.error());
    int n_seen = -1;
    size_t n_text = 0;
    const auto progress = [&](const AblationResult& so_far, double fraction) {
        const int n_known = (so_far.effect.n_scored > 0) + so_far.n_measured();
        const size_t n_written = so_far.text ? so_far.text->base.size() + so_far.text->ablated.size() : 0;
        if (n_known != n_seen || n_written != n_text || so_far.complete) {
            const auto shared = std::make_shared<const AblationResult>(so_far);
            edit([&](SessionState& s) { s.ablation = shared; });
        }
        n_seen = n_known;
        n_text = n_written;
        keep_up(CommandKind::kAblate, fraction, so_far.text ? "writing" : fmt::format("{} of {} runs", std::max(n_known - 1, 0), so_far.controls.size() + 1));
    };
    const auto result = measure_ablation(**scorer, ids, wanted, how, progress, &cancel_job);
    if (!result) fail(result.error());
}

void Session::Impl::side_by_side(const Command& command) {
    if (!need_engine("A comparison of two models")) return;
    begin(Activity::kSideBySide);
    LoadOptions load;
    load.cancel = &cancel_job;
    load.reading = options.reading;
    load.kv_type = kv_type();
    load.progress = [this](uint64_t done, uint64_t total) {
        keep_up(CommandKind::kSideBySide, -1, fmt::format("loading {} of {} MB", done / 1000000, total / 1000000));
    };
    const Result<std::shared_ptr<const Model>> other = Model::load(command.side.other, load);
    if (!other) return fail(other.error());
    const Result<StartedEngine> engine = gs::start_engine(*other, options.engine, {.n_ctx = context_for(**other, command.side.run)});
    if (!engine) return fail(engine.error());
    Result<std::unique_ptr<Decoder>> ours = make_scorer(context_for(*model, command.side.run));
    if (!ours) return fail(ours.error());
    const auto progress = [&](const SideBySide& so_far, double fraction) {
        const auto shared = std::make_shared<const SideBySide>(so_far);
        edit([&](SessionState& s) { s.side_by_side = shared; });
        keep_up(CommandKind::kSideBySide, fraction, fmt::format("{:.0f} %", 100 * fraction));
    };
    const auto result = run_side_by_side(**ours, *engine->decoder, command.side, progress, &cancel_job);
    if (!result) fail(result.error());
}

}  // namespace gs
