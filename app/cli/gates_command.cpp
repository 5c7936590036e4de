// gatescope gates: soft, hard and top-k on one true hidden state.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/io/trace_file.h"
#include "engine/run/gates.h"
#include "engine/run/generator.h"

namespace app {

static Json gates_json(const gs::GateComparison& gates, const gs::TraceSnapshot& trace) {
    Json rules = Json::array();
    for (const gs::GateRow& row : gates.rows)
        rules.push_back({{"rule", row.rule},
                         {"k", row.k},
                         {"weights", row.weights},
                         {"experts", row.ids},
                         {"sum", row.sum},
                         {"error_vs_soft", row.error_vs_soft},
                         {"cosine_vs_soft", row.cosine_vs_soft},
                         {"error_vs_native", row.error_vs_native},
                         {"cosine_vs_native", row.cosine_vs_native}});
    return {{"layer", gates.layer},
            {"token", gates.token},
            {"token_text", trace.token(gates.token).text},
            {"policy", trace.policy(gates.token).to_text()},
            {"logits", gates.logits},
            {"preference", gates.preference},
            {"output_norms", gates.output_norms},
            {"soft_norm", gates.soft_norm},
            {"shared_norm", gates.shared_norm},
            {"rules", rules}};
}

static void print_gates(const gs::GateComparison& gates, const gs::TraceSnapshot& trace) {
    fmt::print("token {} {:?}, layer {}; shared expert's output norm {:.4g}, soft mixture's {:.4g}\n", gates.token, trace.token(gates.token).text, gates.layer,
               gates.shared_norm, gates.soft_norm);
    fmt::print("{:<8}{:>4}{:>9}{:>12}{:>12}{:>12}  experts\n", "rule", "k", "sum w", "err/soft", "cos/soft", "err/native");
    for (const gs::GateRow& row : gates.rows)
        fmt::print("{:<8}{:>4}{:>9.4f}{:>12.4f}{:>12.4f}{:>12.4f}  {}\n", row.rule, row.k, row.sum, row.error_vs_soft, row.cosine_vs_soft,
                   row.error_vs_native, fmt::join(row.ids, " "));
}

/// Row of MoE layer `layer` (blk.N) in the trace, or a usage error that lists them.
static gs::Result<int> moe_row(const gs::TraceInfo& info, int layer) {
    for (size_t m = 0; m < info.moe_layers.size(); m++)
        if (info.moe_layers[m] == layer) return static_cast<int>(m);
    return gs::Error{gs::ErrorKind::kUsage, "no_such_layer", fmt::format("Layer {} has no router", layer),
                     info.moe_layers.empty() ? std::string("this model is dense") : fmt::format("layers with experts: {}", fmt::join(info.moe_layers, " ")),
                     "Choose one of those with --layer"};
}

static int compare(const EngineOptions& engine, const PromptOptions& prompt, const std::string& trace_file, int token, int layer, bool json) {
    auto decoder = open_decoder(engine);
    if (!decoder) return fail(decoder.error());
    gs::TraceSnapshot trace;
    int cached = 0;
    if (!trace_file.empty()) {
        auto loaded = gs::load_trace(trace_file);
        if (!loaded) return fail(loaded.error());
        trace = *loaded;
    } else {
        auto request = make_request(prompt);
        if (!request) return fail(request.error());
        auto run = run_to_end(**decoder, *request);
        if (!run) return fail(run.error());
        trace = run->trace;
        cached = trace.n_tokens() - (run->stop == gs::StopReason::kNone ? 0 : 1);
    }
    if (layer < 0 && !trace.info().moe_layers.empty()) layer = trace.info().moe_layers[trace.info().moe_layers.size() / 2];
    auto row = moe_row(trace.info(), layer);
    if (!row) return fail(row.error());
    const int chosen_token = token < 0 ? trace.n_tokens() + token : token;
    if (chosen_token < 0 || chosen_token >= trace.n_tokens())
        return fail({gs::ErrorKind::kUsage, "no_such_token", fmt::format("There is no token {}", token), fmt::format("the run has {} tokens", trace.n_tokens()),
                     "Count from 0, or from the end with negative numbers"});
    auto gates = gs::gate_comparison(**decoder, trace, chosen_token, *row, cached, &interrupt_flag());
    if (!gates) return fail(gates.error());
    if (json)
        print_json(gates_json(*gates, trace));
    else
        print_gates(*gates, trace);
    return 0;
}

void add_gates_command(CLI::App& root, CommandBody& chosen) {
    struct Options {
        EngineOptions engine;
        PromptOptions prompt;
        std::string trace;
        int token = -1, layer = -1;
        bool json = false;
    };
    auto options = std::make_shared<Options>();
    options->prompt.n_tokens = 0;
    CLI::App* command = root.add_subcommand("gates", "Soft, hard and top-k gating on one token's true hidden state");
    command->footer("Example: gatescope gates --prompt \"What is a llama?\" --layer 12 --token 5");
    add_engine_options(*command, options->engine);
    add_prompt_options(*command, options->prompt);
    command->add_option("--trace", options->trace, "take the run from a trace file of the same model");
    command->add_option("--token", options->token, "token index; negative counts from the end")->capture_default_str();
    command->add_option("--layer", options->layer, "layer (blk.N); default: the middle MoE layer");
    command->add_flag("--json", options->json, "one JSON object: layer, token, rules");
    command->callback([options, &chosen] {
        chosen = [options] { return compare(options->engine, options->prompt, options->trace, options->token, options->layer, options->json); };
    });
}

}  // namespace app
