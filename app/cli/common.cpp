#include "app/cli/common.h"

#include <csignal>
#include <cstdio>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "app/base/paths.h"
#include "app/base/texts.h"
#include "engine/model/model.h"
#include "engine/ops/ops.h"
#include "engine/routing/metrics.h"
#include "engine/run/generator.h"

namespace app {

void add_engine_options(CLI::App& command, EngineOptions& options) {
    command.add_option("-m,--model", options.model, "GGUF file (default: the bundled model)");
    command.add_option("-t,--threads", options.n_threads, "threads; 0 = all cores this process may use")->check(CLI::Range(0, 1024));
    command.add_option("--precision", options.precision, "fast: 16-bit activations on quantized weights; exact: f32")
        ->check(CLI::IsMember({"fast", "exact"}))->capture_default_str();
    command.add_option("--kv", options.kv, "how keys and values are kept; auto: f16 with fast, f32 with exact")
        ->check(CLI::IsMember({"auto", "f16", "f32"}))->capture_default_str();
    add_engine_choice(command, options.choice);
    add_reading_option(command, options.reading);
    command.add_option("-c,--context", options.n_ctx, "context length in tokens; 0 = the trained one, at most 4096")->check(CLI::Range(0, 1 << 20));
}

void add_reading_option(CLI::App& command, std::string& reading) {
    command.add_option("--reading", reading, "where they differ: decide as llama.cpp does, or as the authors' reference code")
        ->check(CLI::IsMember({"llamacpp", "reference"}))->capture_default_str();
}

gs::Reading parse_reading(const std::string& text) {
    return text == gs::name_of(gs::Reading::kReference) ? gs::Reading::kReference : gs::Reading::kLlamaCpp;
}

void add_engine_choice(CLI::App& command, EngineChoice& choice) {
    command.add_option("--engine", choice.engine, "auto: CUDA as far as a device has room, else the processor; cpu; cuda; reference: the slow oracle")
        ->check(CLI::IsMember({"auto", "cpu", "cuda", "reference"}))->capture_default_str();
    command.add_option("--gpu-layers", choice.gpu_layers, "layers on the CUDA device, counted from the last; auto: as many as fit")
        ->check(CLI::IsMember({"auto"}) | CLI::Range(0, 1 << 20))->capture_default_str();
}

gs::EngineRequest engine_request(const EngineChoice& choice, const gs::OpsOptions& ops) {
    gs::EngineRequest request{.kind = gs::parse_engine(choice.engine).value_or(gs::EngineKind::kAuto), .ops = ops};
    if (choice.gpu_layers != "auto") request.gpu_layers = std::stoi(choice.gpu_layers);
    return request;
}

gs::EngineRequest engine_request(const EngineOptions& options) {
    gs::OpsOptions ops{.n_threads = options.n_threads, .precision = options.precision == "exact" ? gs::Precision::kExact : gs::Precision::kFast};
    if (options.kv != "auto") ops.kv_type = options.kv == "f16" ? gs::KvType::kF16 : gs::KvType::kF32;
    return engine_request(options.choice, ops);
}

static void say_once(const std::string& remark) {
    static bool said = false;
    if (!remark.empty() && !std::exchange(said, true)) fmt::print(stderr, "gatescope: {}\n", remark);
}

std::shared_ptr<gs::Ops> make_ops(const EngineOptions& options) {
    const gs::EngineRequest request = engine_request(options);
    gs::MadeOps made = gs::make_ops(request.kind, request.ops);
    say_once(made.remark);
    return made.ops;
}

std::vector<gs::StageEngine> make_stages(const EngineOptions& options, int n_layers) {
    const gs::EngineRequest request = engine_request(options);
    const gs::MadeOps made = gs::make_ops(request.kind, request.ops);
    say_once(made.remark);
    return gs::divide_layers(n_layers, made.on_device ? request.gpu_layers.value_or(n_layers) : n_layers, made.ops, request.ops);
}

gs::Result<std::unique_ptr<gs::Decoder>> make_decoder(std::shared_ptr<const gs::Model> model, const EngineOptions& options, int n_ctx) {
    const bool show_progress = isatty(STDERR_FILENO);
    gs::DecoderOptions how{.n_ctx = n_ctx};
    how.on_weights = [show_progress](uint64_t done, uint64_t total) {
        if (show_progress) fmt::print(stderr, "\r{} of {} MB to the device{}", done / 1000000, total / 1000000, done < total ? "" : "\r\x1b[K");
        return !interrupt_flag().is_set();
    };
    GS_TRY(gs::StartedEngine started, gs::start_engine(std::move(model), engine_request(options), how));
    say_once(started.remark);
    return std::move(started.decoder);
}

gs::Result<std::shared_ptr<const gs::Model>> open_model(const EngineOptions& options) {
    const bool show_progress = isatty(STDERR_FILENO);
    gs::LoadOptions load{.n_ctx = options.n_ctx, .cancel = &interrupt_flag()};
    load.reading = parse_reading(options.reading);
    const gs::EngineRequest request = engine_request(options);
    load.kv_type = gs::kv_type_of(request.kind, request.ops);
    if (show_progress)
        load.progress = [](uint64_t done, uint64_t total) {
            fmt::print(stderr, "\rloading {} of {} MB", done / 1000000, total / 1000000);
        };
    const std::filesystem::path path = options.model.empty() ? bundled_model_path() : std::filesystem::path(options.model);
    auto model = gs::Model::load(path, load);
    if (show_progress) fmt::print(stderr, "\r\x1b[K");
    if (model)
        for (const std::string& warning : (*model)->warnings) fmt::print(stderr, "gatescope: {}\n", warning);
    return model;
}

gs::Result<std::unique_ptr<gs::Decoder>> open_decoder(const EngineOptions& options) {
    GS_TRY(std::shared_ptr<const gs::Model> model, open_model(options));
    return make_decoder(std::move(model), options, options.n_ctx);
}

void add_prompt_options(CLI::App& command, PromptOptions& options) {
    auto* text = command.add_option("-p,--prompt", options.prompt, "what to ask the model");
    command.add_option("-f,--prompt-file", options.prompt_file, "read the prompt from a file; - is standard input")->excludes(text);
    command.add_option("-n,--tokens", options.n_tokens, "most tokens to generate")->check(CLI::Range(0, 1 << 20))->capture_default_str();
    command.add_flag("--raw", options.raw, "feed the prompt as it is, without the chat template");
    command.add_option("--policy", options.policy, "routing policy, e.g. k=1  soft  rule=topk,k=2,k@4-7=1,mask@3=5:9")->capture_default_str();
    command.add_option("--sampler", options.sampler, "e.g. temp=0.7,top_p=0.9,repeat=1.1,seed=1  or  greedy");
    command.add_option("--seed", options.seed, "seed of the sampler; 0 = its default")->capture_default_str();
    command.add_flag("--greedy", options.greedy, "always the most probable token");
}

gs::Result<gs::RunRequest> make_request(const PromptOptions& options) {
    gs::RunRequest request;
    request.prompt = options.prompt;
    if (!options.prompt_file.empty()) {
        GS_TRY(request.prompt, read_text_file(options.prompt_file));
    }
    request.mode = options.raw ? gs::PromptMode::kRaw : gs::PromptMode::kChat;
    request.max_new_tokens = options.n_tokens;
    GS_TRY(request.policy, gs::Policy::parse(options.policy));
    if (!options.sampler.empty()) {
        GS_TRY(request.sampler, gs::SamplerSettings::parse(options.sampler));
    }
    if (options.greedy) request.sampler.temperature = 0;
    if (options.seed) request.sampler.seed = options.seed;
    return request;
}

gs::Result<gs::RunResult> run_to_end(gs::Decoder& decoder, const gs::RunRequest& request, bool capture,
                                     const std::function<void(const gs::RunResult&)>& on_token) {
    GS_TRY(auto generator, gs::Generator::start(decoder, request, 1, capture));
    while (!generator->done()) {
        GS_TRY_VOID(generator->step(&interrupt_flag()));
        if (on_token) on_token(generator->result());
    }
    return generator->result();
}

std::vector<int32_t> tokenize_text(const gs::Model& model, const std::string& text) {
    std::vector<int32_t> ids = model.tokenizer->encode(text, gs::SpecialTokens::kAsText);
    model.tokenizer->add_special(ids);
    return ids;
}

gs::CancelFlag& interrupt_flag() {
    static gs::CancelFlag flag;
    static const bool installed = [] {
        // A second Ctrl+C ends the program at once.
        std::signal(SIGINT, [](int) {
            flag.set();
            std::signal(SIGINT, SIG_DFL);
        });
        return true;
    }();
    (void)installed;
    return flag;
}

void print_json(const Json& object) {
    // Token texts can be fragments of a UTF-8 character: replaced, because JSON cannot hold them.
    const std::string text = object.dump(2, ' ', false, Json::error_handler_t::replace);
    fmt::print("{}\n", text);
}

int fail(const gs::Error& error) {
    fmt::print(stderr, "gatescope: {}\n", error.message());
    return gs::exit_code(error.kind);
}

Json to_json(const std::vector<double>& values) {
    Json array = Json::array();
    for (double v : values) array.push_back(v);
    return array;
}

Json routing_json(const gs::TraceSnapshot& trace) {
    Json layers = Json::array();
    for (int m = 0; m < trace.n_moe_layers(); m++) {
        const gs::LayerLoad load = gs::layer_load(trace, m, gs::PhaseFilter::kBoth);
        const double k = load.n_tokens ? static_cast<double>(load.n_assignments) / load.n_tokens : 0;
        layers.push_back({{"layer", trace.info().moe_layers[static_cast<size_t>(m)]},
                          {"experts", trace.n_experts()},
                          {"k", k},
                          {"tokens", load.n_tokens},
                          {"load", load.counts}});
    }
    return layers;
}

}  // namespace app
