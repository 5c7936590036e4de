#include "engine/io/diff_export.h"

#include <cmath>

#include <fmt/format.h>

#include "engine/routing/metrics.h"
#include "engine/routing/text_diff.h"

namespace gs {
namespace {

using Json = nlohmann::ordered_json;

Json known(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json run_json(const TraceSnapshot& trace) {
    const TraceInfo& info = trace.info();
    return {{"model", info.model_name}, {"file", info.model_file}, {"hash", info.model_hash}, {"engine", info.engine}, {"precision", info.precision},
            {"policy", trace.empty() ? "" : trace.policy(trace.n_tokens() - 1).to_text()}, {"imported_from", info.source.empty() ? Json(nullptr) : Json(info.source)},
            {"provenance", name_of(info.provenance)}, {"tokens", trace.n_tokens()}};
}

Json flip_json(const RunDiff& diff, const RouteFlip& flip, const TraceSnapshot& a) {
    const TokenPair pair = diff.pairs[static_cast<size_t>(flip.pair)];
    const bool all_chosen = std::isinf(flip.margin);
    return {{"token_a", pair.a}, {"token_b", pair.b}, {"text", a.token(pair.a).text}, {"layer", a.info().moe_layers[static_cast<size_t>(flip.moe_layer)]},
            {"k_a", flip.k_a}, {"k_b", flip.k_b}, {"shared", flip.n_shared}, {"left", flip.left}, {"entered", flip.entered},
            {"margin", all_chosen ? Json("all chosen") : known(flip.margin)}};
}

Json pieces_json(const std::vector<DiffPiece>& pieces) {
    Json out = Json::array();
    for (const DiffPiece& piece : pieces) out.push_back({{"text", piece.text}, {"differs", piece.differs}});
    return out;
}

Json layer_json(const RunDiff& diff, int m, const TraceSnapshot& a, const TraceSnapshot& b) {
    const LayerDiff& layer = diff.layers[static_cast<size_t>(m)];
    const double load_jsd = jensen_shannon_bits(layer_load(a, m, PhaseFilter::kBoth).counts, layer_load(b, m, PhaseFilter::kBoth).counts);
    return {{"layer", a.info().moe_layers[static_cast<size_t>(m)]}, {"decisions", layer.n_decisions}, {"flips", layer.n_flips}, {"route_agreement", layer.agreement},
            {"route_agreement_null", layer.agreement_null}, {"kl_nats", known(layer.kl)}, {"load_jsd_bits", known(load_jsd)}};
}

std::string text_of(const TraceSnapshot& trace) {
    std::string text;
    for (int t = 0; t < trace.n_tokens(); ++t)
        if (!trace.token(t).special) text += trace.token(t).text;
    return text;
}

}  // namespace

Json run_diff_json(const RunDiff& diff, const TraceSnapshot& a, const TraceSnapshot& b, size_t most_flips) {
    Json json = {{"a", run_json(a)}, {"b", run_json(b)}, {"paired_by", name_of(diff.paired_by)}, {"pairing_exact", diff.exact}, {"pairs", diff.pairs.size()},
                 {"first_difference", diff.first_token_difference}};
    json["not_comparable"] = diff.not_comparable.empty() ? Json(nullptr) : Json(diff.not_comparable);
    if (diff.comparable()) {
        json["route_agreement"] = diff.agreement;
        json["route_agreement_null"] = diff.agreement_null;
        json["kl_nats"] = known(diff.kl);
        json["any_layer_flip_rate"] = diff.any_layer_flip_rate;
        json["any_layer_flip_rate_null"] = diff.any_layer_flip_null;
        json["mean_flipped_layers"] = diff.mean_flipped_layers;
        json["mean_flipped_layers_null"] = diff.mean_flipped_null;
        json["first_divergence"] = diff.first_divergence ? flip_json(diff, *diff.first_divergence, a) : Json(nullptr);
        json["layers"] = Json::array();
        for (int m = 0; m < static_cast<int>(diff.layers.size()); ++m) json["layers"].push_back(layer_json(diff, m, a, b));
        json["n_flips"] = diff.flips.size();
        json["flips"] = Json::array();
        for (size_t i = 0; i < std::min(most_flips, diff.flips.size()); ++i) json["flips"].push_back(flip_json(diff, diff.flips[i], a));
    }
    if (!a.info().lacks.text && !b.info().lacks.text) {
        const TextDiff texts = diff_words(text_of(a), text_of(b));
        json["text"] = {{"equal_share_of_words", texts.equal_share}, {"a", pieces_json(texts.a)}, {"b", pieces_json(texts.b)}};
    }
    return json;
}

std::string flips_csv(const RunDiff& diff, const TraceSnapshot& a) {
    std::string csv = "token_a,token_b,id,layer,k_a,k_b,shared,left,entered,margin\n";
    for (const RouteFlip& flip : diff.flips) {
        const TokenPair pair = diff.pairs[static_cast<size_t>(flip.pair)];
        csv += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", pair.a, pair.b, a.token(pair.a).id, a.info().moe_layers[static_cast<size_t>(flip.moe_layer)], flip.k_a, flip.k_b,
                           flip.n_shared, flip.left, flip.entered, std::isnan(flip.margin) ? "" : fmt::format("{:.9g}", flip.margin));
    }
    return csv;
}

}  // namespace gs
