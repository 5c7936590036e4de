// gatescope compare: two policies on one text, or two recorded runs.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/io/diff_export.h"
#include "engine/io/import_trace.h"
#include "engine/routing/run_diff.h"
#include "engine/run/evaluate.h"

namespace app {

struct CompareOptions {
    EngineOptions engine;
    PromptOptions prompt;
    std::string policy_a = "native", policy_b = "k=1", text_file;
    std::vector<std::string> traces;
    bool rules = false, json = false, flips_csv = false;
};

/// Index of the first token whose id differs, or -1 when one run is the other's beginning.
static int first_difference(const gs::TraceSnapshot& a, const gs::TraceSnapshot& b) {
    const int n = std::min(a.n_tokens(), b.n_tokens());
    for (int t = 0; t < n; t++)
        if (a.token(t).id != b.token(t).id) return t;
    return a.n_tokens() == b.n_tokens() ? -1 : n;
}

/// A figure with what uniform independent routers would show.
static void print_figure(const char* name, double value, double null, const char* unit) {
    fmt::print("{:<24} {:8.4g}{}   uniform {:.4g}{}\n", name, value, unit, null, unit);
}

static void print_flip(const gs::RunDiff& diff, const gs::RouteFlip& flip, const gs::TraceSnapshot& a) {
    const gs::TokenPair pair = diff.pairs[static_cast<size_t>(flip.pair)];
    const auto expert = [](int id) { return id < 0 ? std::string("none") : std::to_string(id); };
    fmt::print("token {:4} {:<14} layer {:2}  {} of {} kept, {} -> {}", pair.a, fmt::format("{:?}", a.token(pair.a).text), a.info().moe_layers[static_cast<size_t>(flip.moe_layer)],
               flip.n_shared, flip.k_a, expert(flip.left), expert(flip.entered));
    fmt::print("{}\n", std::isnan(flip.margin) ? std::string("  margin unknown") : fmt::format("  margin {:.4f}", flip.margin));
}

static void print_diff(const gs::RunDiff& diff, const gs::TraceSnapshot& a) {
    fmt::print("{} token pairs of {} and {} tokens, paired by {}{}\n", diff.pairs.size(), diff.n_tokens_a, diff.n_tokens_b, name_of(diff.paired_by),
               diff.first_token_difference < 0 ? std::string(", no difference") : fmt::format(", first difference at token {}", diff.first_token_difference));
    if (!diff.exact) fmt::print("too long to pair in full: only common beginning and end\n");
    if (!diff.comparable()) {
        fmt::print("{}\n", diff.not_comparable.empty() ? "The runs have no token in common." : diff.not_comparable);
        return;
    }
    print_figure("route agreement", 100 * diff.agreement, 100 * diff.agreement_null, " %");
    print_figure("any layer flipped", 100 * diff.any_layer_flip_rate, 100 * diff.any_layer_flip_null, " %");
    print_figure("mean flipped layers", diff.mean_flipped_layers, diff.mean_flipped_null, "");
    fmt::print("{:<24} {}\n", "KL(A || B) of preference", std::isnan(diff.kl) ? std::string("unknown: a run has no router logits") : fmt::format("{:.4g} nats", diff.kl));
    for (size_t m = 0; m < diff.layers.size(); m++) {
        const gs::LayerDiff& layer = diff.layers[m];
        fmt::print("layer {:2}  route agreement {:5.1f} %  flips {:5} of {}{}\n", a.info().moe_layers[m], 100 * layer.agreement, layer.n_flips, layer.n_decisions,
                   std::isnan(layer.kl) ? std::string() : fmt::format("  KL {:.4f}", layer.kl));
    }
    if (diff.first_divergence) fmt::print("first divergence:\n"), print_flip(diff, *diff.first_divergence, a);
    if (!diff.flips.empty()) fmt::print("{} flips, clearest decisions of A first:\n", diff.flips.size());
    for (size_t i = 0; i < std::min<size_t>(diff.flips.size(), 10); i++) print_flip(diff, diff.flips[i], a);
}

static int compare_traces(const CompareOptions& o) {
    gs::TraceSnapshot traces[2];
    for (size_t i = 0; i < 2; i++) {
        auto loaded = gs::open_trace(o.traces[i]);
        if (!loaded) return fail(loaded.error());
        traces[i] = *loaded;
    }
    const gs::RunDiff diff = gs::diff_runs(traces[0], traces[1]);
    if (o.flips_csv)
        fmt::print("{}", gs::flips_csv(diff, traces[0]));
    else if (o.json)
        print_json(gs::run_diff_json(diff, traces[0], traces[1]));
    else
        print_diff(diff, traces[0]);
    return 0;
}

/// Texts under both policies (when there is a prompt), then the scores on A's tokens or on the given text.
static int compare_policies(const CompareOptions& o) {
    auto decoder = open_decoder(o.engine);
    if (!decoder) return fail(decoder.error());
    gs::Decoder& d = **decoder;
    std::vector<gs::Policy> policies;
    const std::vector<std::string> names = o.rules ? std::vector<std::string>{"native", "soft", "hard", "topk"} : std::vector<std::string>{o.policy_a, o.policy_b};
    for (const std::string& name : names) {
        auto policy = gs::Policy::parse(name);
        if (!policy) return fail(policy.error());
        if (auto ok = policy->check(d.model().spec.router, d.model().spec.n_layers); !ok) return fail(ok.error());
        policies.push_back(*policy);
    }
    std::vector<int32_t> ids;
    Json texts = Json::array();
    gs::TraceSnapshot first;
    int difference = -1;
    if (!o.text_file.empty()) {
        auto text = read_text_file(o.text_file);
        if (!text) return fail(text.error());
        ids = tokenize_text(d.model(), *text);
    } else {
        for (const gs::Policy& policy : policies) {
            auto request = make_request(o.prompt);
            if (!request) return fail(request.error());
            request->policy = policy;
            auto run = run_to_end(d, *request);
            if (!run) return fail(run.error());
            texts.push_back(run->text);
            if (first.empty()) {
                first = run->trace;
                for (int t = 0; t < first.n_tokens(); t++) ids.push_back(first.token(t).id);
            } else if (difference < 0) {
                difference = first_difference(first, run->trace);
            }
        }
    }
    auto scores = gs::score_policies(d, ids, policies.front(), policies, {.timed_tokens = 16}, {}, &interrupt_flag());
    if (!scores) return fail(scores.error());
    if (o.json) {
        Json rows = Json::array();
        for (const gs::PolicyScore& s : *scores) rows.push_back(score_json(s, d.model().spec));
        print_json({{"reference", names.front()}, {"rows", rows}, {"texts", texts}, {"first_difference", difference}});
        return 0;
    }
    for (size_t i = 0; i < texts.size(); i++) fmt::print("--- {}\n{}\n", names[i], texts[i].get<std::string>());
    fmt::print("\n{} tokens scored, teacher-forced; KL and agreement against {}\n", ids.size(), names.front());
    print_score_header();
    for (const gs::PolicyScore& s : *scores) print_score(s);
    return 0;
}

void add_compare_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<CompareOptions>();
    options->prompt.n_tokens = 64;
    CLI::App* command = root.add_subcommand("compare", "Two policies on a prompt or text, or two recorded runs");
    command->footer("Examples: gatescope compare --prompt \"What is a llama?\" --a native --b k=1\n          gatescope compare --text page.txt --rules\n"
                    "          gatescope compare a.safetensors b.safetensors");
    add_engine_options(*command, options->engine);
    add_prompt_options(*command, options->prompt);
    command->add_option("--a", options->policy_a, "reference policy")->capture_default_str();
    command->add_option("--b", options->policy_b, "the other policy")->capture_default_str();
    command->add_flag("--rules", options->rules, "compare native, soft, hard and top-k instead of --a and --b");
    command->add_option("--text", options->text_file, "score this text instead of generating one");
    command->add_option("TRACES", options->traces, "two recorded runs, own trace files or imported ones")->expected(2);
    command->add_flag("--json", options->json, "one JSON object");
    command->add_flag("--flips-csv", options->flips_csv, "of two recorded runs: a line per changed decision");
    command->callback([options, &chosen] {
        if (options->traces.empty() && options->text_file.empty() && options->prompt.prompt.empty() && options->prompt.prompt_file.empty())
            throw CLI::ValidationError("compare", "give --prompt, --text or two trace files");
        chosen = [options] { return options->traces.empty() ? compare_policies(*options) : compare_traces(*options); };
    });
}

}  // namespace app
