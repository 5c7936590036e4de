#include "engine/io/export_trace.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/core/utf8.h"
#include "engine/io/npy.h"
#include "engine/io/trace_schema.h"
#include "engine/io/trace_tensors.h"
#include "engine/io/zip.h"
#include "engine/routing/metrics.h"

namespace gs {
namespace {

using Json = nlohmann::ordered_json;

constexpr Exporter kExporters[] = {
    {"csv", "a table: a line per token, layer and chosen expert", csv_of},
    {"json", "one JSON object: tokens with their experts and weights", json_of},
    {"npz", "NumPy arrays, router logits included", npz_of},
};

std::string csv_field(std::string_view text) {
    std::string out = "\"";
    for (const char c : printable_utf8(text)) {
        if (c == '"') out += '"';
        out += c;
    }
    return out + "\"";
}

std::string number(double value) { return std::isnan(value) ? std::string() : fmt::format("{:.9g}", value); }
Json known(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

void add_csv_rows(const TraceSnapshot& trace, int token, std::vector<float>& preferences, std::string& csv) {
    const TraceInfo& info = trace.info();
    const TokenRow& row = trace.token(token);
    const std::string head = fmt::format("{},{},{},{},{}", token, info.lacks.token_ids ? "" : std::to_string(row.id), csv_field(row.text), name_of(row.phase),
                                         csv_field(trace.policy(token).to_text()));
    const std::string tail = fmt::format("{},{}\n", number(row.logprob), number(row.entropy));
    for (int m = 0; m < trace.n_moe_layers(); ++m) {
        const auto ids = trace.ids(m, token);
        const auto weights = trace.weights(m, token), logits = trace.logits(m, token);
        if (trace.has_logits()) preference(info.router, logits, preferences);
        for (size_t slot = 0; slot < ids.size(); ++slot)
            csv += fmt::format("{},{},{},{},{},{},{},{}", head, info.moe_layers[static_cast<size_t>(m)], slot + 1, ids[slot], number(weights[slot]),
                               trace.has_logits() ? number(preferences[ids[slot]]) : "", number(logits[ids[slot]]), tail);
    }
}

Json layers_of(const TraceSnapshot& trace, int token) {
    Json layers = Json::array();
    for (int m = 0; m < trace.n_moe_layers(); ++m) {
        const auto ids = trace.ids(m, token);
        Json layer = {{"layer", trace.info().moe_layers[static_cast<size_t>(m)]}, {"experts", std::vector<int>(ids.begin(), ids.end())}};
        const auto weights = trace.weights(m, token);
        layer["weights"] = trace.has_weights() ? Json(std::vector<float>(weights.begin(), weights.end())) : Json(nullptr);
        layer["margin"] = trace.has_logits() ? known(selection_margin(trace.logits(m, token), ids)) : Json(nullptr);
        layers.push_back(std::move(layer));
    }
    return layers;
}

const char* numpy_type(const std::string& dtype) {
    constexpr std::pair<const char*, const char*> kTypes[] = {{"F32", "<f4"}, {"I32", "<i4"}, {"I64", "<i8"}, {"U16", "<u2"}, {"U8", "|u1"}};
    const auto found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& type) { return dtype == type.first; });
    GS_CHECK(found != std::end(kTypes), "a tensor type that NumPy knows");
    return found->second;
}

}  // namespace

std::span<const Exporter> exporters() { return kExporters; }

const Exporter* exporter_named(std::string_view name) {
    for (const Exporter& exporter : kExporters)
        if (name == exporter.name) return &exporter;
    return nullptr;
}

std::string printable_utf8(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const Character c = next_character(bytes);
        if (c.valid) out += bytes.substr(0, c.n_bytes);
        else
            for (const char byte : bytes.substr(0, c.n_bytes)) out += fmt::format("\\x{:02X}", static_cast<unsigned char>(byte));
        bytes.remove_prefix(c.n_bytes);
    }
    return out;
}

Json run_identity(const TraceSnapshot& trace) {
    const TraceInfo& info = trace.info();
    Json lacks = Json::array();
    for (size_t i = 0; i < trace_schema::kLacks.size(); ++i)
        if (info.lacks.*trace_schema::kLacksMembers[i]) lacks.push_back(trace_schema::kLacks[i]);
    return {{"model", printable_utf8(info.model_name)}, {"file", printable_utf8(info.model_file)}, {"hash", info.model_hash}, {"architecture", info.architecture}, {"family", info.family},
            {"reading", info.reading}, {"engine", info.engine}, {"precision", info.precision}, {"prompt", printable_utf8(info.prompt)}, {"template", info.template_name}, {"sampler", info.sampler},
            {"policy", trace.empty() ? "" : trace.policy(trace.n_tokens() - 1).to_text()}, {"provenance", name_of(info.provenance)}, {"imported_from", info.source.empty() ? Json(nullptr) : Json(info.source)},
            {"lacks", lacks}, {"notes", info.notes}, {"tokens", trace.n_tokens()}, {"layers", info.n_layers}, {"moe_layers", info.moe_layers}, {"experts", trace.n_experts()}, {"k", info.router.n_used}};
}

Result<std::string> csv_of(const TraceSnapshot& trace) {
    std::string csv = "token,token_id,text,phase,policy,layer,rank,expert,weight,preference,logit,logprob,entropy\n";
    std::vector<float> preferences(static_cast<size_t>(trace.n_experts()));
    for (int t = 0; t < trace.n_tokens(); ++t) add_csv_rows(trace, t, preferences, csv);
    return csv;
}

Result<std::string> json_of(const TraceSnapshot& trace) {
    Json json = {{"format", "gatescope run"}, {"version", 1}, {"run", run_identity(trace)}, {"tokens", Json::array()}};
    for (int t = 0; t < trace.n_tokens(); ++t) {
        const TokenRow& row = trace.token(t);
        json["tokens"].push_back({{"id", trace.info().lacks.token_ids ? Json(nullptr) : Json(row.id)}, {"text", printable_utf8(row.text)}, {"phase", name_of(row.phase)}, {"special", row.special},
                                  {"policy", trace.policy(t).to_text()}, {"logprob", known(row.logprob)}, {"entropy", known(row.entropy)}, {"layers", layers_of(trace, t)}});
    }
    return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<std::string> npz_of(const TraceSnapshot& trace) {
    const TraceTensors tensors = trace_tensors(trace);
    std::vector<ZipEntry> entries;
    size_t total = 0;
    for (const SafetensorsEntry& entry : tensors.entries) total += entry.bytes.size();
    if (total > size_t{4'000'000'000})
        return Error{ErrorKind::kRun, "too_large", "Cannot export the run as NPZ", fmt::format("its arrays take {} MB and an archive holds 4 GB", total >> 20), "Save it as a trace file (.safetensors)"};
    for (const SafetensorsEntry& entry : tensors.entries) entries.push_back({entry.name + ".npy", write_npy(numpy_type(entry.dtype), entry.shape, entry.bytes)});
    const std::vector<int>& layers = trace.info().moe_layers;
    const int64_t n_layers = static_cast<int64_t>(layers.size()), n_text = static_cast<int64_t>(tensors.description.size());
    entries.push_back({"moe_layers.npy", write_npy("<i4", std::span(&n_layers, 1), std::as_bytes(std::span(layers)))});
    entries.push_back({"description.npy", write_npy("|u1", std::span(&n_text, 1), std::as_bytes(std::span(tensors.description)))});
    return write_zip(entries);
}

}  // namespace gs
