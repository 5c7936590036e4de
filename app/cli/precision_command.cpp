// gatescope precision: how many routing decisions the fast precision changes against the exact one, on a text.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "app/cli/recording_sink.h"
#include "engine/routing/route_changes.h"
#include "engine/run/generator.h"

namespace app {

struct PrecisionOptions {
    EngineOptions engine;
    std::string text_file;
    int max_tokens = 2000;
    bool json = false;
};

/// A run in one precision: its routing, and the most probable next token at every position.
struct Recorded {
    gs::TraceSnapshot trace;
    std::vector<int32_t> best;
};

static gs::Result<Recorded> record(const std::shared_ptr<const gs::Model>& model, const EngineOptions& engine, std::span<const int32_t> ids) {
    GS_TRY(auto decoder, make_decoder(model, engine, static_cast<int>(ids.size())));
    RecordingSink sink(gs::make_trace_info(*decoder, {}, "raw"));
    Recorded result;
    decoder->set_sink(&sink);
    decoder->set_logit_function([&](int, std::span<const float> logits) {
        result.best.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    });
    sink.begin(ids, gs::Phase::kPrefill);
    GS_TRY_VOID(decoder->forward(ids, 0, gs::LogitRows::kAll, &interrupt_flag()));
    sink.publish();
    result.trace = sink.snapshot();
    return result;
}

static Json report(const gs::Model& model, const Recorded& exact, const Recorded& fast) {
    const gs::RouteChanges changes = gs::route_changes(exact.trace, fast.trace);
    size_t same = 0;
    for (size_t i = 0; i < exact.best.size(); i++) same += exact.best[i] == fast.best[i];
    Json bands = Json::array();
    for (const auto& band : changes.bands)
        bands.push_back({{"margin_below", std::isinf(band.below) ? Json() : Json(band.below)}, {"decisions", band.decisions}, {"changed", band.changed}});
    return {{"model", model.spec.name},
            {"tokens", exact.best.size()},
            {"exact", exact.trace.info().engine},
            {"fast", fast.trace.info().engine},
            {"decisions", changes.decisions},
            {"changed", changes.changed},
            {"largest_margin_changed", changes.largest_margin_changed},
            {"rms_router_logit_difference", changes.rms_logit_difference},
            {"same_next_token", static_cast<double>(same) / static_cast<double>(exact.best.size())},
            {"bands", bands}};
}

static double share(const Json& j) {
    const auto n = j["decisions"].get<double>();
    return n > 0 ? 100 * j["changed"].get<double>() / n : 0;
}

static void print_report(const Json& j) {
    fmt::print("{}, {} tokens: {} against {}\n", j["model"].get<std::string>(), j["tokens"].get<int>(), j["fast"].get<std::string>(), j["exact"].get<std::string>());
    fmt::print("{} of {} routing decisions differ ({:.2f} %); router logits differ by {:.1e} (root mean square)\n", j["changed"].get<uint64_t>(),
               j["decisions"].get<uint64_t>(), share(j), j["rms_router_logit_difference"].get<double>());
    fmt::print("the most probable next token is the same at {:.2f} % of positions\n", 100 * j["same_next_token"].get<double>());
    fmt::print("{:<32}{:>12}{:>10}{:>9}\n", "margin of the exact decision", "decisions", "differ", "share");
    for (const Json& band : j["bands"])
        fmt::print("{:<32}{:>12}{:>10}{:>7.2f} %\n", band["margin_below"].is_null() ? "more" : fmt::format("below {}", band["margin_below"].get<double>()),
                   band["decisions"].get<uint64_t>(), band["changed"].get<uint64_t>(), share(band));
    fmt::print("the clearest decision that differs has a margin of {:.3f}\n", j["largest_margin_changed"].get<double>());
}

static int precision(const PrecisionOptions& o) {
    auto text = read_text_file(o.text_file);
    if (!text) return fail(text.error());
    auto model = open_model(o.engine);
    if (!model) return fail(model.error());
    if (!(*model)->spec.is_moe())
        return fail({gs::ErrorKind::kInput, "dense_model", "There is no routing to compare", "this model is dense: it has no routed experts", "Give an MoE model with --model"});
    std::vector<int32_t> ids = tokenize_text(**model, *text);
    if (static_cast<int>(ids.size()) > o.max_tokens) ids.resize(static_cast<size_t>(o.max_tokens));
    if (ids.empty()) return fail({gs::ErrorKind::kInput, "text_too_short", "There is nothing to route", "the text has no tokens", "Give a longer text"});
    EngineOptions exact = o.engine;
    exact.precision = "exact";
    exact.kv = "f32";
    auto a = record(*model, exact, ids);
    if (!a) return fail(a.error());
    auto b = record(*model, o.engine, ids);
    if (!b) return fail(b.error());
    const Json result = report(**model, *a, *b);
    if (o.json) print_json(result);
    else print_report(result);
    return 0;
}

void add_precision_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<PrecisionOptions>();
    CLI::App* command = root.add_subcommand("precision", "How many routing decisions the fast precision changes, on a text");
    command->footer("Example: gatescope precision --text README.md");
    add_engine_options(*command, options->engine);
    command->add_option("--text", options->text_file, "text file; - is standard input")->required();
    command->add_option("--max-tokens", options->max_tokens, "at most so many tokens")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] { chosen = [options] { return precision(*options); }; });
}

}  // namespace app
