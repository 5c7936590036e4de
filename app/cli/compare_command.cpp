// gatescope compare: two policies on one text, or two recorded runs.
#include <algorithm>

#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/io/trace_file.h"
#include "engine/routing/metrics.h"
#include "engine/run/evaluate.h"

namespace app {

struct CompareOptions {
    EngineOptions engine;
    PromptOptions prompt;
    std::string policy_a = "native", policy_b = "k=1", text_file;
    std::vector<std::string> traces;
    bool rules = false, json = false;
};

/// Index of the first token whose id differs, or -1 when one run is the other's beginning.
static int first_difference(const gs::TraceSnapshot& a, const gs::TraceSnapshot& b) {
    const int n = std::min(a.n_tokens(), b.n_tokens());
    for (int t = 0; t < n; t++)
        if (a.token(t).id != b.token(t).id) return t;
    return a.n_tokens() == b.n_tokens() ? -1 : n;
}

static int compare_traces(const CompareOptions& o) {
    gs::TraceSnapshot traces[2];
    for (size_t i = 0; i < 2; i++) {
        auto loaded = gs::load_trace(o.traces[i]);
        if (!loaded) return fail(loaded.error());
        traces[i] = *loaded;
    }
    const auto& [a, b] = traces;
    if (a.n_moe_layers() != b.n_moe_layers() || a.n_experts() != b.n_experts())
        return fail({gs::ErrorKind::kInput, "different_models", "These runs cannot be compared",
                     fmt::format("{} has {} MoE layers of {} experts, {} has {} of {}", o.traces[0], a.n_moe_layers(), a.n_experts(), o.traces[1], b.n_moe_layers(),
                                 b.n_experts()),
                     "Compare runs of models with the same shape"});
    const int differ = first_difference(a, b);
    const int common = differ < 0 ? a.n_tokens() : differ;
    Json layers = Json::array();
    for (int m = 0; m < a.n_moe_layers(); m++)
        layers.push_back({{"layer", a.info().moe_layers[static_cast<size_t>(m)]},
                          {"route_agreement", common > 0 ? gs::route_agreement(a, b, m, common) : 0.0},
                          {"load_jsd_bits", gs::jensen_shannon_bits(gs::layer_load(a, m, gs::PhaseFilter::kBoth).counts,
                                                                    gs::layer_load(b, m, gs::PhaseFilter::kBoth).counts)}});
    if (o.json) {
        print_json({{"a", o.traces[0]}, {"b", o.traces[1]}, {"common_tokens", common}, {"first_difference", differ}, {"layers", layers}});
        return 0;
    }
    fmt::print("{} tokens in common{}; route agreement over those, load difference over all\n", common,
               differ < 0 ? std::string() : fmt::format(", first difference at token {}", differ));
    for (const Json& layer : layers)
        fmt::print("layer {:2}  route agreement {:5.1f} %  load JSD {:.4f} bits\n", layer["layer"].get<int>(), 100 * layer["route_agreement"].get<double>(),
                   layer["load_jsd_bits"].get<double>());
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
        auto text = read_text(o.text_file);
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
    command->add_option("TRACES", options->traces, "two trace files")->expected(2);
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] {
        if (options->traces.empty() && options->text_file.empty() && options->prompt.prompt.empty() && options->prompt.prompt_file.empty())
            throw CLI::ValidationError("compare", "give --prompt, --text or two trace files");
        chosen = [options] { return options->traces.empty() ? compare_policies(*options) : compare_traces(*options); };
    });
}

}  // namespace app
