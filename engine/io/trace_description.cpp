#include "engine/io/trace_description.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/io/json_depth.h"
#include "engine/io/trace_schema.h"

namespace gs {
namespace {

using nlohmann::json;

constexpr int kMaxLayers = 512, kMaxExperts = 1024;  // moe-families.md 1.4
constexpr int kMaxDepth = 8;

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

Result<json> read_json(const SafetensorsFile& file) {
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

}  // namespace

Error bad_trace(std::string why, std::string code) {
    return {ErrorKind::kInput, std::move(code), "Cannot read the trace", std::move(why),
            "The file is damaged or was not written by Gatescope"};
}

Result<TraceDescription> read_trace_description(const SafetensorsFile& file) {
    TraceDescription out;
    GS_TRY(const json description, read_json(file));
    GS_TRY(out.info, read_info(description));
    GS_TRY(out.policies, read_policies(description, out.info));
    return out;
}

}  // namespace gs
