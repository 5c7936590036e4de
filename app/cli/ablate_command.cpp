// gatescope ablate: what a text loses without some experts, beside random experts of equal usage.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/tune_output.h"
#include "engine/run/ablation_export.h"

namespace app {

struct AblateOptions {
    EngineOptions engine;
    TextOptions text;
    std::string experts, mode = "zero", policy = "native", continuation = "What is a llama?", sampler;
    int with = -1, n_controls = 8, window = 512, n_tokens = 48;
    uint64_t seed = 1;
    bool raw = false, json = false;
};

static std::string list_of(const std::vector<gs::AblatedExpert>& experts, const std::vector<int64_t>& used, int n_tokens) {
    std::string text;
    for (size_t i = 0; i < experts.size(); ++i)
        text += fmt::format("{}{} ({:.1f} %)", i ? ", " : "", experts[i].to_text(), 100.0 * static_cast<double>(used[i]) / std::max(n_tokens, 1));
    return text;
}

static void print_effect(const std::string& name, const gs::AblationEffect& e) {
    fmt::print("  {:<42}{:>10.5f}{:>12.5f}{:>9.1f}%\n", name, e.kl, e.delta_logprob, 100 * e.flip_rate);
}

static void print_band(const gs::AblationResult& r) {
    const gs::ControlBand kl = r.band(&gs::AblationEffect::kl), delta = r.band(&gs::AblationEffect::delta_logprob), flips = r.band(&gs::AblationEffect::flip_rate);
    if (kl.n == 0) return;
    fmt::print("  {:<42}{:>10.5f}{:>12.5f}{:>9.1f}%\n", fmt::format("mean of {} controls", kl.n), kl.mean, delta.mean, 100 * flips.mean);
    fmt::print("  {:<42}{:>10.5f}{:>12.5f}{:>9.1f}%\n", "standard deviation", kl.sd, delta.sd, 100 * flips.sd);
    fmt::print("  {} of {} controls have a KL at least as large\n", r.n_as_large(), kl.n);
}

static void print_result(const gs::AblationResult& r) {
    fmt::print("{} tokens, {} scored, teacher-forced; base policy {}; computed\n", r.n_tokens, r.effect.n_scored, r.base.to_text());
    fmt::print("  {:<42}{:>10}{:>12}{:>10}\n", "LAYER:EXPERT (share of tokens that use it)", "KL nats", "log p", "flips");
    print_effect(list_of(r.experts, r.used, r.n_tokens), r.effect);
    for (const gs::AblationControl& c : r.controls) print_effect("control " + list_of(c.experts, c.used, r.n_tokens), c.effect);
    print_band(r);
    if (!r.note.empty()) fmt::print("  {}\n", r.note);
    fmt::print("  policy: {}\n", r.policy.to_text());
    if (!r.text) return;
    fmt::print("\n{} ({}):\n--- as before, {} tokens\n{}\n--- ablated, {} tokens\n{}\n", r.text->prompt, r.text->sampler, r.text->n_base, r.text->base, r.text->n_ablated, r.text->ablated);
    fmt::print("{}\n", r.text->first_difference < 0 ? "--- the same" : fmt::format("--- differ from token {} on", r.text->first_difference + 1));
}

static gs::Result<gs::AblationRequest> request_of(const AblateOptions& o) {
    const gs::AblationMode mode = o.mode == "swap" ? gs::AblationMode::kSwap : o.mode == "around" ? gs::AblationMode::kRouteAround : gs::AblationMode::kZero;
    gs::AblationRequest request{.n_controls = o.n_controls, .seed = o.seed};
    request.text_name = !o.text.domain.empty() ? o.text.domain : o.text.file;
    GS_TRY(request.experts, gs::parse_ablated(o.experts, mode, o.with));
    GS_TRY(request.base, gs::Policy::parse(o.policy));
    request.continuation = {.prompt = o.continuation, .mode = o.raw ? gs::PromptMode::kRaw : gs::PromptMode::kChat, .max_new_tokens = o.n_tokens};
    request.continuation.sampler.temperature = 0;
    if (!o.sampler.empty()) {
        GS_TRY(request.continuation.sampler, gs::SamplerSettings::parse(o.sampler));
    }
    if (o.n_tokens == 0) request.continuation.prompt.clear();
    return request;
}

static int ablate(const AblateOptions& o) {
    const auto request = request_of(o);
    if (!request) return fail(request.error());
    auto decoder = open_decoder(o.engine);
    if (!decoder) return fail(decoder.error());
    const auto ids = text_ids((*decoder)->model(), o.text);
    if (!ids) return fail(ids.error());
    const auto progress = [](const gs::AblationResult&, double fraction) { show_progress("ablation", fraction); };
    const auto result = gs::measure_ablation(**decoder, *ids, *request, {.window = o.window}, progress, &interrupt_flag());
    clear_progress();
    if (!result) return fail(result.error());
    if (!o.json) {
        print_result(*result);
        return 0;
    }
    Json json = gs::ablation_json(*result);
    json["engine"] = (*decoder)->engine();
    print_json(json);
    return 0;
}

void add_ablate_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<AblateOptions>();
    options->text.max_tokens = 512;
    CLI::App* command = root.add_subcommand("ablate", "What a text loses without some experts, beside random experts of equal usage");
    command->footer("Examples: gatescope ablate --domain prose --expert 12:3\n          gatescope ablate --text page.txt --expert 7:3,9:1 --mode around --controls 16\n"
                    "          gatescope ablate --domain code --expert 7:3 --mode swap --with 5");
    add_engine_options(*command, options->engine);
    add_text_options(*command, options->text);
    command->add_option("--expert", options->experts, "LAYER:EXPERT, several joined by commas (layers as blk.N); a swap may name the other one: 7:3>5")->required();
    command->add_option("--mode", options->mode, "zero: counts nothing; around: cannot be chosen; swap: another runs in its place")
        ->check(CLI::IsMember({"zero", "around", "swap"}))->capture_default_str();
    command->add_option("--with", options->with, "of a swap: the expert that runs instead")->check(CLI::Range(0, 1023));
    command->add_option("--controls", options->n_controls, "random experts of equal usage to compare with")->check(CLI::Range(0, 1024))->capture_default_str();
    command->add_option("--seed", options->seed, "of the draw of controls")->capture_default_str();
    command->add_option("--policy", options->policy, "base policy, which the experts are ablated from")->capture_default_str();
    command->add_option("--window", options->window, "tokens per window")->check(CLI::Range(2, 1 << 20))->capture_default_str();
    command->add_option("--continue", options->continuation, "prompt that is answered with and without the experts")->capture_default_str();
    command->add_option("-n", options->n_tokens, "tokens of the answers; 0 = none")->check(CLI::Range(0, 1 << 20))->capture_default_str();
    command->add_option("--sampler", options->sampler, "for example temp=0.7,top-p=0.9,seed=3 (default: greedy)");
    command->add_flag("--raw", options->raw, "no chat template around the prompt");
    command->add_flag("--json", options->json, "one JSON object with every figure");
    command->callback([options, &chosen] { chosen = [options] { return ablate(*options); }; });
}

}  // namespace app
