// Loading: models and traces. Whatever fails leaves everything as it was.
#include <fmt/format.h>

#include "engine/io/import_trace.h"
#include "engine/io/trace_file.h"
#include "engine/run/session_impl.h"

namespace gs {

KvType Session::Impl::kv_type() const { return kv_type_of(options.engine.kind, options.engine.ops); }

void Session::Impl::inspect_model(const Command& command) {
    const Result<ModelEstimate> estimate = estimate_model(command.path, 0, kv_type());
    if (!estimate) return fail(estimate.error());
    edit([&](SessionState& s) { s.estimate = {command.path, *estimate}; });
}

void Session::Impl::load_model(const Command& command) {
    begin(Activity::kLoadingModel);
    LoadOptions load;
    load.cancel = &cancel_job;
    load.reading = options.reading;
    load.kv_type = kv_type();
    load.progress = [this](uint64_t done, uint64_t total) {
        constexpr uint64_t kMB = 1000000;
        keep_up(CommandKind::kLoadModel, total > 0 ? static_cast<double>(done) / static_cast<double>(total) : -1,
                fmt::format("{} of {} MB", done / kMB, total / kMB));
    };
    Result<std::shared_ptr<const Model>> loaded = Model::load(command.path, load);
    if (!loaded) return fail(loaded.error());
    most_gpu_layers = INT_MAX;
    if (const auto remark = start_engine(*loaded)) adopt_model(std::move(*loaded), *remark);
}

void Session::Impl::adopt_model(std::shared_ptr<const Model> loaded, const std::string& remark) {
    model = std::move(loaded);
    const Result<void> fits = seen()->policy.check(model->spec.router, model->spec.n_layers);
    show_engine(remark, [&](SessionState& s) {
        s.estimate.reset();
        s.sweep.reset();
        s.sensitivity.reset();
        s.schedule.reset();
        s.study.reset();
        s.router_words.reset();
        s.ablation.reset();
        s.side_by_side.reset();
        if (!fits) s.policy = {};
    });
    for (const std::string& warning : model->warnings)
        post({.is_error = false, .error = {ErrorKind::kInput, "model_warning", model->path.filename().string(), warning, ""}});
    if (!fits) post({.is_error = false, .error = {ErrorKind::kUsage, "policy_reset", "The routing policy is native again", fits.error().why, ""}});
}

void Session::Impl::load_trace(const Command& command) {
    const Interlude interlude(*this, Activity::kLoadingTrace);
    const Result<TraceSnapshot> trace = open_trace(command.path);
    if (!trace) return fail(trace.error());
    last_request.reset();
    show_run(std::make_shared<const RunResult>(replayed_run(*trace, next_run_id++)));
    const TraceInfo& info = trace->info();
    if (info.source.empty()) return;
    std::string notes = lacks_text(info.lacks);
    for (const std::string& note : info.notes) notes += (notes.empty() ? "" : " ") + note;
    post({.is_error = false, .error = {ErrorKind::kInput, "imported", fmt::format("{} is shown as {}", command.path.filename().string(), info.source), notes, ""}});
}

void Session::Impl::save_trace(const Command& command) {
    const auto state = seen();
    if (!state->run || state->run->trace.empty())
        return fail({ErrorKind::kUsage, "no_run", "There is nothing to save", "no run is on screen", "Run a prompt first"});
    const Result<void> saved = gs::save_trace(state->run->trace, command.path);
    if (!saved) return fail(saved.error());
    post({.is_error = false, .error = {ErrorKind::kRun, "saved", fmt::format("Saved {} tokens", state->run->trace.n_tokens()), command.path.string(), ""}});
}

RunResult replayed_run(const TraceSnapshot& trace, uint64_t id) {
    RunResult run;
    run.id = id;
    run.trace = trace;
    const TraceInfo& info = trace.info();
    run.request.prompt = info.prompt;
    run.request.mode = info.template_name == "raw" ? PromptMode::kRaw : PromptMode::kChat;
    if (const Result<SamplerSettings> sampler = SamplerSettings::parse(info.sampler)) run.request.sampler = *sampler;
    if (!trace.empty()) run.request.policy = trace.policy(trace.n_tokens() - 1);
    for (int t = 0; t < trace.n_tokens(); ++t) {
        const TokenRow& token = trace.token(t);
        const bool decoded = token.phase == Phase::kDecode;
        run.n_prompt_tokens += !decoded;
        if (decoded && !token.special) run.text += token.text;
    }
    run.request.max_new_tokens = trace.n_tokens() - run.n_prompt_tokens;
    run.bytes_per_token = bytes_per_token(trace);
    return run;
}

}  // namespace gs
