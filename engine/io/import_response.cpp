// Answers of servers, as curl saves them: one JSON object (of a list the first), with the routed experts in base64 (forms in import_arrays.cpp).
//   - vLLM, /v1/completions and /v1/chat/completions (vllm/entrypoints/openai/completion/protocol.py, CompletionResponseChoice): choices[0].routed_experts, a .npy
//     file; up to 0.21 `prompt_routed_experts` beside choices as well; token_ids and prompt_token_ids where return_token_ids asked for them.
//   - SGLang, /generate: meta_info.routed_experts, int32 without a shape, with prompt_tokens and completion_tokens; output_ids. Its OpenAI API: sglext.routed_experts,
//     and usage. The rows are those of prompt and answer but the last token, from routed_experts_start_len on, which the answer does not hold: 0 is taken.
//     Neither layers nor k are there: k is the largest divisor of a token's ids for which no layer has an id twice, but for layers of k equal ones.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/io/base64.h"
#include "engine/io/import_arrays.h"
#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"
#include "engine/io/json_depth.h"

namespace gs {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 16;

/// The member at the end of a path of names; null where it is not there or null.
const json* at_path(const json& from, std::initializer_list<const char*> names) {
    const json* value = &from;
    for (const char* name : names) {
        const auto it = value->is_object() ? value->find(name) : value->end();
        if (!value->is_object() || it == value->end()) return nullptr;
        value = &*it;
    }
    return value->is_null() ? nullptr : value;
}

Result<std::string> decoded_base64(const std::string& text) {
    if (auto bytes = bytes_of_base64(text)) return std::move(*bytes);
    return bad_import("bad_value", "the routed experts are not base64");
}

/// [tokens, layers, k] of int32 values without a shape. Errors: "shape_mismatch".
Result<NpyArray> shaped(const std::string& bytes, int64_t n_tokens) {
    NpyArray ids{.kind = 'i', .item_bytes = 4, .shape = {}, .bytes = std::as_bytes(std::span(bytes))};
    const auto n_values = static_cast<int64_t>(bytes.size() / 4);
    if (n_tokens < 1 || n_values < 1 || bytes.size() % 4 != 0 || n_values % n_tokens != 0)
        return bad_import("shape_mismatch", fmt::format("{} bytes of routed experts do not divide into int32 values of {} tokens (prompt and answer but the last)", bytes.size(), n_tokens));
    const int64_t n_row = n_values / n_tokens;
    ids.shape = {n_values};
    std::vector<int64_t> group;
    const auto fits = [&](int64_t k) {
        for (int64_t begin = 0; begin < n_values; begin += k) {
            group.clear();
            for (int64_t j = 0; j < k; ++j) group.push_back(ids.integer(begin + j));
            std::sort(group.begin(), group.end());
            if (group.front() != group.back() && std::adjacent_find(group.begin(), group.end()) != group.end()) return false;
        }
        return true;
    };
    for (int64_t k = std::min<int64_t>(n_row, 1024); k > 0; --k)
        if (n_row % k == 0 && fits(k)) {
            ids.shape = {n_tokens, n_row / k, k};
            return ids;
        }
    return bad_import("shape_mismatch", "the routed experts have no shape");   // not reached: 1 fits
}

/// Whole numbers as an array that lives as long as they do.
NpyArray array_of(const std::vector<int64_t>& values) {
    return {.kind = 'i', .item_bytes = 8, .shape = {static_cast<int64_t>(values.size())}, .bytes = std::as_bytes(std::span(values))};
}

int64_t whole_at(const json& from, std::initializer_list<const char*> names) {
    const json* value = at_path(from, names);
    return value && value->is_number_integer() && value->get<double>() < 1e9 ? value->get<int64_t>() : -1;
}

/// Appends the ids of a list; false if it is none.
bool append_ids(const json* list, std::vector<int64_t>& out) {
    if (!list || !list->is_array()) return false;
    for (const json& id : *list) out.push_back(id.is_number_integer() && id.get<double>() < 2e9 ? id.get<int64_t>() : -1);
    return true;
}

struct Answer {
    const json& root;
    const json& choice;                          ///< null: none
    const json* experts() const {
        for (const json* found : {at_path(choice, {"routed_experts"}), at_path(choice, {"meta_info", "routed_experts"}), at_path(root, {"meta_info", "routed_experts"}),
                                  at_path(root, {"sglext", "routed_experts"})})
            if (found && found->is_string()) return found;
        return nullptr;
    }
    int64_t count(const char* name) const { return std::max(whole_at(root, {"usage", name}), whole_at(root, {"meta_info", name})); }
};

Result<TraceSnapshot> trace_of(const Answer& answer, const std::filesystem::path& path) {
    const json* experts = answer.experts();
    if (!experts) return bad_import("no_routes", "the answer has no routed_experts: start vLLM with --enable-return-routed-experts, ask SGLang with return_routed_experts");
    GS_TRY(const std::string bytes, decoded_base64(experts->get_ref<const std::string&>()));
    const int64_t n_prompt = answer.count("prompt_tokens"), n_answer = answer.count("completion_tokens");
    Result<NpyArray> ids = is_npy(bytes) ? read_npy(std::as_bytes(std::span(bytes))) : shaped(bytes, n_prompt + n_answer - 1);
    if (!ids) return ids.error();
    RouteArrays in{.ids = &*ids};
    std::string prompt_bytes;
    NpyArray prompt;
    if (const json* of_prompt = at_path(answer.root, {"prompt_routed_experts"}); of_prompt && of_prompt->is_string()) {
        GS_TRY(prompt_bytes, decoded_base64(of_prompt->get_ref<const std::string&>()));
        GS_TRY(prompt, read_npy(std::as_bytes(std::span(prompt_bytes))));
        in.prompt = &prompt;
    }
    const int64_t n_rows = (ids->shape.empty() ? 0 : ids->shape[0]) + (in.prompt && !prompt.shape.empty() ? prompt.shape[0] : 0);
    std::vector<int64_t> token_ids, phases;
    const json* of_prompt = at_path(answer.root, {"prompt_token_ids"});
    // routed_experts_prompt_start leaves out rows of the prompt's beginning.
    const int64_t n_skipped = n_prompt > 0 && n_answer > 0 ? std::clamp<int64_t>(n_prompt + n_answer - 1 - n_rows, 0, n_prompt) : 0;
    const bool has_ids = append_ids(of_prompt ? of_prompt : at_path(answer.choice, {"prompt_token_ids"}), token_ids) &&
                         append_ids(at_path(answer.choice, {"token_ids"}), token_ids) && static_cast<int64_t>(token_ids.size()) >= n_rows + n_skipped;
    if (has_ids) token_ids.erase(token_ids.begin(), token_ids.begin() + n_skipped);
    const NpyArray of_ids = array_of(token_ids);
    if (has_ids) in.token_ids = &of_ids;
    if (n_prompt > 0)
        for (int64_t t = 0; t < std::min<int64_t>(n_rows, 1 << 24); ++t) phases.push_back(t + n_skipped >= n_prompt);
    const NpyArray of_phases = array_of(phases);
    if (!phases.empty() && !in.prompt) in.phases = &of_phases;
    const json* model = at_path(answer.root, {"model"});
    return trace_of_arrays(in, "server answer (JSON)", path, model && model->is_string() ? model->get<std::string>() : "");
}

}  // namespace

bool is_response(std::string_view head) {
    const size_t first = head.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos || (head[first] != '{' && head[first] != '[')) return false;
    const auto has = [&](const char* name) { return head.find(name) != std::string_view::npos; };
    return has("\"routed_experts\"") || has("\"choices\"") || has("\"meta_info\"") || has("\"output_ids\"") || has("\"prompt_routed_experts\"");
}

Result<TraceSnapshot> read_response(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    if (!is_shallow_json(text, kMaxDepth)) return bad_import("bad_value", "it is nested too deeply");
    const json parsed = json::parse(text, nullptr, false);
    const json* root = parsed.is_array() && !parsed.empty() ? &parsed[0] : &parsed;
    if (!root->is_object()) return bad_import("bad_value", "it is not one JSON object");
    const json* choices = at_path(*root, {"choices"});
    const json none;
    return trace_of({*root, choices && choices->is_array() && !choices->empty() ? (*choices)[0] : none}, path);
}

}  // namespace gs
