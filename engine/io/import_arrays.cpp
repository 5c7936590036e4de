// Routed experts as arrays. Neither program writes files of them: what is read here is what numpy.save and numpy.savez make of these arrays.
//   - vLLM, --enable-return-routed-experts (its documentation "Routed Experts Capture" and vllm/model_executor/layers/fused_moe/routed_experts_capturer.py):
//     `routed_experts` of a choice is [tokens - 1, num_hidden_layers, k] of the prompt and the answer (the last token was never fed), in the API a base64
//     .npy; uint8 with up to 256 experts, else uint16, earlier int16 or int32. Up to 0.21 `prompt_routed_experts` of the same form held the prompt's.
//     Layers without experts are there and hold zeros. Ids are the router's, from 0, best first where the router's kernel sorts.
//   - SGLang, return_routed_experts (python/sglang/srt/state_capturer/routed_experts.py): meta_info "routed_experts" is base64 of int32 without a shape, which
//     the reader reshapes to [prompt + answer - 1 - routed_experts_start_len, num_hidden_layers, num_experts_per_tok]; fused shared experts are cut off.
//   - SGLang's expert distribution recorder (--expert-distribution-recorder-mode per_token, srt/eplb/expert_distribution.py) writes torch.save files (.pt) whose
//     topk_ids_of_layer is [layers, tokens, 8], -1 where there is none: transpose it to [tokens, layers, 8] and numpy.save it.
//
// .npy: one array [tokens, layers, k] of ids. .npz: `routed_experts` or `expert_ids` (ids; may be preceded by `prompt_routed_experts`), and where there are
// any `weights` or `topk_weights` [tokens, layers, k], `router_logits` [tokens, layers, experts], `token_ids` or `input_ids` [tokens], `moe_layers` [layers], `phases` [tokens] (0 prefill, 1 decode).
// `gatescope export --format npz` writes these names. Ids below 0 and 65535 are fillers, and so are rows of k equal ids (k > 1): both programs start from zeros.
// A layer with nothing else is one without routed experts; a token with one elsewhere was not recorded. Without `moe_layers` layers count from 0.
#include <algorithm>

#include <fmt/format.h>

#include "engine/io/import_arrays.h"
#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"
#include "engine/io/npy.h"
#include "engine/io/zip.h"

namespace gs {
namespace {

constexpr int64_t kFiller = 65535;

/// k equal ids (k > 1): what was there before anything was recorded.
bool is_empty_row(const NpyArray& ids, int64_t token, int64_t layer) {
    const int64_t k = ids.shape[2], at = (token * ids.shape[1] + layer) * k;
    if (k < 2) return false;
    for (int64_t j = 1; j < k; ++j)
        if (ids.integer(at + j) != ids.integer(at)) return false;
    return true;
}

bool is_dense(const NpyArray& ids, int64_t layer) {
    for (int64_t t = 0; t < ids.shape[0]; ++t)
        if (!is_empty_row(ids, t, layer)) return false;
    return ids.shape[0] > 0;
}

Result<void> check_shapes(const RouteArrays& in) {
    const auto refuse = [](const char* what, const char* wanted) { return bad_import("shape_mismatch", fmt::format("{} {}", what, wanted)); };
    for (const NpyArray* ids : {in.ids, in.prompt}) {
        if (!ids) continue;
        if (ids->shape.size() != 3 || !ids->is_integer()) return refuse("the routed experts", "are not whole numbers [tokens, layers, k]: reshape what is flat");
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

Result<void> add_tokens(ImportBuilder& out, const NpyArray& ids, const RouteArrays& in, Phase phase, const std::vector<bool>& dense) {
    const int64_t n_layers = ids.shape[1], k = ids.shape[2];
    for (int64_t t = 0; t < ids.shape[0]; ++t) {
        const int64_t id = in.token_ids ? in.token_ids->integer(out.n_tokens()) : -1;
        const bool decoded = in.phases && in.phases->integer(out.n_tokens()) == 1;
        GS_TRY(const int token, out.add_token(id, decoded ? Phase::kDecode : phase));
        for (int64_t l = 0; l < n_layers; ++l) {
            if (dense[static_cast<size_t>(l)] || is_empty_row(ids, t, l)) continue;
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

void copy_logits(ImportBuilder& out, const RouteArrays& in, const std::vector<bool>& dense) {
    const int64_t n_tokens = in.logits->shape[0], n_layers = in.logits->shape[1], n_experts = in.logits->shape[2];
    out.n_experts = static_cast<int>(n_experts);
    out.logits.reserve(static_cast<size_t>(n_tokens * n_layers * n_experts));
    for (int64_t row = 0; row < n_tokens * n_layers; ++row) {
        if (dense[static_cast<size_t>(row % n_layers)]) continue;
        for (int64_t e = 0; e < n_experts; ++e) out.logits.push_back(static_cast<float>(in.logits->number(row * n_experts + e)));
    }
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

Result<TraceSnapshot> trace_of_arrays(const RouteArrays& in, const char* source, const std::filesystem::path& path, const std::string& model_name) {
    GS_TRY_VOID(check_shapes(in));
    ImportBuilder out;
    out.info.model_name = model_name;
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

bool is_npy(std::string_view head) { return head.starts_with("\x93NUMPY"); }
bool is_npz(std::string_view head) { return head.starts_with("PK\x03\x04"); }

Result<TraceSnapshot> read_npy_routes(const std::filesystem::path& path) {
    GS_TRY(const std::string file, read_whole_file(path));
    GS_TRY(const NpyArray ids, read_npy(bytes_of(file)));
    return trace_of_arrays({.ids = &ids}, "routed-experts array (.npy)", path);
}

Result<TraceSnapshot> read_npz_routes(const std::filesystem::path& path) {
    GS_TRY(const std::string file, read_whole_file(path));
    GS_TRY(const auto entries, read_zip(bytes_of(file), kMaxImportBytes));
    const auto is_pickle = [](const auto& entry) { return entry.first.ends_with("data.pkl"); };
    if (std::any_of(entries.begin(), entries.end(), is_pickle)) return bad_import("unsupported", "it is a file of torch.save: write its arrays with numpy.savez");
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
    const RouteArrays in{find({"prompt_routed_experts"}), find({"routed_experts", "expert_ids", "topk_ids"}), find({"weights", "topk_weights", "routed_weights"}),
                         find({"router_logits"}),         find({"token_ids", "input_ids"}),                   find({"moe_layers"}),
                         find({"phases"})};
    if (!in.ids) return bad_import("missing_tensor", "it has no array routed_experts or expert_ids");
    return trace_of_arrays(in, "routed-experts arrays (.npz)", path);
}

}  // namespace gs
