// Two kinds of JSON lines.
//
// OLMoE: scripts/run_moe_analysis.py of allenai/OLMoE (commit 357454f), c4_results.jsonl: a line for each sequence,
// {"input_ids": [T], "predicted_token_ids": [T], "exp_ids": [T][k][layers]}; ids are the k largest router logits, best first. Sequences are joined.
//
// Events: a line for each token and layer, layers and ids from 0. Read as well: "token" for the token's number, "experts" and "weights".
//   - gajsanders/moe-trace (scripts/collect_workload_traces.py and the analyses that read its results/workload_routing_trace.jsonl, at f523dfb; the file
//     itself is not published): {"layer": N, "phase": "prefill" or "decode", "token_index": N, "expert_ids": [k], "scores": [k], "prompt_id": …, …},
//     ids in no order (argpartition), scores the applied weights, token_index from 0 in each phase.
//   - weiran0129/vLLM-MoE-Logger (moe_logger.py and Logs/ at 2c3c87c): first {"type": "meta", "model_id": …, "vllm_version": …, "layers_logged": [N], "top_k": k, …},
//     then {"type": "route", "req_id": "r1", "token_idx": N, "layer": N, "topk_ids": [k], "topk_weights": [k]}, of one layer. req_id is the same for all, and
//     token_idx starts anew in every pass over the model, whose rows may be of several requests. The passes with which vLLM warms up come first: many rows of
//     one dummy token; they are left out.
#include <initializer_list>
#include <map>
#include <set>
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

struct Place {
    int token = -1;
    std::set<int64_t> layers;                    ///< that have come for it
};
using Places = std::map<TokenKey, Place>;        // the last token of each key

bool is_meta(const json& line) {
    const json* type = member(line, {"type"});
    return type && *type == "meta";
}

const json* ids_of(const json& event) { return member(event, {"expert_ids", "topk_ids", "experts"}); }
const json* weights_of(const json& event) { return member(event, {"scores", "topk_weights", "weights"}); }

Result<void> add_event(ImportBuilder& out, const json& line, Places& places, int64_t number) {
    const json *layer = member(line, {"layer"}), *index = member(line, {"token_index", "token_idx", "token"}), *ids = ids_of(line);
    const json *weights = weights_of(line), *phase = member(line, {"phase"}), *prompt = member(line, {"prompt_id", "req_id"});
    if (!layer || !index || !ids || !ids->is_array()) return bad_import("bad_value", fmt::format("line {} has no layer, token_index and expert_ids", number));
    const std::string in_phase = phase && phase->is_string() ? phase->get<std::string>() : "";
    Place& place = places[{prompt ? prompt->dump(-1, ' ', false, json::error_handler_t::replace) : "", in_phase, whole(*index)}];
    if (place.token < 0 || place.layers.contains(whole(*layer))) {   // the first of its key, or of another pass with the same numbers
        GS_TRY(place.token, out.add_token(-1, in_phase == "decode" ? Phase::kDecode : Phase::kPrefill));
        place.layers.clear();
        out.info.lacks.phases |= in_phase.empty();
    }
    place.layers.insert(whole(*layer));
    const bool weighted = weights && weights->is_array() && weights->size() == ids->size();
    for (size_t j = 0; j < ids->size(); ++j) {
        const float weight = weighted && (*weights)[j].is_number() ? (*weights)[j].get<float>() : std::numeric_limits<float>::quiet_NaN();
        GS_TRY_VOID(out.add(place.token, whole(*layer), whole((*ids)[j]), weight));
    }
    return {};
}

/// add(line, number) for each line that is not empty, until it says false or fails; returns how many there were.
template <class F>
Result<int64_t> for_each_line(std::string_view text, F add) {
    int64_t number = 0, n_used = 0;
    for (size_t at = 0; at < text.size();) {
        const std::string_view line = next_line(text, at);
        ++number;
        if (line.empty()) continue;
        GS_TRY(const json value, parse_line(line, number));
        GS_TRY(const bool goes_on, add(value, number));
        ++n_used;
        if (!goes_on) break;
    }
    return n_used;
}

/// How many events at the start have the same experts, where vLLM's logger wrote the file: those of its warm-up. 0 for fewer than a text could repeat itself.
Result<int64_t> count_dummies(std::string_view text) {
    constexpr int64_t kFewest = 64;
    int64_t n = 0;
    bool of_vllm = false;
    json first;
    const auto count = [&](const json& line, int64_t) -> Result<bool> {
        if (is_meta(line)) return of_vllm = member(line, {"vllm_version"}) != nullptr;
        const json* ids = ids_of(line);
        if (!of_vllm || !ids) return false;
        if (n == 0) first = *ids;                // weights can differ in their last digits from pass to pass
        else if (*ids != first) return false;
        ++n;
        return true;
    };
    GS_TRY([[maybe_unused]] const int64_t n_lines, for_each_line(text, count));
    return n < kFewest ? 0 : n;
}

}  // namespace

bool is_sequence_jsonl(std::string_view head) { return head.starts_with('{') && (head.find("\"exp_ids\"") != std::string_view::npos || head.starts_with("{\"input_ids\"")); }

Result<TraceSnapshot> read_sequence_jsonl(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    ImportBuilder out;
    out.info.lacks.text = out.info.lacks.phases = true;
    const auto add = [&](const json& line, int64_t number) -> Result<bool> {
        GS_TRY_VOID(add_sequence(out, line, number));
        return true;
    };
    GS_TRY(const int64_t n, for_each_line(text, add));
    if (n > 1) out.info.notes.push_back(fmt::format("{} sequences are shown one after another.", n));
    return out.build("OLMoE JSON lines", path);
}

bool is_event_jsonl(std::string_view head) {
    size_t at = 0;
    const std::string_view line = next_line(head, at);
    const auto has = [&](const char* name) { return line.find(name) != std::string_view::npos; };
    if (!line.starts_with('{')) return false;
    return has("\"layers_logged\"") || (has("\"layer\"") && (has("\"expert_ids\"") || has("\"topk_ids\"") || has("\"experts\"")));
}

Result<TraceSnapshot> read_event_jsonl(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    ImportBuilder out;
    out.info.lacks.text = true;
    Places places;
    GS_TRY(const int64_t n_dummies, count_dummies(text));
    int64_t n_events = 0;
    const auto add = [&](const json& line, int64_t number) -> Result<bool> {
        if (is_meta(line)) {
            if (const json* model = member(line, {"model_id"}); model && model->is_string()) out.info.model_name = model->get<std::string>();
        } else if (n_events++ >= n_dummies) {
            GS_TRY_VOID(add_event(out, line, places, number));
        }
        return true;
    };
    GS_TRY([[maybe_unused]] const int64_t n, for_each_line(text, add));
    if (n_dummies > 0) out.info.notes.push_back(fmt::format("The first {} rows are left out: all with the same experts, the dummy tokens with which vLLM warms up.", n_dummies));
    return out.build("routing events (JSON lines)", path);
}

}  // namespace gs
