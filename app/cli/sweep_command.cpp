// gatescope sweep: what each k costs on a text.
#include <fmt/format.h>
#include <unistd.h>

#include "app/cli/cli.h"
#include "app/cli/text_source.h"
#include "engine/run/evaluate.h"

namespace app {

struct SweepOptions {
    EngineOptions engine;
    TextOptions text;
    std::string policy = "native";
    int window = 512, timed_tokens = 16;
    bool json = false;
};

static int sweep(const SweepOptions& o) {
    auto base = gs::Policy::parse(o.policy);
    if (!base) return fail(base.error());
    auto decoder = open_decoder(o.engine);
    if (!decoder) return fail(decoder.error());
    const gs::Model& model = (*decoder)->model();
    if (!model.spec.is_moe())
        return fail({gs::ErrorKind::kInput, "dense_model", "There is no k to sweep", "this model is dense: it has no routed experts", "Give an MoE model with --model"});
    const auto ids = text_ids(model, o.text);
    if (!ids) return fail(ids.error());
    const std::vector<gs::Policy> policies = gs::sweep_policies(*base, model.spec.router.n_experts);
    const auto progress = [&](const std::vector<gs::PolicyScore>&, double fraction) {
        if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r{:.0f} %", 100 * fraction);
    };
    auto scores = gs::score_policies(**decoder, *ids, gs::Policy{}, policies, {.window = o.window, .timed_tokens = o.timed_tokens}, progress, &interrupt_flag());
    if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r      \r");
    if (!scores) return fail(scores.error());
    if (o.json) {
        Json rows = Json::array();
        for (const gs::PolicyScore& s : *scores) rows.push_back(score_json(s, model.spec));
        print_json({{"rows", rows}, {"native_k", model.spec.router.n_used}, {"tokens", ids->size()}, {"engine", (*decoder)->engine()}});
        return 0;
    }
    fmt::print("{} tokens, native k = {}; KL and agreement against native routing\n", ids->size(), model.spec.router.n_used);
    print_score_header();
    for (const gs::PolicyScore& s : *scores) print_score(s);
    return 0;
}

void add_sweep_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<SweepOptions>();
    CLI::App* command = root.add_subcommand("sweep", "Perplexity, KL, agreement, speed and bytes for every k on a text");
    command->footer("Example: gatescope sweep --text README.md");
    add_engine_options(*command, options->engine);
    add_text_options(*command, options->text);
    command->add_option("--policy", options->policy, "base policy; its k is replaced")->capture_default_str();
    command->add_option("--window", options->window, "tokens per window")->check(CLI::Range(2, 1 << 20))->capture_default_str();
    command->add_option("--timed", options->timed_tokens, "tokens decoded per k to measure tokens/s; 0 = not")->check(CLI::Range(0, 4096))->capture_default_str();
    command->add_flag("--json", options->json, "one JSON object: rows");
    command->callback([options, &chosen] { chosen = [options] { return sweep(*options); }; });
}

}  // namespace app
