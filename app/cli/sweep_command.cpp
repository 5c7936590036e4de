// gatescope sweep: what each k costs on a text.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/tune_output.h"
#include "engine/run/k_grid.h"
#include "engine/run/tune_export.h"

namespace app {

struct SweepOptions {
    TuneOptions tune;
    int timed_tokens = 16, error_tokens = 256;
    bool layers = false, json = false, csv = false;
};

static gs::Result<gs::SweepResult> measure(gs::Decoder& decoder, const SweepOptions& o) {
    gs::SweepPlan plan{.options = {.window = o.tune.window, .timed_tokens = o.timed_tokens, .error_tokens = o.error_tokens}};
    GS_TRY(plan.base, gs::Policy::parse(o.tune.policy));
    if (!o.tune.ks.empty()) {
        GS_TRY(plan.ks, gs::parse_k_grid(o.tune.ks, decoder.model().spec.router.n_experts));
    }
    int n_text_tokens = 0;
    GS_TRY(const std::vector<int32_t> ids, text_ids(decoder.model(), o.tune.text, &n_text_tokens));
    const auto progress = [](const gs::SweepResult&, double fraction) { show_progress("sweep", fraction); };
    auto sweep = gs::measure_sweep(decoder, ids, plan, progress, &interrupt_flag());
    clear_progress();
    if (sweep) sweep->text_name = name_of(o.tune.text), sweep->n_text_tokens = n_text_tokens;
    return sweep;
}

static void print_sweep(const gs::SweepResult& sweep) {
    fmt::print("{} of {} tokens scored, native k = {}; KL, agreement and error against native routing; ± one standard error, tokens taken as independent\n", sweep.n_to_score(),
               sweep.n_text_tokens, sweep.native_k);
    fmt::print("{:>4} {:>19} {:>19} {:>14} {:>8} {:>7} {:>15} {:>9} {:>17}\n", "k", "perplexity", "KL nats", "same top", "routes", "sum w", "tokens/s", "MB/token", "layer error");
    for (const gs::PolicyScore& s : sweep.rows) {
        double routes = 0;
        for (const double r : s.route_agreement) routes += r / static_cast<double>(s.route_agreement.size());
        const auto with_error = [](double value, double error, int places) { return fmt::format("{:.{}f} ± {:.{}f}", value, places, error, places); };
        fmt::print("{:>3}{} {:>19} {:>19} {:>14} {:>7.1f}% {:>7.3f} {:>15} {:>9.2f} {:>17}\n", s.policy.k, s.policy.k == sweep.native_k ? '*' : ' ', with_error(s.perplexity, s.perplexity_se(), 3),
                   with_error(s.kl, s.kl_se, 5), with_error(100 * s.top1_agreement, 100 * s.top1_se, 1) + "%", 100 * routes, s.mean_sum_weights,
                   s.n_timed > 0 ? with_error(s.tokens_per_s, s.tokens_per_s_se, 1) : "-", s.bytes_per_token / 1e6, s.layer_error.empty() ? "-" : with_error(s.mean_layer_error, s.mean_layer_error_se, 4));
    }
    fmt::print("* native; layer error: |y - y_native| / |y_native| of the routed output on native hidden states, mean over {} layers and {} tokens\n", sweep.moe_layers.size(),
               sweep.rows.empty() ? 0 : sweep.rows.front().n_error_tokens);
}

static void print_layers(const gs::SweepResult& sweep) {
    fmt::print("relative error of the routed output by layer, mean over {} tokens\n{:>8}", sweep.rows.empty() ? 0 : sweep.rows.front().n_error_tokens, "layer");
    for (const int k : sweep.plan.ks) fmt::print("{:>9}", fmt::format("k={}{}", k, k == sweep.native_k ? '*' : ' '));
    fmt::print("\n");
    for (size_t m = 0; m < sweep.moe_layers.size(); ++m) {
        fmt::print("{:>8}", sweep.moe_layers[m]);
        for (const gs::PolicyScore& s : sweep.rows) fmt::print("{:>8.4f} ", s.layer_error[m]);
        fmt::print("\n");
    }
}

static int sweep(const SweepOptions& o) {
    auto decoder = open_decoder(o.tune.engine);
    if (!decoder) return fail(decoder.error());
    const auto result = measure(**decoder, o);
    if (!result) return fail(result.error());
    if (o.json) {
        print_json(gs::sweep_json(*result));
    } else if (o.csv) {
        fmt::print("{}", gs::sweep_csv(*result));
    } else {
        print_sweep(*result);
        if (o.layers && o.error_tokens > 0) print_layers(*result);
    }
    return 0;
}

void add_sweep_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<SweepOptions>();
    CLI::App* command = root.add_subcommand("sweep", "Perplexity, KL, agreement, output error, speed and bytes for every k on a text");
    command->footer("Example: gatescope sweep --domain prose --layers");
    add_tune_options(*command, options->tune, "base policy; its k is replaced", "values of k: all, or a list such as 1,2,4-6 (default: all)", 2048);
    command->add_option("--timed", options->timed_tokens, "tokens decoded per k to measure tokens/s; 0 = not")->check(CLI::Range(0, 4096))->capture_default_str();
    command->add_option("--error-tokens", options->error_tokens, "tokens, evenly spaced, for the error of each layer; 0 = not")->check(CLI::Range(0, 1 << 20))->capture_default_str();
    command->add_flag("--layers", options->layers, "the error of every layer as a table");
    auto* json = command->add_flag("--json", options->json, "one JSON object: rows");
    command->add_flag("--csv", options->csv, "a line per k")->excludes(json);
    command->callback([options, &chosen] { chosen = [options] { return sweep(*options); }; });
}

}  // namespace app
