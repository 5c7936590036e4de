// gatescope choices: how clear the router's choices were in a run: ties, fragile ones, and what a capacity dropped by position.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/io/trace_file.h"
#include "engine/routing/choices.h"
#include "engine/routing/what_if.h"

namespace app {

struct ChoicesOptions {
    EngineOptions engine;
    PromptOptions prompt;
    std::string trace_file;
    float logit_error = 0;
    int bins = 10;
    bool json = false;
};

static Json counts_json(const gs::ChoiceCounts& c) {
    return {{"decisions", c.decisions}, {"with_border", c.with_border}, {"ties", c.ties}, {"fragile", c.fragile}, {"wanted", c.wanted}, {"dropped", c.dropped}};
}

static double percent(uint64_t part, uint64_t whole) { return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0; }

static Json report(const gs::TraceSnapshot& trace, const ChoicesOptions& o) {
    const gs::TraceInfo& info = trace.info();
    const gs::LogitError error{o.logit_error};
    gs::ChoiceCounts all;
    Json layers = Json::array(), positions = Json::array();
    for (int m = 0; m < trace.n_moe_layers(); ++m) {
        const gs::ChoiceCounts counts = gs::count_choices(trace, m, 0, trace.n_tokens(), error);
        all += counts;
        Json layer = counts_json(counts);
        layer["layer"] = info.moe_layers[static_cast<size_t>(m)];
        layers.push_back(std::move(layer));
    }
    for (const auto& bin : gs::choices_by_position(trace, o.bins, error).bins) {
        Json part = counts_json(bin.counts);
        part["first_token"] = bin.first_token;
        part["end_token"] = bin.end_token;
        positions.push_back(std::move(part));
    }
    return {{"model", info.model_name}, {"policy", trace.policy(trace.n_tokens() - 1).to_text()}, {"provenance", gs::name_of(info.provenance)},
            {"tokens", trace.n_tokens()}, {"prompt_tokens", gs::n_prompt_tokens(trace)}, {"logit_error", o.logit_error > 0 ? Json(o.logit_error) : Json("bf16")},
            {"all", counts_json(all)}, {"layers", layers}, {"positions", positions}};
}

static void print_row(const std::string& name, const Json& c) {
    const auto n = [&](const char* key) { return c[key].get<uint64_t>(); };
    fmt::print("{:>12}{:>11}{:>8}{:>10}{:>9.2f} %{:>10}{:>10}{:>9.2f} %\n", name, n("with_border"), n("ties"), n("fragile"), percent(n("fragile"), n("with_border")), n("wanted"),
               n("dropped"), percent(n("dropped"), n("wanted")));
}

static void print_report(const Json& j, double logit_error) {
    fmt::print("{}, {} tokens ({} of the prompt), policy {}, {}\n", j["model"].get<std::string>(), j["tokens"].get<int>(), j["prompt_tokens"].get<int>(),
               j["policy"].get<std::string>(), j["provenance"].get<std::string>());
    fmt::print("fragile: {}\n", logit_error > 0 ? fmt::format("the logits at the cut are closer than sqrt(2) x {}", logit_error) : "rounding the router logits to bf16 may change the choice");
    fmt::print("{:>12}{:>11}{:>8}{:>10}{:>11}{:>10}{:>10}{:>11}\n", "layer", "decisions", "ties", "fragile", "share", "wanted", "dropped", "share");
    for (const Json& layer : j["layers"]) print_row(fmt::format("{}", layer["layer"].get<int>()), layer);
    print_row("all", j["all"]);
    fmt::print("by position, all layers\n");
    for (const Json& bin : j["positions"]) print_row(fmt::format("{}-{}", bin["first_token"].get<int>() + 1, bin["end_token"].get<int>()), bin);
}

static gs::Result<gs::TraceSnapshot> run_of(const ChoicesOptions& o) {
    GS_TRY(gs::RunRequest request, make_request(o.prompt));
    if (!o.trace_file.empty()) {
        GS_TRY(gs::TraceSnapshot trace, gs::load_trace(o.trace_file));
        if (trace.empty() || o.prompt.policy == "native") return trace;   // as recorded
        GS_TRY_VOID(request.policy.check(trace.info().router, trace.info().n_layers));
        return gs::what_if_trace(trace, request.policy);
    }
    GS_TRY(auto decoder, open_decoder(o.engine));
    GS_TRY(const gs::RunResult run, run_to_end(*decoder, request));
    return run.trace;
}

static int choices(const ChoicesOptions& o) {
    auto trace = run_of(o);
    if (!trace) return fail(trace.error());
    if (trace->empty() || trace->n_moe_layers() == 0)
        return fail({gs::ErrorKind::kInput, "no_routes", "There are no choices to look at", "the run has no tokens, or its model no experts", "Give a prompt and a model with experts"});
    if (!trace->has_logits())
        return fail({gs::ErrorKind::kInput, "no_logits", "There are no choices to look at", "this recorded run holds no router logits", "Record one with gatescope trace"});
    const Json json = report(*trace, o);
    if (o.json) print_json(json);
    else print_report(json, static_cast<double>(o.logit_error));
    return 0;
}

void add_choices_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<ChoicesOptions>();
    CLI::App* command = root.add_subcommand("choices", "ties, fragile choices, and what a capacity drops by position");
    command->footer("Example: gatescope choices --prompt-file page.txt -n 0 --policy capacity=1.25\n"
                    "         gatescope choices run.safetensors --policy expert-choice   (what-if: the recorded logits under another policy)");
    add_engine_options(*command, options->engine);
    add_prompt_options(*command, options->prompt);
    command->add_option("trace", options->trace_file, "a trace file instead of a run; with --policy a what-if of it");
    command->add_option("--logit-error", options->logit_error, "rms error of a router logit, as `precision` measures it; 0: rounding to bf16")->check(CLI::Range(0.0f, 100.0f));
    command->add_option("--bins", options->bins, "parts of the run for figures by position")->check(CLI::Range(1, 1000))->capture_default_str();
    command->add_flag("--json", options->json, "one JSON object with every figure");
    command->callback([options, &chosen] { chosen = [options] { return choices(*options); }; });
}

}  // namespace app
