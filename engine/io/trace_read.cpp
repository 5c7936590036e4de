// The reader. What it lets through keeps every promise of trace.h, whoever wrote the file.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/io/json_depth.h"
#include "engine/io/safetensors.h"
#include "engine/io/trace_file.h"
#include "engine/io/trace_schema.h"

namespace gs {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTokens = 1 << 24;
constexpr int kMaxLayers = 512, kMaxExperts = 1024;  // moe-families.md 1.4
constexpr int kMaxDepth = 8;

Error bad_trace(std::string why, std::string code = "bad_value") {
    return {ErrorKind::kInput, std::move(code), "Cannot read the trace", std::move(why),
            "The file is damaged or was not written by Gatescope"};
}

/// A member of an object as a whole number in low..high.
Result<int64_t> whole(const json& object, const char* key, int64_t low, int64_t high) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number_integer()) return bad_trace(fmt::format("\"{}\" is not a whole number", key));
    const bool too_big = it->is_number_unsigned() && it->get<uint64_t>() > static_cast<uint64_t>(high);
    if (too_big || it->get<int64_t>() < low || it->get<int64_t>() > high)
        return bad_trace(fmt::format("\"{}\" is outside {}..{}", key, low, high));
    return it->get<int64_t>();
}

Result<std::string> text(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_string()) return bad_trace(fmt::format("\"{}\" is not a string", key));
    return it->get<std::string>();
}

Result<bool> truth(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_boolean()) return bad_trace(fmt::format("\"{}\" is not true or false", key));
    return it->get<bool>();
}

Result<float> number(const json& object, const char* key) {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number() || !std::isfinite(it->get<float>()))
        return bad_trace(fmt::format("\"{}\" is not a number", key));
    return it->get<float>();
}

Result<const json*> member(const json& object, const char* key, json::value_t type) {
    const auto it = object.find(key);
    if (it == object.end() || it->type() != type) return bad_trace(fmt::format("\"{}\" is missing or of the wrong kind", key));
    return &*it;
}

Result<RouterSpec> read_router(const json& object) {
    RouterSpec spec;
    GS_TRY(spec.n_experts, whole(object, "n_experts", 0, kMaxExperts));
    GS_TRY(spec.n_used, whole(object, "n_used", spec.n_experts > 0 ? 1 : 0, spec.n_experts));
    GS_TRY(const std::string score, text(object, "score"));
    GS_TRY(const std::string group_score, text(object, "group_score"));
    const auto score_fn = trace_schema::named<ScoreFn>(trace_schema::kScores, score);
    const auto group_fn = trace_schema::named<GroupScore>(trace_schema::kGroupScores, group_score);
    if (!score_fn || !group_fn) return bad_trace("the router's score function is unknown");
    spec.score = *score_fn;
    spec.group_score = *group_fn;
    GS_TRY(spec.renormalise, truth(object, "renormalise"));
    GS_TRY(spec.norm_floor, number(object, "norm_floor"));
    GS_TRY(spec.scale, number(object, "scale"));
    GS_TRY(spec.select_by_logits, truth(object, "select_by_logits"));
    if (object.contains("norm_epsilon")) {
        GS_TRY(spec.norm_epsilon, number(object, "norm_epsilon"));
    }
    if (object.contains("weigh_input")) {
        GS_TRY(spec.weigh_input, truth(object, "weigh_input"));
    }
    GS_TRY(spec.n_groups, whole(object, "n_groups", 1, std::max(spec.n_experts, 1)));
    GS_TRY(spec.n_groups_used, whole(object, "n_groups_used", 1, spec.n_groups));
    if (spec.n_experts % spec.n_groups != 0) return bad_trace("the router's groups do not divide its experts");
    return spec;
}

Result<std::vector<int>> read_moe_layers(const json& object, int n_layers) {
    GS_TRY(const json* list, member(object, "moe_layers", json::value_t::array));
    std::vector<int> out;
    for (const json& layer : *list) {
        const int least = out.empty() ? 0 : out.back() + 1;
        if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= static_cast<uint64_t>(n_layers) || layer.get<int>() < least) {
            return bad_trace(fmt::format("moe_layers are not ascending layers below {}", n_layers));
        }
        out.push_back(layer.get<int>());
    }
    return out;
}

/// What an importer said of a run that another program recorded.
Result<void> read_source(const json& object, TraceInfo& info) {
    if (object.contains("source")) {
        GS_TRY(info.source, text(object, "source"));
    }
    for (const char* key : {"lacks", "notes"}) {
        if (!object.contains(key)) continue;
        GS_TRY(const json* list, member(object, key, json::value_t::array));
        for (const json& entry : *list) {
            if (!entry.is_string()) return bad_trace(fmt::format("\"{}\" is not a list of strings", key));
            const std::string value = entry.get<std::string>();
            const auto known = std::find(trace_schema::kLacks.begin(), trace_schema::kLacks.end(), value);
            if (*key == 'n')
                info.notes.push_back(value);
            else if (known != trace_schema::kLacks.end())
                info.lacks.*trace_schema::kLacksMembers[static_cast<size_t>(known - trace_schema::kLacks.begin())] = true;
            else
                return bad_trace("it lacks something that is not known here", "bad_version");
        }
    }
    return {};
}

Result<TraceInfo> read_info(const json& object) {
    TraceInfo info;
    GS_TRY(const json* model, member(object, "model", json::value_t::object));
    GS_TRY(info.model_name, text(*model, "name"));
    GS_TRY(info.model_file, text(*model, "file"));
    GS_TRY(info.model_hash, text(*model, "hash"));
    GS_TRY(info.architecture, text(*model, "architecture"));
    GS_TRY(info.family, text(*model, "family"));
    if (object.contains("reading")) {
        GS_TRY(info.reading, text(object, "reading"));
        if (info.reading != "llamacpp" && info.reading != "reference") return bad_trace("its \"reading\" is neither llamacpp nor reference");
    }
    GS_TRY(info.engine, text(object, "engine"));
    GS_TRY(info.precision, text(object, "precision"));
    GS_TRY(info.template_name, text(object, "template"));
    GS_TRY(info.sampler, text(object, "sampler"));
    GS_TRY(const json* router, member(object, "router", json::value_t::object));
    GS_TRY(info.router, read_router(*router));
    GS_TRY(info.n_layers, whole(object, "n_layers", 0, kMaxLayers));
    GS_TRY(info.moe_layers, read_moe_layers(object, info.n_layers));
    if (!info.moe_layers.empty() && info.router.n_experts == 0) return bad_trace("it has MoE layers but no experts");
    GS_TRY(info.has_shared_expert, truth(object, "shared_expert"));
    GS_TRY(info.dense_bytes_per_token, whole(object, "dense_bytes_per_token", 0, INT64_MAX));
    GS_TRY(info.expert_bytes, whole(object, "expert_bytes", 0, INT64_MAX));
    info.provenance = Provenance::kReplayed;
    GS_TRY_VOID(read_source(object, info));
    return info;
}

Result<std::vector<Policy>> read_policies(const json& object, const TraceInfo& info) {
    GS_TRY(const json* list, member(object, "policies", json::value_t::array));
    std::vector<Policy> out;
    for (const json& entry : *list) {
        if (!entry.is_string()) return bad_trace("a policy is not a string");
        Result<Policy> policy = Policy::parse(entry.get<std::string>());
        if (!policy) return bad_trace(policy.error().why);
        if (const Result<void> fits = policy->check(info.router, info.n_layers); !fits) return bad_trace(fits.error().why);
        out.push_back(std::move(*policy));
    }
    return out;
}

Result<json> read_description(const SafetensorsFile& file) {
    const auto it = file.metadata().find(trace_schema::kKey);
    if (it == file.metadata().end()) return bad_trace("it is a safetensors file without the metadata of a trace", "not_a_trace");
    if (!is_shallow_json(it->second, kMaxDepth)) return bad_trace("its description is nested too deeply");
    json description = json::parse(it->second, nullptr, false);
    if (!description.is_object()) return bad_trace("its description is not a JSON object");
    if (description.value("format", json()) != trace_schema::kFormat)
        return bad_trace("its description is not that of a trace", "not_a_trace");
    const auto version = whole(description, "version", 1, trace_schema::kVersion);
    if (!version) {
        return Error{ErrorKind::kInput, "bad_version", "Cannot read the trace",
                     fmt::format("its version is not 1..{}", trace_schema::kVersion),
                     "It was written by a newer Gatescope: update, or record it again"};
    }
    return description;
}

/// A tensor of the file by name, with the shape it must have.
template <class T>
Result<std::vector<T>> column(const SafetensorsFile& file, const char* name, const std::vector<int64_t>& shape) {
    const SafeTensor* tensor = file.find(name);
    if (!tensor) return bad_trace(fmt::format("tensor \"{}\" is missing", name), "missing_tensor");
    if (tensor->shape != shape) {
        return bad_trace(
            fmt::format("tensor \"{}\" has shape [{}] instead of [{}]", name, fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")),
            "shape_mismatch");
    }
    Result<std::vector<T>> values = tensor->values<T>();
    if (!values) return bad_trace(fmt::format("tensor \"{}\" {}", name, values.error().why));
    return values;
}

Result<int64_t> size_of(const SafetensorsFile& file, const char* name, size_t n_dims, size_t dim) {
    const SafeTensor* tensor = file.find(name);
    if (!tensor) return bad_trace(fmt::format("tensor \"{}\" is missing", name), "missing_tensor");
    if (tensor->shape.size() != n_dims)
        return bad_trace(fmt::format("tensor \"{}\" does not have {} dimensions", name, n_dims), "shape_mismatch");
    return tensor->shape[dim];
}

struct Columns {
    int64_t n_tokens = 0, k_max = 0;
    std::vector<TokenRow> tokens;          ///< TokenRow::policy: index into the policies of the file
    std::vector<float> logits, weights;
    std::vector<uint16_t> ids, n_used;
};

Result<void> read_tokens(const SafetensorsFile& file, size_t n_policies, Columns& out) {
    const std::vector<int64_t> shape = {out.n_tokens};
    GS_TRY(const int64_t n_text, size_of(file, "text", 1, 0));
    GS_TRY(const auto ids, column<int32_t>(file, "token_ids", shape));
    GS_TRY(const auto phases, column<uint8_t>(file, "phases", shape));
    GS_TRY(const auto special, column<uint8_t>(file, "special", shape));
    GS_TRY(const auto policy, column<int32_t>(file, "policy", shape));
    GS_TRY(const auto logprob, column<float>(file, "logprob", shape));
    GS_TRY(const auto entropy, column<float>(file, "entropy", shape));
    GS_TRY(const auto ends, column<int64_t>(file, "text_ends", shape));
    GS_TRY(const auto bytes, column<uint8_t>(file, "text", {n_text}));
    int64_t begin = 0;
    out.tokens.resize(ids.size());
    for (size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] < 0) return bad_trace(fmt::format("token {}: negative id", t));
        if (phases[t] > 1 || special[t] > 1) return bad_trace(fmt::format("token {}: phase or special is not 0 or 1", t));
        if (policy[t] < 0 || static_cast<size_t>(policy[t]) >= n_policies) return bad_trace(fmt::format("token {}: no such policy", t));
        if (ends[t] < begin || ends[t] > n_text) return bad_trace(fmt::format("token {}: its text ends outside the text", t));
        TokenRow& row = out.tokens[t];
        row.id = ids[t];
        row.phase = static_cast<Phase>(phases[t]);
        row.special = special[t] != 0;
        row.policy = static_cast<uint32_t>(policy[t]);
        row.logprob = logprob[t];
        row.entropy = entropy[t];
        row.text.assign(bytes.begin() + begin, bytes.begin() + ends[t]);
        begin = ends[t];
    }
    if (begin != n_text) return bad_trace("text goes on after the last token");
    return {};
}

Result<void> read_routes(const SafetensorsFile& file, const TraceInfo& info, const std::vector<Policy>& policies, Columns& out) {
    const int64_t n_layers = info.n_moe_layers(), n_experts = info.router.n_experts;
    GS_TRY(out.k_max, size_of(file, "expert_ids", 3, 2));
    if (out.k_max > n_experts) return bad_trace("more experts per token than there are");
    if (!info.lacks.logits) {
        GS_TRY(out.logits, column<float>(file, "router_logits", {out.n_tokens, n_layers, n_experts}));
    }
    GS_TRY(out.ids, column<uint16_t>(file, "expert_ids", {out.n_tokens, n_layers, out.k_max}));
    if (!info.lacks.weights) {
        GS_TRY(out.weights, column<float>(file, "weights", {out.n_tokens, n_layers, out.k_max}));
    } else {
        out.weights.assign(out.ids.size(), std::numeric_limits<float>::quiet_NaN());
    }
    GS_TRY(out.n_used, column<uint16_t>(file, "n_used", {out.n_tokens, n_layers}));
    std::vector<size_t> last_row(static_cast<size_t>(n_experts), SIZE_MAX);  // where an expert was seen: twice in one row is an error
    for (size_t row = 0; row < out.n_used.size(); ++row) {
        const size_t k = out.n_used[row];
        const size_t least = policies[out.tokens[row / static_cast<size_t>(n_layers)].policy].is_by_batch() ? 0 : 1;   // there all may have been dropped
        if (k < least || k > static_cast<size_t>(out.k_max))
            return bad_trace(fmt::format("row {}: uses {} of at most {} experts", row, k, out.k_max));
        for (size_t j = 0; j < k; ++j) {
            const uint16_t id = out.ids[row * static_cast<size_t>(out.k_max) + j];
            if (id >= n_experts) return bad_trace(fmt::format("row {}: expert {} of {}", row, id, n_experts));
            if (last_row[id] == row) return bad_trace(fmt::format("row {}: expert {} comes twice", row, id));
            last_row[id] = row;
        }
    }
    return {};
}

Result<void> read_extras(const SafetensorsFile& file, TraceInfo& info) {
    GS_TRY(const int64_t n_prompt, size_of(file, "prompt", 1, 0));
    GS_TRY(const auto prompt, column<uint8_t>(file, "prompt", {n_prompt}));
    info.prompt.assign(prompt.begin(), prompt.end());
    if (!file.find("selection_bias")) return {};
    const auto n_experts = static_cast<std::ptrdiff_t>(info.router.n_experts);
    GS_TRY(const auto bias, column<float>(file, "selection_bias", {info.n_moe_layers(), info.router.n_experts}));
    if (!std::all_of(bias.begin(), bias.end(), [](float b) { return std::isfinite(b); }))
        return bad_trace("a selection bias is not finite");
    for (auto it = bias.begin(); it != bias.end(); it += n_experts) info.selection_bias.emplace_back(it, it + n_experts);
    return {};
}

TraceSnapshot build(TraceInfo info, const std::vector<Policy>& policies, const Columns& columns) {
    const int n_layers = info.n_moe_layers();
    const bool has_logits = !info.lacks.logits;
    const auto n_experts = static_cast<size_t>(info.router.n_experts), k_max = static_cast<size_t>(columns.k_max);
    TraceWriter writer(std::move(info));
    std::vector<int32_t> ids;
    size_t row = 0;
    for (const TokenRow& token : columns.tokens) {
        writer.begin_tokens(std::span(&token, 1), policies[token.policy]);
        for (int m = 0; m < n_layers; ++m, ++row) {
            const size_t k = columns.n_used[row];
            ids.assign(columns.ids.begin() + static_cast<std::ptrdiff_t>(row * k_max),
                       columns.ids.begin() + static_cast<std::ptrdiff_t>(row * k_max + k));
            const std::span<const float> logits = has_logits ? std::span(columns.logits).subspan(row * n_experts, n_experts) : std::span<const float>();
            writer.set_route(m, 0, logits, ids,
                             std::span(columns.weights).subspan(row * k_max, k));
        }
        writer.publish();
    }
    return writer.snapshot();
}

Result<TraceSnapshot> read_trace(const SafetensorsFile& file) {
    GS_TRY(const json description, read_description(file));
    GS_TRY(TraceInfo info, read_info(description));
    GS_TRY(const std::vector<Policy> policies, read_policies(description, info));
    GS_TRY_VOID(read_extras(file, info));
    Columns columns;
    GS_TRY(columns.n_tokens, size_of(file, "token_ids", 1, 0));
    if (columns.n_tokens > kMaxTokens) return bad_trace(fmt::format("it has more than {} tokens", kMaxTokens));
    GS_TRY_VOID(read_tokens(file, policies.size(), columns));
    GS_TRY_VOID(read_routes(file, info, policies, columns));
    return build(std::move(info), policies, columns);
}

}  // namespace

Result<TraceSnapshot> load_trace(const std::filesystem::path& path) try {
    GS_TRY(const SafetensorsFile file, SafetensorsFile::open(path));
    Result<TraceSnapshot> trace = read_trace(file);
    if (trace) return trace;
    Error error = trace.error();
    error.what = fmt::format("Cannot read the trace {}", path.string());
    return error;
} catch (const std::bad_alloc&) {
    return Error{ErrorKind::kRun, "out_of_memory", fmt::format("Cannot read the trace {}", path.string()),
                 "there is not enough memory for it", "Close other programs"};
} catch (const std::exception& error) {
    return bad_trace(error.what());
}

}  // namespace gs
