// gatescope coactivation: which experts go together, from layer to layer, from token to token; of labelled texts or of a recorded run.
#include <fmt/format.h>

#include <algorithm>

#include "app/cli/cli.h"
#include "app/cli/study_output.h"
#include "engine/io/trace_file.h"
#include "engine/run/expert_export.h"

namespace app {

struct CoActivationOptions {
    StudyOptions study;
    std::string file, pairs = "all";
    int layer = -1, to = -1;
    bool json = false, csv = false;
};

/// Routing of the counted tokens, from wherever it came.
struct Routed {
    gs::TraceSnapshot trace;
    gs::StudyTokens tokens;
    std::vector<gs::LayerRoutes> layers;
    std::vector<gs::Repetition> repetition;
    std::vector<gs::IdEffect> id_effect;
};

static gs::Result<Routed> routed_trace(const std::string& file, int n_shuffles) {
    Routed out;
    GS_TRY(out.trace, gs::load_trace(file));
    const gs::StudiedText whole{.domain = "run", .begin = 0, .end = out.trace.n_tokens()};
    out.tokens = gs::study_tokens(out.trace, {&whole, 1});
    const gs::StudyShuffles shuffles(out.tokens, n_shuffles);
    for (int m = 0; m < out.trace.n_moe_layers(); ++m) {
        gs::LayerStudy layer = gs::analyse_layer(gs::layer_routes(out.trace, m, out.tokens.rows), {}, out.tokens, shuffles);
        out.layers.push_back(std::move(layer.routes));
        out.repetition.push_back(layer.repetition);
        out.id_effect.push_back(layer.id_effect);
    }
    return out;
}

static gs::Result<Routed> routed_texts(const StudyOptions& options) {
    GS_TRY(const auto decoder, open_decoder(options.engine));
    GS_TRY(const auto study, run_study(*decoder, options));
    Routed out{.trace = study->trace, .tokens = study->tokens};
    for (const gs::LayerStudy& layer : study->layers) {
        out.layers.push_back(layer.routes);
        out.repetition.push_back(layer.repetition);
        out.id_effect.push_back(layer.id_effect);
    }
    return out;
}

static void print_pairs(const gs::CoActivation& pairs, int layer) {
    struct Pair {
        int a, b;
    };
    std::vector<Pair> order;
    for (int a = 0; a < pairs.n_experts; ++a)
        for (int b = 0; b < pairs.n_experts; ++b)
            if (a != b && pairs.tokens[static_cast<size_t>(a)] > 0) order.push_back({a, b});
    std::stable_sort(order.begin(), order.end(), [&](const Pair& x, const Pair& y) { return pairs.share(x.a, x.b) > pairs.share(y.a, y.b); });
    int beyond = 0, all = 0;
    pairs.count_beyond(beyond, all);
    fmt::print("layer {}, {}: {} of {} pairs outside the 95 % of chance (about {:.0f} by chance); uniform {}\n", layer, gs::name_of(pairs.mode), beyond, all, 0.05 * all,
               shown_percent(pairs.uniform));
    constexpr size_t kMost = 10;
    for (size_t i = 0; i < std::min(kMost, order.size()); ++i) {
        const auto [a, b] = order[i];
        const gs::Band band = pairs.band(a, b);
        fmt::print("  {:>3} → {:<3} {:>8}  loads alone {}, 95 % {} to {}{}\n", a, b, shown_percent(pairs.share(a, b)), shown_percent(pairs.expected_share(a, b)), shown_percent(band.low),
                   shown_percent(band.high), band.holds(pairs.share(a, b)) ? "" : "  *");
    }
}

static void print_overview(const Routed& routed, gs::PairMode mode) {
    fmt::print("{} tokens, {} experts; {}. In brackets: what shuffled tokens give, 95 %\n", routed.tokens.n(), routed.trace.n_experts(), gs::name_of(mode));
    fmt::print("{:>6}  {:>16}  {:<34} {:<34} {}\n", "layer", "pairs beyond", "same first choice as token before", "any expert of the token before", "same token id: Jaccard of its sets");
    for (size_t m = 0; m < routed.layers.size(); ++m) {
        const gs::CoActivation pairs = gs::co_activation(routed.layers[m], mode);
        int beyond = 0, all = 0;
        pairs.count_beyond(beyond, all);
        const gs::Repetition& r = routed.repetition[m];
        const gs::IdEffect& id = routed.id_effect[m];
        const auto shown = [](double value, const gs::ShuffleNull& null) {
            return fmt::format("{} ({}–{})", shown_percent(value), shown_percent(null.band.low), shown_percent(null.band.high));
        };
        fmt::print("{:>6}  {:>7} of {:>5}  {:<34} {:<34} {:.3f} ({:.3f}–{:.3f})\n", routed.trace.info().moe_layers[m], beyond, all, shown(r.first, r.shuffled_first),
                   shown(r.any, r.shuffled_any), id.jaccard, id.shuffled.band.low, id.shuffled.band.high);
    }
    if (routed.repetition.empty()) return;
    const gs::Repetition& r = routed.repetition.front();
    fmt::print("uniform router: same first choice {}, any overlap {}, Jaccard {:.3f}\n", shown_percent(r.uniform_first), shown_percent(r.uniform_any), routed.id_effect.front().uniform);
}

static Json json_of(const Routed& routed, gs::PairMode mode, int row, int to) {
    Json layers = Json::array();
    for (int m = 0; m < static_cast<int>(routed.layers.size()); ++m) {
        if (row >= 0 && row != m) continue;
        const auto i = static_cast<size_t>(m);
        Json layer = {{"layer", routed.trace.info().moe_layers[i]}, {"co_activation", gs::co_activation_json(gs::co_activation(routed.layers[i], mode))},
                      {"repetition", gs::repetition_json(routed.repetition[i])}, {"token_id", gs::id_effect_json(routed.id_effect[i])}};
        const int next = to >= 0 ? to : m + 1;
        if (next < static_cast<int>(routed.layers.size())) {
            layer["flow"] = gs::flow_json(gs::cross_layer_flow(routed.layers[i], routed.layers[static_cast<size_t>(next)]));
            layer["flow"]["to_layer"] = routed.trace.info().moe_layers[static_cast<size_t>(next)];
        }
        layers.push_back(layer);
    }
    return {{"model", routed.trace.info().model_hash}, {"provenance", gs::name_of(routed.trace.info().provenance)}, {"tokens", routed.tokens.n()}, {"layers", layers}};
}

static int coactivation(const CoActivationOptions& o) {
    const auto routed = o.file.empty() ? routed_texts(o.study) : routed_trace(o.file, o.study.n_shuffles);
    if (!routed) return fail(routed.error());
    const gs::PairMode mode = o.pairs == "all" ? gs::PairMode::kAll : gs::PairMode::kAdjacent;
    int row = -1, to = -1;
    for (const auto& [layer, out] : {std::pair<int, int*>{o.layer, &row}, {o.to, &to}}) {
        if (layer < 0) continue;
        const auto found = moe_row(routed->trace.info(), layer);
        if (!found) return fail(found.error());
        *out = *found;
    }
    if (o.json) {
        print_json(json_of(*routed, mode, row, to));
    } else if (row < 0) {
        print_overview(*routed, mode);
    } else if (to >= 0) {
        const gs::CrossLayerFlow flow = gs::cross_layer_flow(routed->layers[static_cast<size_t>(row)], routed->layers[static_cast<size_t>(to)]);
        fmt::print("{}", gs::flow_csv(flow));
    } else {
        const gs::CoActivation pairs = gs::co_activation(routed->layers[static_cast<size_t>(row)], mode);
        if (o.csv) fmt::print("{}", gs::co_activation_csv(pairs));
        else print_pairs(pairs, o.layer);
    }
    return 0;
}

void add_coactivation_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<CoActivationOptions>();
    CLI::App* command = root.add_subcommand("coactivation", "Which experts go together: within a layer, between layers, from token to token");
    command->footer("Examples: gatescope coactivation --layer 12\n          gatescope coactivation run.safetensors --layer 12 --to 13");
    command->add_option("FILE", options->file, "a recorded run instead of texts; needs no model");
    add_study_options(*command, options->study);
    auto* layer = command->add_option("--layer", options->layer, "this layer only (blk.N): its pairs")->check(CLI::NonNegativeNumber);
    command->add_option("--to", options->to, "flow from --layer to this one, as CSV")->check(CLI::NonNegativeNumber)->needs(layer);
    command->add_option("--pairs", options->pairs, "all pairs of a token's experts, or neighbours in its ranking only, as OLMoE's script counts")
        ->check(CLI::IsMember({"all", "adjacent"}))->capture_default_str();
    auto* json = command->add_flag("--json", options->json, "one JSON object with every figure");
    command->add_flag("--csv", options->csv, "with --layer: a line per pair")->excludes(json)->needs(layer);
    command->callback([options, &chosen] { chosen = [options] { return coactivation(*options); }; });
}

}  // namespace app
