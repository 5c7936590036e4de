// gatescope trace: record a run into a file, or describe a recorded one.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/io/import_trace.h"
#include "engine/io/trace_file.h"
#include "engine/routing/metrics.h"

namespace app {

static int record(const EngineOptions& engine, const PromptOptions& prompt, const std::string& out) {
    auto request = make_request(prompt);
    if (!request) return fail(request.error());
    auto decoder = open_decoder(engine);
    if (!decoder) return fail(decoder.error());
    auto run = run_to_end(**decoder, *request);
    if (!run) return fail(run.error());
    if (auto saved = gs::save_trace(run->trace, out); !saved) return fail(saved.error());
    fmt::print(stderr, "{}: {} tokens, {} MoE layers, {} experts\n", out, run->trace.n_tokens(), run->trace.n_moe_layers(), run->trace.n_experts());
    return 0;
}

static Json describe(const gs::TraceSnapshot& trace, gs::PhaseFilter phase) {
    Json layers = Json::array();
    for (int m = 0; m < trace.n_moe_layers(); m++) {
        const gs::LayerLoad load = gs::layer_load(trace, m, phase);
        const gs::BalanceMetrics b = gs::balance(load.counts);
        const double k = load.n_tokens ? static_cast<double>(load.n_assignments) / load.n_tokens : 0;
        const gs::UniformNull null = gs::uniform_null(trace.n_experts(), k, load.n_tokens);
        layers.push_back({{"layer", trace.info().moe_layers[static_cast<size_t>(m)]},
                          {"tokens", load.n_tokens},
                          {"k", k},
                          {"load", load.counts},
                          {"entropy", b.entropy},
                          {"effective_experts", b.effective_experts},
                          {"cv", b.cv},
                          {"gini", b.gini},
                          {"jain", b.jain},
                          {"max_vio", b.max_vio},
                          {"idle", b.n_idle},
                          {"null", {{"share", null.share}, {"band", {null.band_low, null.band_high}}, {"entropy", null.entropy}}}});
    }
    const gs::TraceInfo& info = trace.info();
    std::string text;
    for (int t = 0; t < trace.n_tokens(); t++) text += trace.token(t).text;
    return {{"model", info.model_name}, {"file", info.model_file},         {"hash", info.model_hash}, {"engine", info.engine},
            {"reading", info.reading},
            {"prompt", info.prompt},    {"template", info.template_name},  {"sampler", info.sampler}, {"provenance", gs::name_of(info.provenance)},
            {"imported_from", info.source.empty() ? Json(nullptr) : Json(info.source)}, {"lacks", gs::lacks_text(info.lacks)}, {"notes", info.notes},
            {"tokens", trace.n_tokens()}, {"experts", trace.n_experts()}, {"text", text},            {"layers", layers}};
}

static int show(const std::string& file, const std::string& phase_name, bool json) {
    auto trace = gs::open_trace(file);
    if (!trace) return fail(trace.error());
    const gs::PhaseFilter phase = phase_name == "prefill" ? gs::PhaseFilter::kPrefill
                                  : phase_name == "decode" ? gs::PhaseFilter::kDecode
                                                           : gs::PhaseFilter::kBoth;
    const Json description = describe(*trace, phase);
    if (json) {
        print_json(description);
        return 0;
    }
    fmt::print("{}: {}, {} tokens, {} experts, engine {}\n", file, description["model"].get<std::string>(), trace->n_tokens(), trace->n_experts(),
               description["engine"].get<std::string>());
    const gs::TraceInfo& info = trace->info();
    if (!info.source.empty()) fmt::print("imported from {}. {}\n", info.source, gs::lacks_text(info.lacks));
    for (const std::string& note : info.notes) fmt::print("{}\n", note);
    for (const Json& layer : description["layers"])
        fmt::print("layer {:2}  k {:.2f}  entropy {:.3f} (uniform {:.3f})  CV {:.2f}  Gini {:.2f}  MaxVio {:.2f}  idle {}\n", layer["layer"].get<int>(),
                   layer["k"].get<double>(), layer["entropy"].get<double>(), layer["null"]["entropy"].get<double>(), layer["cv"].get<double>(),
                   layer["gini"].get<double>(), layer["max_vio"].get<double>(), layer["idle"].get<int>());
    return 0;
}

static std::string imported_formats() {
    std::string text;
    for (const gs::Importer& importer : gs::importers()) text += fmt::format("\n  {} ({}); lacks {}", importer.name, importer.extensions, importer.lacks);
    return text;
}

void add_trace_command(CLI::App& root, CommandBody& chosen) {
    struct Options {
        EngineOptions engine;
        PromptOptions prompt;
        std::string out, file, phase = "both";
        bool json = false;
    };
    auto options = std::make_shared<Options>();
    CLI::App* command = root.add_subcommand("trace", "Record a run into a trace file, or describe one");
    command->footer("Read as well, recorded by other programs: " + imported_formats() + "\nExamples: gatescope trace --prompt \"What is a llama?\" --out llama.safetensors\n          gatescope trace llama.safetensors --json");
    add_engine_options(*command, options->engine);
    add_prompt_options(*command, options->prompt);
    auto* out = command->add_option("-o,--out", options->out, "file to write (.safetensors)");
    command->add_option("FILE", options->file, "recorded run to describe")->excludes(out);
    command->add_option("--phase", options->phase, "tokens to count")->check(CLI::IsMember({"both", "prefill", "decode"}))->capture_default_str();
    command->add_flag("--json", options->json, "description as one JSON object");
    command->callback([options, &chosen] {
        if (options->out.empty() && options->file.empty()) throw CLI::ValidationError("trace", "give --out FILE to record, or a FILE to describe");
        chosen = [options] {
            return options->file.empty() ? record(options->engine, options->prompt, options->out) : show(options->file, options->phase, options->json);
        };
    });
}

}  // namespace app
