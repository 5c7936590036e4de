// Routed experts as arrays. vLLM returns `routed_experts` [tokens, layers, k] (CompletionOutput.routed_experts with enable_return_routed_experts; int16 to
// int32) and, up to 0.21, `prompt_routed_experts` of the same shape for the prompt (docs.vllm.ai/en/v0.21.0/training/routed_experts_replay). SGLang returns
// the same values as base64 of int32 (sglext or meta_info "routed_experts"), to be reshaped by the reader to [tokens, layers, k]. Neither writes files:
// what is read here is what numpy.save and numpy.savez make of these arrays.
//
// .npy: one array [tokens, layers, k] of ids. .npz: `routed_experts` or `expert_ids` (ids; may be preceded by `prompt_routed_experts`), and where there are
// any `weights` or `topk_weights` [tokens, layers, k], `router_logits` [tokens, layers, experts], `token_ids` or `input_ids` [tokens], `moe_layers` [layers], `phases` [tokens] (0 prefill, 1 decode).
// `gatescope export --format npz` writes these names. Ids below 0 and 65535 are fillers. A layer without routed experts is filled with zeros by some
// versions: a layer whose row is k equal ids for every token (k > 1) is left out. Without `moe_layers` layers count from 0.
#include <algorithm>

#include <fmt/format.h>

#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"
#include "engine/io/npy.h"
#include "engine/io/zip.h"

namespace gs {
namespace {

struct Arrays {
    const NpyArray *prompt = nullptr, *ids = nullptr, *weights = nullptr, *logits = nullptr, *token_ids = nullptr, *layers = nullptr, *phases = nullptr;
};

constexpr int64_t kFiller = 65535;

bool is_dense(const NpyArray& ids, int64_t layer) {
    const int64_t n_layers = ids.shape[1], k = ids.shape[2];
    if (k < 2) return false;
    for (int64_t t = 0; t < ids.shape[0]; ++t) {
        const int64_t row = (t * n_layers + layer) * k, first = ids.integer(row);
        for (int64_t j = 1; j < k; ++j)
            if (ids.integer(row + j) != first) return false;
    }
    return true;
}

Result<void> check_shapes(const Arrays& in) {
    const auto refuse = [](const char* what, const char* wanted) { return bad_import("shape_mismatch", fmt::format("{} {}", what, wanted)); };
    for (const NpyArray* ids : {in.ids, in.prompt}) {
        if (!ids) continue;
        if (ids->shape.size() != 3 || !ids->is_integer()) return refuse("the routed experts", "are not whole numbers [tokens, layers, k]");
        if (ids->shape[1] > 512 || ids->shape[2] > 1024 || ids->shape[0] > 1 << 24) return refuse("the routed experts", "have more layers, experts or tokens than can be shown");
    }
    if (in.prompt && (in.prompt->shape[1] != in.ids->shape[1] || in.prompt->shape[2] != in.ids->shape[2])) return refuse("prompt_routed_experts", "do not fit routed_experts");
    if (in.prompt && (in.weights || in.logits)) return refuse("weights or logits", "beside prompt_routed_experts cannot be told apart");
    if (in.weights && in.weights->shape != in.ids->shape) return refuse("the weights", "do not have the shape of the routed experts");
    if (in.logits && (in.logits->shape.size() != 3 || in.logits->kind != 'f' || in.logits->shape[0] != in.ids->shape[0] || in.logits->shape[1] != in.ids->shape[1] || in.logits->shape[2] > 1024))
        return refuse("router_logits", "are not floats [tokens, layers, experts]");
    const int64_t n_tokens = in.ids->shape[0] + (in.prompt ? in.prompt->shape[0] : 0);
    if (in.token_ids && (in.token_ids->shape.size() != 1 || !in.token_ids->is_integer() || in.token_ids->shape[0] < n_tokens)) return refuse("the token ids", "are fewer than the tokens");
    if (in.phases && (in.phases->shape.size() != 1 || !in.phases->is_integer() || in.phases->shape[0] < n_tokens)) return refuse("the phases", "are fewer than the tokens");
    if (in.layers && (in.layers->shape.size() != 1 || !in.layers->is_integer() || in.layers->shape[0] != in.ids->shape[1])) return refuse("moe_layers", "are not one number a layer");
    return {};
}

Result<void> add_tokens(ImportBuilder& out, const NpyArray& ids, const Arrays& in, Phase phase, const std::vector<bool>& dense) {
    const int64_t n_layers = ids.shape[1], k = ids.shape[2];
    for (int64_t t = 0; t < ids.shape[0]; ++t) {
        const int64_t id = in.token_ids ? in.token_ids->integer(out.n_tokens()) : -1;
        const bool decoded = in.phases && in.phases->integer(out.n_tokens()) == 1;
        GS_TRY(const int token, out.add_token(id, decoded ? Phase::kDecode : phase));
        for (int64_t l = 0; l < n_layers; ++l) {
            if (dense[static_cast<size_t>(l)]) continue;
            const int64_t layer = in.layers ? in.layers->integer(l) : l;
            for (int64_t j = 0; j < k; ++j) {
                const int64_t at = (t * n_layers + l) * k + j, expert = ids.integer(at);
                if (expert < 0 || expert == kFiller) continue;
                GS_TRY_VOID(out.add(token, layer, expert, in.weights ? static_cast<float>(in.weights->number(at)) : std::numeric_limits<float>::quiet_NaN()));
            }
        }
    }
    return {};
}

void copy_logits(ImportBuilder& out, const Arrays& in, const std::vector<bool>& dense) {
    const int64_t n_tokens = in.logits->shape[0], n_layers = in.logits->shape[1], n_experts = in.logits->shape[2];
    out.n_experts = static_cast<int>(n_experts);
    out.logits.reserve(static_cast<size_t>(n_tokens * n_layers * n_experts));
    for (int64_t row = 0; row < n_tokens * n_layers; ++row) {
        if (dense[static_cast<size_t>(row % n_layers)]) continue;
        for (int64_t e = 0; e < n_experts; ++e) out.logits.push_back(static_cast<float>(in.logits->number(row * n_experts + e)));
    }
}

Result<TraceSnapshot> build(const Arrays& in, const char* source, const std::filesystem::path& path) {
    GS_TRY_VOID(check_shapes(in));
    ImportBuilder out;
    out.info.lacks.text = true;
    std::vector<bool> dense;
    int n_dense = 0;
    for (int64_t l = 0; l < in.ids->shape[1]; ++l) {
        dense.push_back(is_dense(*in.ids, l) && (!in.prompt || is_dense(*in.prompt, l)));
        n_dense += dense.back();
    }
    if (n_dense > 0) out.info.notes.push_back(fmt::format("{} of {} layers have the same id in every place for every token: they are taken as layers without routed experts.", n_dense, dense.size()));
    if (in.logits) copy_logits(out, in, dense);
    if (in.prompt) {
        GS_TRY_VOID(add_tokens(out, *in.prompt, in, Phase::kPrefill, dense));
    }
    GS_TRY_VOID(add_tokens(out, *in.ids, in, in.prompt ? Phase::kDecode : Phase::kPrefill, dense));
    out.info.lacks.phases = !in.prompt && !in.phases;
    out.info.lacks.weights = !in.weights;
    return out.build(source, path);
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

bool is_npy(std::string_view head) { return head.starts_with("\x93NUMPY"); }
bool is_npz(std::string_view head) { return head.starts_with("PK\x03\x04"); }

Result<TraceSnapshot> read_npy_routes(const std::filesystem::path& path) {
    GS_TRY(const std::string file, read_whole_file(path));
    GS_TRY(const NpyArray ids, read_npy(bytes_of(file)));
    return build({.ids = &ids}, "routed-experts array (.npy)", path);
}

Result<TraceSnapshot> read_npz_routes(const std::filesystem::path& path) {
    GS_TRY(const std::string file, read_whole_file(path));
    GS_TRY(const auto entries, read_zip(bytes_of(file), kMaxImportBytes));
    std::map<std::string, NpyArray> arrays;
    for (const auto& [name, content] : entries) {
        if (!name.ends_with(".npy")) continue;
        Result<NpyArray> array = read_npy(bytes_of(content));
        if (array) arrays.emplace(name.substr(0, name.size() - 4), *array);   // others may be of any type
    }
    const auto find = [&](std::initializer_list<const char*> names) -> const NpyArray* {
        for (const char* name : names)
            if (const auto it = arrays.find(name); it != arrays.end()) return &it->second;
        return nullptr;
    };
    const Arrays in{find({"prompt_routed_experts"}), find({"routed_experts", "expert_ids", "topk_ids"}), find({"weights", "topk_weights", "routed_weights"}),
                    find({"router_logits"}),         find({"token_ids", "input_ids"}),                   find({"moe_layers"}),
                    find({"phases"})};
    if (!in.ids) return bad_import("missing_tensor", "it has no array routed_experts or expert_ids");
    return build(in, "routed-experts arrays (.npz)", path);
}

}  // namespace gs
