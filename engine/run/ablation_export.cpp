#include "engine/run/ablation_export.h"

namespace gs {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const AblationEffect& e) {
    return {{"kl", e.kl}, {"delta_logprob", e.delta_logprob}, {"flip_rate", e.flip_rate}, {"tokens_scored", e.n_scored}};
}

Json json_of(const std::vector<AblatedExpert>& experts, const std::vector<int64_t>& used) {
    Json rows = Json::array();
    for (size_t i = 0; i < experts.size(); ++i) {
        Json row = {{"layer", experts[i].layer}, {"expert", experts[i].expert}, {"mode", name_of(experts[i].mode)}};
        if (experts[i].mode == AblationMode::kSwap) row["runs_instead"] = experts[i].swap_to;
        if (i < used.size()) row["tokens_that_use_it"] = used[i];
        rows.push_back(row);
    }
    return rows;
}

Json json_of(const ControlBand& band) { return {{"mean", band.mean}, {"sd", band.sd}, {"low", band.low}, {"high", band.high}}; }

}  // namespace

Json ablation_json(const AblationResult& r) {
    Json controls = Json::array();
    for (const AblationControl& c : r.controls) {
        Json row = {{"experts", json_of(c.experts, c.used)}};
        row.update(json_of(c.effect));
        controls.push_back(row);
    }
    Json out = {{"experts", json_of(r.experts, r.used)},
                {"base_policy", r.base.to_text()},
                {"policy", r.policy.to_text()},
                {"text", r.text_name},
                {"tokens", r.n_tokens},
                {"effect", json_of(r.effect)},
                {"controls", controls},
                {"control_band", {{"n", r.n_measured()}, {"kl", json_of(r.band(&AblationEffect::kl))}, {"delta_logprob", json_of(r.band(&AblationEffect::delta_logprob))},
                                  {"flip_rate", json_of(r.band(&AblationEffect::flip_rate))}}},
                {"controls_with_at_least_this_kl", r.n_as_large()},
                {"seed", r.seed},
                {"note", r.note},
                {"model_hash", r.model_hash},
                {"provenance", "computed"},
                {"complete", r.complete}};
    if (r.text)
        out["continuation"] = {{"prompt", r.text->prompt}, {"sampler", r.text->sampler}, {"base", r.text->base}, {"ablated", r.text->ablated},
                               {"base_tokens", r.text->n_base}, {"ablated_tokens", r.text->n_ablated}, {"first_difference", r.text->first_difference}};
    return out;
}

}  // namespace gs
