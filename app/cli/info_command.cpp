// gatescope info: what a model file is and what it needs, before anything is loaded.
#include <fmt/format.h>

#include "app/base/paths.h"
#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/model/model.h"
#include "engine/ops/cuda/cuda_engine.h"
#include "engine/run/plan_layers.h"

namespace app {

static Json info_json(const gs::GgufFile& file, const gs::ModelEstimate& e, bool all) {
    const gs::ModelSpec& s = e.spec;
    Json out = {{"name", s.name},
                {"architecture", s.architecture},
                {"family", s.family},
                {"layers", s.n_layers},
                {"width", s.n_embd},
                {"vocabulary", s.n_vocab},
                {"heads", s.n_heads},
                {"kv_heads", s.n_kv_heads},
                {"experts", s.router.n_experts},
                {"experts_used", s.router.n_used},
                {"expert_width", s.expert_ff},
                {"shared_width", s.shared_ff},
                {"moe_layers", s.moe_layers},
                {"parameters", e.total_params},
                {"active_parameters", e.active_params},
                {"file_bytes", e.file_bytes},
                {"weight_bytes", e.weight_bytes},
                {"kv_bytes", e.kv_bytes},
                {"work_bytes", e.work_bytes},
                {"memory_needed", e.total()},
                {"memory_available", e.memory_available}};
    if (!all) return out;
    for (const gs::GgufEntry& entry : file.entries()) out["metadata"].push_back({{"key", entry.key}, {"type", entry.type}, {"value", entry.value}});
    for (const gs::GgufTensor& t : file.tensors())
        out["tensors"].push_back({{"name", gs::sanitise_for_display(t.name)}, {"type", gs::tensor_type_info(t.type).name},
                                  {"dims", std::vector<uint64_t>(t.dims.begin(), t.dims.begin() + t.n_dims)}, {"bytes", t.n_bytes}});
    return out;
}

/// What a CUDA device would take of it, where there is one.
static gs::Result<Json> device_json(const gs::GgufFile& file, int n_ctx) {
    GS_TRY(const std::unique_ptr<gs::Ops> device, gs::make_cuda_ops({}));
    GS_TRY(gs::ModelSpec spec, gs::read_model_spec(file));
    std::vector<std::string> warnings;
    GS_TRY(const gs::ModelWeights weights, gs::bind_weights(file, spec, warnings));
    const gs::LayerPlan plan = gs::plan_layers(spec, weights, *device, {.n_ctx = n_ctx});
    return Json{{"name", device->name()}, {"free_bytes", plan.free_bytes},   {"layers", plan.n_on_device},
                {"bytes", plan.device_bytes}, {"bytes_of_all", plan.whole_bytes}, {"shorter_context", plan.shorter_n_ctx}, {"layers_with_it", plan.n_with_shorter}};
}

static void print_device(const Json& device, int n_layers) {
    const auto mb = [&](const char* key) { return static_cast<double>(device[key].get<uint64_t>()) / 1e6; };
    const int n = device["layers"].get<int>();
    fmt::print("{}: {} of {} layers fit, which take {:.1f} MB of {:.1f} MB free", device["name"].get<std::string>(), n, n_layers, mb("bytes"), mb("free_bytes"));
    if (n < n_layers) fmt::print("; all would take {:.1f} MB", mb("bytes_of_all"));
    if (const int shorter = device["shorter_context"].get<int>()) fmt::print("; a context of {} would let {} fit", shorter, device["layers_with_it"].get<int>());
    fmt::print("\n");
}

static void print_info(const Json& info, const gs::ModelEstimate& e, int n_ctx) {
    const gs::ModelSpec& s = e.spec;
    fmt::print("{}  ({}, architecture {})\n", s.name, s.family, s.architecture);
    fmt::print("{} layers, width {}, {} heads ({} for keys and values), vocabulary {}\n", s.n_layers, s.n_embd, s.n_heads, s.n_kv_heads, s.n_vocab);
    if (s.is_moe())
        fmt::print("{} MoE layers: {} experts of width {}, {} per token{}\n", s.moe_layers.size(), s.router.n_experts, s.expert_ff, s.router.n_used,
                   s.shared_ff ? fmt::format(", shared expert of width {}", s.shared_ff) : std::string());
    else
        fmt::print("dense: no routed experts\n");
    fmt::print("{:.1f} M parameters, {:.1f} M active per token\n", e.total_params / 1e6, e.active_params / 1e6);
    fmt::print("memory: weights {:.1f} MB + keys and values {:.1f} MB ({} tokens) + work {:.1f} MB = {:.1f} MB; available {:.0f} MB\n", e.weight_bytes / 1e6,
               e.kv_bytes / 1e6, n_ctx, e.work_bytes / 1e6, e.total() / 1e6, e.memory_available / 1e6);
    if (info.contains("device")) print_device(info["device"], s.n_layers);
    if (info.contains("metadata"))
        for (const Json& m : info["metadata"]) fmt::print("  {} = {}\n", m["key"].get<std::string>(), m["value"].get<std::string>());
    if (info.contains("tensors"))
        for (const Json& t : info["tensors"])
            fmt::print("  {:<40} {:<8} {}\n", t["name"].get<std::string>(), t["type"].get<std::string>(), t["dims"].dump());
}

static int show_info(const std::string& path, int n_ctx, bool all, bool json) {
    auto file = gs::GgufFile::open(path);
    if (!file) return fail(file.error());
    auto estimate = gs::estimate_model(path, n_ctx);
    if (!estimate) return fail(estimate.error());
    Json info = info_json(*file, *estimate, all);
    if (const auto device = device_json(*file, n_ctx)) info["device"] = *device;
    if (json)
        print_json(info);
    else
        print_info(info, *estimate, n_ctx);
    return 0;
}

void add_info_command(CLI::App& root, CommandBody& chosen) {
    struct Options {
        std::string file;
        int n_ctx = 4096;
        bool all = false, json = false;
    };
    auto options = std::make_shared<Options>();
    CLI::App* command = root.add_subcommand("info", "What a model file is, and the memory it needs");
    command->footer("Example: gatescope info mixtral.gguf -c 8192");
    command->add_option("FILE,-m,--model", options->file, "GGUF file (default: the bundled model)");
    command->add_option("-c,--context", options->n_ctx, "context length for the estimate")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    command->add_flag("--all", options->all, "metadata and tensors too");
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] {
        chosen = [options] {
            return show_info(options->file.empty() ? bundled_model_path().string() : options->file, options->n_ctx, options->all, options->json);
        };
    });
}

}  // namespace app
