// gatescope run: answer a prompt and say how it was routed.
#include <cstdio>

#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/routing/metrics.h"

namespace app {

static Json run_json(const gs::RunResult& run) {
    Json tokens = Json::array();
    for (int t = 0; t < run.trace.n_tokens(); t++) {
        const gs::TokenRow& row = run.trace.token(t);
        tokens.push_back({{"id", row.id}, {"text", row.text}, {"phase", gs::name_of(row.phase)}, {"logprob", row.logprob}});
    }
    const gs::TraceInfo& info = run.trace.info();
    return {{"text", run.text},
            {"tokens", tokens},
            {"policy", run.request.policy.to_text()},
            {"reading", info.reading},
            {"engine", info.engine},
            {"precision", info.precision},
            {"model", {{"name", info.model_name}, {"file", info.model_file}, {"hash", info.model_hash}, {"architecture", info.architecture}}},
            {"template", info.template_name},
            {"sampler", info.sampler},
            {"stop", gs::name_of(run.stop)},
            {"bytes_per_token", run.bytes_per_token},
            {"timings",
             {{"prefill_tokens", run.timings.prefill_tokens},
              {"decode_tokens", run.timings.decode_tokens},
              {"prefill_tokens_per_s", run.timings.prefill_tokens_per_s()},
              {"decode_tokens_per_s", run.timings.decode_tokens_per_s()}}},
            {"routing", routing_json(run.trace)}};
}

static void print_summary(const gs::RunResult& run) {
    const gs::RunTimings& t = run.timings;
    fmt::print(stderr, "\n\n[{} prompt tokens at {:.0f}/s, {} generated at {:.1f}/s; {}; policy {}; sampler {}; {:.1f} MB of weights per token]\n",
               t.prefill_tokens, t.prefill_tokens_per_s(), t.decode_tokens, t.decode_tokens_per_s(), gs::name_of(run.stop),
               run.request.policy.to_text(), run.trace.info().sampler, run.bytes_per_token / 1e6);
    for (int m = 0; m < run.trace.n_moe_layers(); m++) {
        const gs::LayerLoad load = gs::layer_load(run.trace, m, gs::PhaseFilter::kBoth);
        const gs::BalanceMetrics balance = gs::balance(load.counts);
        fmt::print(stderr, "layer {:2}  entropy {:.3f}  MaxVio {:.2f}  idle {} of {}  load {}\n", run.trace.info().moe_layers[static_cast<size_t>(m)],
                   balance.entropy, balance.max_vio, balance.n_idle, load.counts.size(), fmt::join(load.counts, " "));
    }
}

static int run_prompt(const EngineOptions& engine, const PromptOptions& prompt, bool json, bool show_load) {
    auto request = make_request(prompt);
    if (!request) return fail(request.error());
    auto decoder = open_decoder(engine);
    if (!decoder) return fail(decoder.error());
    size_t printed = 0;
    const auto stream = [&](const gs::RunResult& run) {
        if (json) return;
        std::fwrite(run.text.data() + printed, 1, run.text.size() - printed, stdout);
        std::fflush(stdout);
        printed = run.text.size();
    };
    auto run = run_to_end(**decoder, *request, true, stream);
    if (!run) return fail(run.error());
    if (json)
        print_json(run_json(*run));
    else if (show_load)
        print_summary(*run);
    else
        fmt::print("\n");
    return 0;
}

void add_run_command(CLI::App& root, CommandBody& chosen) {
    struct Options {
        EngineOptions engine;
        PromptOptions prompt;
        bool json = false, quiet = false;
    };
    auto options = std::make_shared<Options>();
    CLI::App* command = root.add_subcommand("run", "Answer a prompt and print the load of every expert");
    command->footer("Example: gatescope run --prompt \"What is a llama?\" -n 64 --policy k=1");
    add_engine_options(*command, options->engine);
    add_prompt_options(*command, options->prompt);
    command->add_flag("--json", options->json, "one JSON object on stdout: text, tokens, policy, engine, timings, routing");
    command->add_flag("-q,--quiet", options->quiet, "only the text");
    command->callback([options, &chosen] {
        chosen = [options] { return run_prompt(options->engine, options->prompt, options->json, !options->quiet); };
    });
}

}  // namespace app
