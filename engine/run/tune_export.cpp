#include "engine/run/tune_export.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace gs {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const PolicyScore& score) {
    Json json = {{"policy", score.policy.to_text()},
                 {"kl", score.kl},
                 {"perplexity", score.perplexity},
                 {"top1_agreement", score.top1_agreement},
                 {"bytes_per_token", score.bytes_per_token},
                 {"tokens_scored", score.n_scored}};
    if (score.tokens_per_s > 0) json["tokens_per_s"] = score.tokens_per_s;
    return json;
}

Json json_of(const Prediction& p) { return {{"kl", p.kl}, {"perplexity", p.perplexity}, {"bytes_per_token", p.bytes_per_token}}; }

const char* name_of(ScheduleVerdict verdict) {
    constexpr std::array names = {"schedule", "uniform", "same", "neither"};
    return names[static_cast<size_t>(verdict)];
}

/// A column of a sweep's exports.
struct SweepColumn {
    const char* name;
    double (*value)(const PolicyScore& score);
};
constexpr SweepColumn kSweepColumns[] = {
    {"perplexity", [](const PolicyScore& s) { return s.perplexity; }},
    {"perplexity_se", [](const PolicyScore& s) { return s.perplexity_se(); }},
    {"excess_nll", [](const PolicyScore& s) { return s.excess_nll; }},
    {"excess_nll_se", [](const PolicyScore& s) { return s.excess_nll_se; }},
    {"kl", [](const PolicyScore& s) { return s.kl; }},
    {"kl_se", [](const PolicyScore& s) { return s.kl_se; }},
    {"top1_agreement", [](const PolicyScore& s) { return s.top1_agreement; }},
    {"top1_agreement_se", [](const PolicyScore& s) { return s.top1_se; }},
    {"mean_sum_weights", [](const PolicyScore& s) { return s.mean_sum_weights; }},
    {"tokens_per_s", [](const PolicyScore& s) { return s.tokens_per_s; }},
    {"tokens_per_s_se", [](const PolicyScore& s) { return s.tokens_per_s_se; }},
    {"bytes_per_token", [](const PolicyScore& s) { return s.bytes_per_token; }},
    {"mean_layer_error", [](const PolicyScore& s) { return s.mean_layer_error; }},
    {"mean_layer_error_se", [](const PolicyScore& s) { return s.mean_layer_error_se; }},
};

}  // namespace

std::string sweep_csv(const SweepResult& sweep) {
    std::string csv = "k,native,tokens_scored";
    for (const SweepColumn& column : kSweepColumns) csv += fmt::format(",{}", column.name);
    for (const int layer : sweep.moe_layers) csv += fmt::format(",layer_error_{}", layer);
    csv += '\n';
    for (const PolicyScore& s : sweep.rows) {
        csv += fmt::format("{},{:d},{}", s.policy.k, s.policy.k == sweep.native_k, s.n_scored);
        for (const SweepColumn& column : kSweepColumns) csv += fmt::format(",{}", column.value(s));
        for (size_t m = 0; m < sweep.moe_layers.size(); ++m) csv += m < s.layer_error.size() ? fmt::format(",{}", s.layer_error[m]) : ",";
        csv += '\n';
    }
    return csv;
}

Json sweep_json(const SweepResult& sweep) {
    Json rows = Json::array();
    for (const PolicyScore& s : sweep.rows) {
        Json row = {{"policy", s.policy.to_text()}, {"k", s.policy.k}, {"tokens_scored", s.n_scored}};
        for (const SweepColumn& column : kSweepColumns) row[column.name] = column.value(s);
        row["tokens_timed"] = s.n_timed;
        row["route_agreement"] = s.route_agreement;
        row["layer_error"] = s.layer_error;
        row["layer_error_se"] = s.layer_error_se;
        row["layer_error_tokens"] = s.n_error_tokens;
        rows.push_back(std::move(row));
    }
    return {{"rows", rows}, {"native_k", sweep.native_k}, {"tokens", sweep.n_tokens()}, {"tokens_of_text", sweep.n_text_tokens}, {"text", sweep.text_name},
            {"model", sweep.model_hash}, {"engine", sweep.engine}, {"base_policy", sweep.plan.base.to_text()}, {"window", sweep.plan.options.window},
            {"layers", sweep.moe_layers}, {"provenance", "computed"}, {"complete", sweep.complete}};
}

std::string sensitivity_csv(const SensitivityMap& map) {
    std::string csv = "layer,k,native,kl,perplexity,top1_agreement,bytes_per_token,tokens_scored\n";
    for (int m = 0; m < map.n_layers(); ++m)
        for (int column = 0; column < map.n_ks(); ++column) {
            const SensitivityCell& c = map.cell(m, column);
            if (c.n_scored == 0) continue;
            const int k = map.ks[static_cast<size_t>(column)];
            csv += fmt::format("{},{},{:d},{},{},{},{},{}\n", map.moe_layers[static_cast<size_t>(m)], k, k == map.base_k[static_cast<size_t>(m)], c.kl, std::exp(c.nll),
                               c.top1_agreement, c.bytes_per_token, c.n_scored);
        }
    return csv;
}

Json sensitivity_json(const SensitivityMap& map) {
    Json layers = Json::array(), uniform = Json::array();
    for (int m = 0; m < map.n_layers(); ++m) {
        Json kl = Json::array(), perplexity = Json::array(), top1 = Json::array(), bytes = Json::array();
        for (int column = 0; column < map.n_ks(); ++column) {
            const SensitivityCell& c = map.cell(m, column);
            const auto known = [&](double value) { return c.n_scored > 0 ? Json(value) : Json(nullptr); };
            kl.push_back(known(c.kl));
            perplexity.push_back(known(std::exp(c.nll)));
            top1.push_back(known(c.top1_agreement));
            bytes.push_back(known(c.bytes_per_token));
        }
        layers.push_back({{"layer", map.moe_layers[static_cast<size_t>(m)]}, {"native_k", map.base_k[static_cast<size_t>(m)]}, {"kl", kl}, {"perplexity", perplexity},
                          {"top1_agreement", top1}, {"bytes_per_token", bytes}});
    }
    for (size_t i = 0; i < map.uniform.size(); ++i) {
        uniform.push_back(json_of(map.uniform[i]));
        uniform.back()["k"] = map.ks[i];
    }
    return {{"model", map.model_hash}, {"text", map.text_name}, {"base_policy", map.base.to_text()}, {"tokens", map.ids.size()}, {"tokens_scored", map.unchanged.n_scored}, {"window", map.options.window},
            {"k", map.ks}, {"unchanged", {{"kl", map.unchanged.kl}, {"perplexity", std::exp(map.unchanged.nll)}, {"bytes_per_token", map.unchanged.bytes_per_token}}},
            {"layers", layers}, {"uniform", uniform}, {"complete", map.complete}};
}

std::string schedule_csv(const SensitivityMap& map, const ScheduleResult& result) {
    std::string csv = "layer,k,native_k\n";
    for (size_t m = 0; m < result.schedule.ks.size(); ++m) csv += fmt::format("{},{},{}\n", map.moe_layers[m], result.schedule.ks[m], map.base_k[m]);
    return csv;
}

Json schedule_json(const SensitivityMap& map, const ScheduleResult& result, const ModelSpec& spec) {
    Json trials = Json::array();
    for (const ScheduleTrial& t : result.trials)
        trials.push_back({{"total_k", t.schedule.total()}, {"predicted", json_of(t.schedule.predicted)}, {"verified", json_of(t.measured)}, {"within_budget", t.within}});
    Json json = {{"budget", result.budget.to_text()}, {"layers", map.moe_layers}, {"k", result.schedule.ks}, {"policy", result.policy.to_text()}, {"tokens", result.n_tokens},
                 {"predicted", json_of(result.schedule.predicted)}, {"verified", json_of(result.verified)}, {"within_budget", result.within}, {"uniform", nullptr}};
    if (result.uniform) {
        json["uniform"] = json_of(*result.uniform);
        json["uniform"]["k"] = result.uniform_k;
        json["uniform"]["llama_cpp"] = override_kv_line(spec, result.uniform_k);
    }
    json["searched"] = !result.given;
    json["better"] = name_of(result.verdict);
    json["verdict"] = result.verdict_text();
    json["runs"] = trials;
    return json;
}

}  // namespace gs
