// Two kinds of JSON lines.
//
// OLMoE: scripts/run_moe_analysis.py of allenai/OLMoE (commit 357454f), c4_results.jsonl: a line for each sequence,
// {"input_ids": [T], "predicted_token_ids": [T], "exp_ids": [T][k][layers]}; ids are the k largest router logits, best first. Sequences are joined.
//
// Events: a line for each token and layer, as gajsanders/moe-trace (results/workload_routing_trace.jsonl, scripts/collect_workload_traces.py) and
// weiran0129/vLLM-MoE-Logger (README) write them: {"layer": N, "token_index": N, "expert_ids": [k], "scores": [k]}, with "phase" ("prefill", "decode") and
// "prompt_id" where there are several prompts. Read as well: "token_idx" or "token", "topk_ids" or "experts", "topk_weights" or "weights".
#include <initializer_list>
#include <map>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"
#include "engine/io/json_depth.h"

namespace gs {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 6;

Result<json> parse_line(std::string_view line, int64_t number) {
    if (!is_shallow_json(line, kMaxDepth)) return bad_import("bad_value", fmt::format("line {} is nested too deeply", number));
    json value = json::parse(line, nullptr, false);
    if (!value.is_object()) return bad_import("bad_value", fmt::format("line {} is not a JSON object", number));
    return value;
}

const json* member(const json& object, std::initializer_list<const char*> names) {
    for (const char* name : names)
        if (const auto it = object.find(name); it != object.end()) return &*it;
    return nullptr;
}

/// A whole number of a JSON value; -1 if it is none or too large.
int64_t whole(const json& value) { return value.is_number_integer() && value.get<double>() < 1e15 ? value.get<int64_t>() : -1; }

/// exp_ids[t]: [k][layers].
Result<void> add_token(ImportBuilder& out, const json& token_id, const json& experts, int64_t number) {
    GS_TRY(const int token, out.add_token(whole(token_id), Phase::kPrefill));
    if (!experts.is_array()) return bad_import("bad_value", fmt::format("line {}: exp_ids is not [tokens][k][layers]", number));
    for (const json& of_rank : experts) {
        if (!of_rank.is_array()) return bad_import("bad_value", fmt::format("line {}: exp_ids is not [tokens][k][layers]", number));
        int64_t layer = 0;
        for (const json& expert : of_rank) GS_TRY_VOID(out.add(token, layer++, whole(expert)));
    }
    return {};
}

Result<void> add_sequence(ImportBuilder& out, const json& line, int64_t number) {
    const json *ids = member(line, {"input_ids"}), *experts = member(line, {"exp_ids"});
    if (!ids || !experts || !ids->is_array() || !experts->is_array() || ids->size() != experts->size())
        return bad_import("bad_value", fmt::format("line {} has no input_ids and exp_ids of one length", number));
    for (size_t t = 0; t < ids->size(); ++t) GS_TRY_VOID(add_token(out, (*ids)[t], (*experts)[t], number));
    return {};
}

using TokenKey = std::tuple<std::string, std::string, int64_t>;   // prompt, phase, index

Result<void> add_event(ImportBuilder& out, const json& line, std::map<TokenKey, int>& tokens, int64_t number) {
    const json *layer = member(line, {"layer"}), *index = member(line, {"token_index", "token_idx", "token"}), *ids = member(line, {"expert_ids", "topk_ids", "experts"});
    const json *weights = member(line, {"scores", "topk_weights", "weights"}), *phase = member(line, {"phase"}), *prompt = member(line, {"prompt_id"});
    if (!layer || !index || !ids || !ids->is_array()) return bad_import("bad_value", fmt::format("line {} has no layer, token_index and expert_ids", number));
    const std::string in_phase = phase && phase->is_string() ? phase->get<std::string>() : "";
    const TokenKey key{prompt ? prompt->dump(-1, ' ', false, json::error_handler_t::replace) : "", in_phase, whole(*index)};
    auto [known, is_new] = tokens.try_emplace(key, 0);
    if (is_new) {
        GS_TRY(known->second, out.add_token(-1, in_phase == "decode" ? Phase::kDecode : Phase::kPrefill));
        out.info.lacks.phases |= in_phase.empty();
    }
    const bool weighted = weights && weights->is_array() && weights->size() == ids->size();
    for (size_t j = 0; j < ids->size(); ++j) {
        const float weight = weighted && (*weights)[j].is_number() ? (*weights)[j].get<float>() : std::numeric_limits<float>::quiet_NaN();
        GS_TRY_VOID(out.add(known->second, whole(*layer), whole((*ids)[j]), weight));
    }
    return {};
}

template <class F>
Result<int64_t> for_each_line(const std::filesystem::path& path, F add) {
    GS_TRY(const std::string text, read_whole_file(path));
    int64_t number = 0, n_used = 0;
    for (size_t at = 0; at < text.size();) {
        const std::string_view line = next_line(text, at);
        ++number;
        if (line.empty()) continue;
        GS_TRY(const json value, parse_line(line, number));
        GS_TRY_VOID(add(value, number));
        ++n_used;
    }
    return n_used;
}

}  // namespace

bool is_sequence_jsonl(std::string_view head) { return head.starts_with('{') && (head.find("\"exp_ids\"") != std::string_view::npos || head.starts_with("{\"input_ids\"")); }

Result<TraceSnapshot> read_sequence_jsonl(const std::filesystem::path& path) {
    ImportBuilder out;
    out.info.lacks.text = out.info.lacks.phases = true;
    GS_TRY(const int64_t n, for_each_line(path, [&](const json& line, int64_t number) { return add_sequence(out, line, number); }));
    if (n > 1) out.info.notes.push_back(fmt::format("{} sequences are shown one after another.", n));
    return out.build("OLMoE JSON lines", path);
}

bool is_event_jsonl(std::string_view head) {
    size_t at = 0;
    const std::string_view line = next_line(head, at);
    const auto has = [&](const char* name) { return line.find(name) != std::string_view::npos; };
    return line.starts_with('{') && has("\"layer\"") && (has("\"expert_ids\"") || has("\"topk_ids\"") || has("\"experts\""));
}

Result<TraceSnapshot> read_event_jsonl(const std::filesystem::path& path) {
    ImportBuilder out;
    out.info.lacks.text = true;
    std::map<TokenKey, int> tokens;
    GS_TRY([[maybe_unused]] const int64_t n, for_each_line(path, [&](const json& line, int64_t number) { return add_event(out, line, tokens, number); }));
    return out.build("routing events (JSON lines)", path);
}

}  // namespace gs
