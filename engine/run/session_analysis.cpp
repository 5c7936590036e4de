// Measurements beside the run: gating comparison, sweep over k, comparison of two runs.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run/session_impl.h"

namespace gs {
namespace {

constexpr int kMaxSweepTokens = 2048;
constexpr int kWindow = 512;

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

std::vector<int32_t> Session::Impl::text_to_score(const std::string& text, int max_tokens, const char* what) {
    std::vector<int32_t> ids = model->tokenizer->encode(text, SpecialTokens::kAsText);
    model->tokenizer->add_bos(ids);
    if (ids.size() > static_cast<size_t>(max_tokens)) {
        if (what)
            post({.is_error = false, .error = {ErrorKind::kInput, "text_cut", fmt::format("{} uses the beginning of the text only", what),
                                               fmt::format("it has {} tokens; the first {} are scored", ids.size(), max_tokens), ""}});
        ids.resize(static_cast<size_t>(max_tokens));
    }
    return ids;
}

void Session::Impl::sweep(const Command& command) {
    if (!need_engine("A sweep")) return;
    if (!model->spec.is_moe())
        return fail({ErrorKind::kUsage, "dense_model", "There is no k to sweep", "this model is dense: it has no routed experts", "Load an MoE model"});
    begin(Activity::kSweeping);
    const std::vector<int32_t> ids = text_to_score(command.text, kMaxSweepTokens, "The sweep");
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(std::min(kWindow, static_cast<int>(std::max<size_t>(ids.size(), 1))));
    if (!scorer) return fail(scorer.error());
    SweepResult result{.native_k = model->spec.router.n_used, .n_tokens = static_cast<int>(ids.size())};
    const auto publish = [&](const std::vector<PolicyScore>& rows) {
        result.rows = rows;
        const auto shared = std::make_shared<const SweepResult>(result);
        edit([&](SessionState& s) { s.sweep = shared; });
    };
    size_t n_shown = 0;
    const auto progress = [&](const std::vector<PolicyScore>& rows, double fraction) {
        if (rows.size() != n_shown) publish(rows);
        n_shown = rows.size();
        keep_up(CommandKind::kSweep, fraction, fmt::format("{:.0f} %", 100 * fraction));
    };
    const std::vector<Policy> policies = sweep_policies(command.policy, model->spec.router.n_experts);
    const auto scores = score_policies(**scorer, ids, Policy{}, policies, {.window = kWindow, .timed_tokens = 16}, progress, &cancel_job);
    if (!scores) return fail(scores.error());
    result.complete = true;
    publish(*scores);
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
