// What the subcommands share: engine and run options, opening a model with progress, JSON output, errors, Ctrl+C.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/decode/decoder.h"
#include "engine/run/evaluate.h"
#include "engine/run/run_types.h"
#include "engine/run/start_engine.h"

namespace app {

using Json = nlohmann::ordered_json;

/// --engine, --gpu-layers.
struct EngineChoice {
    std::string engine = "auto", gpu_layers = "auto";
};
void add_engine_choice(CLI::App& command, EngineChoice& choice);
gs::EngineRequest engine_request(const EngineChoice& choice, const gs::OpsOptions& ops);

/// --model, --threads, --precision, --reading, --context: which engine runs which file.
struct EngineOptions {
    std::string model;                 ///< empty: the bundled one
    int n_threads = 0;
    std::string precision = "fast";
    std::string kv = "auto";
    EngineChoice choice;
    std::string reading = "llamacpp";
    int n_ctx = 0;
};
void add_engine_options(CLI::App& command, EngineOptions& options);
/// --reading, for those without the others.
void add_reading_option(CLI::App& command, std::string& reading);
gs::Reading parse_reading(const std::string& text);
gs::EngineRequest engine_request(const EngineOptions& options);
/// Says on stderr, once, where the engine is not the one that was asked for.
std::shared_ptr<gs::Ops> make_ops(const EngineOptions& options);
/// The same for a model's layers: as many as --gpu-layers says on the device, all of them if it says nothing.
std::vector<gs::StageEngine> make_stages(const EngineOptions& options, int n_layers);
/// A decoder on the engine asked for, as far as the model fits it; says where that is not all of it.
gs::Result<std::unique_ptr<gs::Decoder>> make_decoder(std::shared_ptr<const gs::Model> model, const EngineOptions& options, int n_ctx);
/// Loads the model with progress on stderr (on a terminal) and its warnings.
gs::Result<std::shared_ptr<const gs::Model>> open_model(const EngineOptions& options);
gs::Result<std::unique_ptr<gs::Decoder>> open_decoder(const EngineOptions& options);

/// --prompt / --prompt-file, -n, --raw, --policy, --sampler, --seed, --greedy.
struct PromptOptions {
    std::string prompt, prompt_file, policy = "native", sampler;
    bool raw = false, greedy = false;
    int n_tokens = 128;
    uint64_t seed = 0;                 ///< 0: the default
};
void add_prompt_options(CLI::App& command, PromptOptions& options);
gs::Result<gs::RunRequest> make_request(const PromptOptions& options);
/// A whole run to its end; on_token after every step, for streaming.
gs::Result<gs::RunResult> run_to_end(gs::Decoder& decoder, const gs::RunRequest& request, bool capture = true,
                                     const std::function<void(const gs::RunResult&)>& on_token = {});

/// Token ids of a text to be scored, BOS as the file asks.
std::vector<int32_t> tokenize_text(const gs::Model& model, const std::string& text);

/// Set by Ctrl+C.
gs::CancelFlag& interrupt_flag();
void print_json(const Json& object);
/// Prints the message to stderr; returns its exit code.
int fail(const gs::Error& error);

Json to_json(const std::vector<double>& values);
/// One scored policy, for `sweep` and `compare`.
Json score_json(const gs::PolicyScore& score, const gs::ModelSpec& spec);
void print_score_header();
void print_score(const gs::PolicyScore& score);
/// Load per MoE layer as in the `run` schema: [{layer, experts, k, load[E]}].
Json routing_json(const gs::TraceSnapshot& trace);

}  // namespace app
