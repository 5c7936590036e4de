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

}  // namespace

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
    json["better"] = name_of(result.verdict);
    json["verdict"] = result.verdict_text();
    json["runs"] = trials;
    return json;
}

}  // namespace gs
