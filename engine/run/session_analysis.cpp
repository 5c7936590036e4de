// Measurements beside the run: gating comparison, comparison of two runs.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run/session_impl.h"

namespace gs {
namespace {

/// Index of the first token of the runs that differs, the shorter one's end included; -1 when they are equal.
int first_difference(const TraceSnapshot& a, const TraceSnapshot& b) {
    const int n = std::min(a.n_tokens(), b.n_tokens());
    for (int t = 0; t < n; ++t)
        if (a.token(t).id != b.token(t).id) return t;
    return a.n_tokens() == b.n_tokens() ? -1 : n;
}

}  // namespace

Result<std::unique_ptr<Decoder>> Session::Impl::make_scorer(int n_ctx) {
    return Decoder::create(model, decoder->stages(), {.n_ctx = n_ctx});
}

void Session::Impl::answer_gates(const Command& command) {
    const auto state = seen();
    const auto run = state->run;
    if (!decoder || state->engine_failed || !run || command.token < 0 || command.token >= run->trace.n_tokens() || command.moe_layer < 0 ||
        command.moe_layer >= run->trace.n_moe_layers())
        return;   // asked of a run that is no longer on screen, or of a replayed one without a model: the panel says so itself
    const Interlude interlude(*this, Activity::kGates);
    const bool same_run = cached_run == run->id;
    const int cached = same_run ? cached_tokens : 0;
    Result<GateComparison> gates = gate_comparison(*decoder, run->trace, command.token, command.moe_layer, cached, &cancel_gates);
    if (gates) {
        cached_tokens = std::max(cached, command.token);
        cached_run = run->id;
    } else if (!same_run) {
        cached_run = 0;       // partly overwritten
    }
    if (!gates) return fail(gates.error());
    const auto answer = std::make_shared<const GateComparison>(std::move(*gates));
    edit([&](SessionState& s) { s.gates = answer; });
}

/// The run on screen against its baseline, on the baseline's tokens.
void Session::Impl::compare() {
    const auto a = std::move(compare_with);
    compare_with.reset();
    const auto b = seen()->run;
    if (!a || !b || !decoder || seen()->engine_failed || !generator || generator->result().id != b->id) return;
    begin(Activity::kComparing);
    std::vector<int32_t> ids;
    for (int t = 0; t < a->trace.n_tokens(); ++t) ids.push_back(a->trace.token(t).id);
    const auto in_vocabulary = [&](int32_t id) { return id >= 0 && id < model->spec.n_vocab; };
    if (!std::all_of(ids.begin(), ids.end(), in_vocabulary))
        return fail({ErrorKind::kInput, "bad_value", "The runs cannot be compared", "the recorded run has tokens that the vocabulary lacks", "The trace file is damaged"});
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(std::min<int>(kWindow, static_cast<int>(ids.size())));
    if (!scorer) return fail(scorer.error());
    const bool generated = a->trace.n_tokens() > a->n_prompt_tokens;
    const bool replayed = a->trace.info().provenance == Provenance::kReplayed;
    // What was generated is what a reader compares; a recorded run's speed is another machine's, so both are timed here.
    const EvaluateOptions how{.first_scored = generated ? std::max(a->n_prompt_tokens - 1, 0) : 0, .window = kWindow, .timed_tokens = replayed ? 8 : 0};
    const std::vector<Policy> policies = {a->request.policy, b->request.policy};
    const auto progress = [&](const std::vector<PolicyScore>&, double fraction) {
        keep_up(CommandKind::kCompare, fraction, fmt::format("{:.0f} %", 100 * fraction));
    };
    const auto scores = score_policies(**scorer, ids, policies[0], policies, how, progress, &cancel_job);
    if (!scores) return fail(scores.error());
    auto comparison = std::make_shared<PolicyComparison>();
    comparison->run_a = a->id;
    comparison->run_b = b->id;
    comparison->a = (*scores)[0];
    comparison->b = (*scores)[1];
    if (!replayed) {
        comparison->a.tokens_per_s = a->timings.decode_tokens_per_s();
        comparison->b.tokens_per_s = b->timings.decode_tokens_per_s();
    }
    comparison->first_difference = first_difference(a->trace, b->trace);
    edit([&](SessionState& s) { s.comparison = comparison; });
}

}  // namespace gs
