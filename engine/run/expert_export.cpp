#include "engine/run/expert_export.h"

#include <fmt/format.h>

#include <cmath>

namespace gs {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
Json json_of(const Band& band) { return {number(band.low), number(band.high)}; }
Json json_of(const ChanceNull& null) { return {{"mean", number(null.mean)}, {"band_95", json_of(null.band)}}; }
Json json_of(const ShuffleNull& null) { return {{"mean", number(null.mean)}, {"band_95", json_of(null.band)}, {"shuffles", null.n}}; }

Json json_of(const Information& i) {
    return {{"bits", i.bits}, {"entropy_bits", i.entropy}, {"share", i.share()}, {"adjusted_share", i.adjusted_share()}, {"beyond_chance", i.beyond_chance()}, {"null", json_of(i.null)}};
}

/// A field of CSV that may hold anything.
std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"') out += '"';
        out += c;
    }
    return out + '"';
}

/// Bytes of a token for JSON, which knows no other than UTF-8: what is broken is replaced when it is written.
Json text_of(const std::string& bytes) { return Json(bytes); }

std::string csv_number(double value) { return std::isfinite(value) ? fmt::format("{:.9g}", value) : ""; }

Json json_of(const LabelUse& u) {
    return {{"label", u.label}, {"tokens", u.n}, {"chosen", u.chosen}, {"share", number(u.share)}, {"lift", number(u.lift)}, {"band_95", json_of(u.band)}};
}

Json json_of(const std::vector<Partner>& partners) {
    Json out = Json::array();
    for (const Partner& p : partners)
        out.push_back({{"expert", p.expert}, {"tokens", p.n}, {"share", number(p.share)}, {"expected", number(p.expected)}, {"band_95", json_of(p.band)}});
    return out;
}

void add_label_lines(std::string& csv, int layer, const char* kind, const LabelCounts& counts, const std::vector<std::string>& names) {
    for (int e = 0; e < counts.n_experts; ++e)
        for (int l = 0; l < counts.n_labels; ++l) {
            const uint32_t n = counts.tokens[static_cast<size_t>(l)];
            if (n == 0) continue;
            const Band band = counts.band(e, l);
            csv += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", layer, kind, quoted(names[static_cast<size_t>(l)]), e, n, counts.at(e, l), csv_number(counts.share(e, l)),
                               csv_number(counts.lift(e, l)), csv_number(band.low), csv_number(band.high));
        }
}

Json layer_json(const LayerStudy& layer, int blk) {
    return {{"layer", blk}, {"mean_k", layer.routes.mean_k()}, {"domain", json_of(layer.domain)}, {"word_class", json_of(layer.word_class)},
            {"domain_given_class", json_of(layer.domain_given_class)}, {"class_given_domain", json_of(layer.class_given_domain)},
            {"domain_divergence_bits", [&] {
                 Json values = Json::array();
                 for (const double v : layer.domain_divergence) values.push_back(number(v));
                 return values;
             }()},
            {"vocabulary_specialization", {{"mean", layer.vocabulary.mean}, {"ids", layer.vocabulary.n_ids}, {"at_least", kMinOccurrences}, {"null", json_of(layer.vocabulary.null)}}},
            {"single_expert_cosine", {{"mean", layer.top_cosine.cosine}, {"if_orthogonal", layer.top_cosine.orthogonal}, {"tokens", layer.top_cosine.n}}},
            {"repetition", repetition_json(layer.repetition)}, {"token_id", id_effect_json(layer.id_effect)}};
}

Json verdict_json(const SpecializationVerdict& v) {
    return {{"claim", name_of(v.claim)}, {"text", v.text()}, {"layers", v.n_layers}, {"tokens", v.n_tokens}, {"domain_share", v.domain_share}, {"class_share", v.class_share},
            {"domain_given_class", v.domain_given_class}, {"class_given_domain", v.class_given_domain}, {"layers_domain_leads", v.domain_leads},
            {"layers_class_leads", v.class_leads}, {"layers_domain_beyond_chance", v.domain_beyond}, {"layers_class_beyond_chance", v.class_beyond}};
}

}  // namespace

Json specialization_json(const ExpertStudy& study) {
    Json texts = Json::array(), layers = Json::array(), classes = Json::object(), domains = Json::object();
    for (const StudiedText& t : study.texts) texts.push_back({{"domain", t.domain}, {"tokens", t.end - t.begin}, {"left_out", t.n_left_out}});
    for (size_t d = 0; d < study.tokens.domains.size(); ++d) domains[study.tokens.domains[d]] = study.tokens.domain_tokens[d];
    const std::vector<std::string> names = class_names();
    for (size_t c = 0; c < names.size(); ++c) classes[names[c]] = study.tokens.class_tokens[c];
    for (int m = 0; m < study.n_layers(); ++m) layers.push_back(layer_json(study.layers[static_cast<size_t>(m)], study.trace.info().moe_layers[static_cast<size_t>(m)]));
    return {{"model", study.model_hash}, {"policy", study.policy.to_text()}, {"provenance", "computed"}, {"tokens", study.tokens.n()}, {"experts", study.n_experts()},
            {"window", study.window}, {"domain_block_tokens", kDomainBlock}, {"texts", texts}, {"domain_tokens", domains}, {"class_tokens", classes},
            {"verdict", verdict_json(study.verdict)}, {"layers", layers}, {"complete", study.complete}};
}

std::string specialization_csv(const ExpertStudy& study) {
    std::string csv = "layer,kind,label,expert,tokens,chosen,share,lift,band_low,band_high\n";
    for (int m = 0; m < study.n_layers(); ++m) {
        const LayerStudy& layer = study.layers[static_cast<size_t>(m)];
        const int blk = study.trace.info().moe_layers[static_cast<size_t>(m)];
        add_label_lines(csv, blk, "domain", layer.by_domain, study.tokens.domains);
        add_label_lines(csv, blk, "word class", layer.by_class, class_names());
    }
    return csv;
}

std::string experts_csv(const ExpertStudy& study) {
    std::string csv = "layer,expert,tokens,of_tokens";
    for (const ImportanceFigure& f : importance_figures()) csv += fmt::format(",{0},{0}_chance,{0}_low,{0}_high", f.key);
    csv += ",cosine_if_orthogonal,top_domain,top_domain_lift,top_class,top_class_lift,domain_cv\n";
    for (int m = 0; m < study.n_layers(); ++m) {
        const LayerStudy& layer = study.layers[static_cast<size_t>(m)];
        for (int e = 0; e < study.n_experts(); ++e) {
            const ExpertImportance& i = layer.importance[static_cast<size_t>(e)];
            const auto domains = label_uses(layer.by_domain, e, study.tokens.domains), classes = label_uses(layer.by_class, e, class_names());
            csv += fmt::format("{},{},{},{}", study.trace.info().moe_layers[static_cast<size_t>(m)], e, i.n, study.tokens.n());
            for (const ImportanceFigure& f : importance_figures()) {
                const ChanceNull& chance = layer.importance_null[static_cast<size_t>(e)].*f.null;
                csv += fmt::format(",{},{},{},{}", csv_number(i.*f.value), csv_number(chance.mean), csv_number(chance.band.low), csv_number(chance.band.high));
            }
            csv += fmt::format(",{},{},{},{},{},{}\n", csv_number(i.cosine_orthogonal), quoted(domains.front().label), csv_number(domains.front().lift), quoted(classes.front().label),
                               csv_number(classes.front().lift), csv_number(layer.by_domain.cv(e)));
        }
    }
    return csv;
}

Json profile_json(const ExpertProfile& p) {
    Json figures = Json::object(), domains = Json::array(), classes = Json::array(), tokens = Json::array();
    for (const RankedFigure& f : p.figures)
        figures[f.figure->name] = {{"value", f.value}, {"tokens", p.n}, {"of_tokens", p.n_tokens}, {"meaning", f.figure->meaning}, {"null", json_of(f.chance)}, {"beyond_chance", f.beyond_chance},
                                   {"rank", f.rank}, {"layer_low", f.layer_low}, {"layer_mean", f.layer_mean}, {"layer_high", f.layer_high}, {"layer_beyond_chance", f.layer_beyond}};
    for (const LabelUse& u : p.domains) domains.push_back(json_of(u));
    for (const LabelUse& u : p.classes) classes.push_back(json_of(u));
    for (const ProfileToken& t : p.tokens) {
        Json contexts = Json::array();
        for (const TokenContext& c : t.contexts) contexts.push_back({{"domain", c.domain}, {"before", text_of(c.before)}, {"token", text_of(c.token)}, {"after", text_of(c.after)}});
        tokens.push_back({{"id", t.figures.id}, {"text", text_of(t.text)}, {"occurrences", t.figures.n}, {"chosen", t.figures.chosen}, {"lift", t.figures.lift},
                          {"band_95", json_of(t.figures.band)}, {"contexts", contexts}});
    }
    return {{"layer", p.layer}, {"expert", p.expert}, {"tokens", p.n}, {"of_tokens", p.n_tokens}, {"share", p.share}, {"uniform_share", p.uniform},
            {"uniform_band_95", json_of(p.uniform_band)}, {"cosine_if_orthogonal", p.importance.cosine_orthogonal}, {"importance", figures}, {"domains", domains},
            {"domain_cv", number(p.domain_cv)}, {"word_classes", classes}, {"ids_tested", p.ids_tested}, {"ids_beyond_chance", p.ids_beyond}, {"top_tokens", tokens},
            {"partners", json_of(p.partners)}, {"layer_before", json_of(p.before)}, {"layer_after", json_of(p.after)}};
}

std::string profile_csv(const ExpertProfile& p) {
    std::string csv = "kind,name,tokens,chosen,value,expected,band_low,band_high\n";
    const auto line = [&](const char* kind, const std::string& name, uint32_t n, uint32_t chosen, double value, double expected, const Band& band) {
        csv += fmt::format("{},{},{},{},{},{},{},{}\n", kind, quoted(name), n, chosen, csv_number(value), csv_number(expected), csv_number(band.low), csv_number(band.high));
    };
    for (const RankedFigure& f : p.figures) line("importance", f.figure->name, p.n_tokens, p.n, f.value, f.chance.mean, f.chance.band);
    for (const LabelUse& u : p.domains) line("domain", u.label, u.n, u.chosen, u.share, p.share, u.band);
    for (const LabelUse& u : p.classes) line("word class", u.label, u.n, u.chosen, u.share, p.share, u.band);
    for (const ProfileToken& t : p.tokens) line("token lift", t.text, t.figures.n, t.figures.chosen, t.figures.lift, 1, t.figures.band);
    for (const Partner& q : p.partners) line("partner", fmt::format("{}", q.expert), p.n, q.n, q.share, q.expected, q.band);
    return csv;
}

Json router_words_json(const RouterWords& words) {
    Json nearest = Json::array();
    for (const RouterWord& w : words.nearest) nearest.push_back({{"id", w.id}, {"text", text_of(w.text)}, {"cosine", w.cosine}});
    return {{"nearest", nearest}, {"vocabulary", words.n_vocabulary},
            {"random_directions", {{"n", words.n_directions}, {"mean_largest_cosine", words.random_mean}, {"largest_cosine", words.random_most}}}};
}

Json co_activation_json(const CoActivation& pairs) {
    Json shares = Json::array(), expected = Json::array();
    int beyond = 0, all = 0;
    pairs.count_beyond(beyond, all);
    for (int i = 0; i < pairs.n_experts; ++i) {
        Json row = Json::array(), expected_row = Json::array();
        for (int j = 0; j < pairs.n_experts; ++j) {
            row.push_back(number(pairs.share(i, j)));
            expected_row.push_back(number(pairs.expected_share(i, j)));
        }
        shares.push_back(row);
        expected.push_back(expected_row);
    }
    return {{"mode", name_of(pairs.mode)}, {"tokens", pairs.n_tokens}, {"uniform", pairs.uniform}, {"pairs_beyond_chance", beyond}, {"pairs", all},
            {"expert_tokens", pairs.tokens}, {"share", shares}, {"expected_share", expected}};
}

std::string co_activation_csv(const CoActivation& pairs) {
    std::string csv = "expert,partner,tokens,both,share,expected,band_low,band_high,jaccard,lift\n";
    for (int i = 0; i < pairs.n_experts; ++i)
        for (int j = 0; j < pairs.n_experts; ++j) {
            if (i == j) continue;
            const Band band = pairs.band(i, j);
            csv += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", i, j, pairs.tokens[static_cast<size_t>(i)], pairs.pairs[pairs.at(i, j)], csv_number(pairs.share(i, j)),
                               csv_number(pairs.expected_share(i, j)), csv_number(band.low), csv_number(band.high), csv_number(pairs.jaccard(i, j)), csv_number(pairs.lift(i, j)));
        }
    return csv;
}

Json flow_json(const CrossLayerFlow& flow) {
    Json shares = Json::array(), loads = Json::array();
    int beyond = 0, all = 0;
    flow.count_beyond(beyond, all);
    for (int e = 0; e < flow.n_experts; ++e) {
        Json row = Json::array();
        for (int next = 0; next < flow.n_experts; ++next) row.push_back(number(flow.share(e, next)));
        shares.push_back(row);
        loads.push_back(number(flow.expected_share(e)));
    }
    return {{"tokens", flow.n_tokens}, {"uniform", flow.uniform}, {"pairs_beyond_chance", beyond}, {"pairs", all}, {"share", shares}, {"expected_share", loads}};
}

std::string flow_csv(const CrossLayerFlow& flow) {
    std::string csv = "expert,next_expert,tokens,both,share,expected,band_low,band_high,lift\n";
    for (int e = 0; e < flow.n_experts; ++e)
        for (int next = 0; next < flow.n_experts; ++next) {
            const Band band = flow.band(e, next);
            csv += fmt::format("{},{},{},{},{},{},{},{},{}\n", e, next, flow.from[static_cast<size_t>(e)], flow.pairs[flow.at(e, next)], csv_number(flow.share(e, next)),
                               csv_number(flow.expected_share(next)), csv_number(band.low), csv_number(band.high), csv_number(flow.lift(e, next)));
        }
    return csv;
}

Json repetition_json(const Repetition& r) {
    return {{"pairs", r.n_pairs}, {"first_choice", r.first}, {"any_overlap", r.any}, {"uniform_first_choice", r.uniform_first}, {"uniform_any_overlap", r.uniform_any},
            {"shuffled_first_choice", json_of(r.shuffled_first)}, {"shuffled_any_overlap", json_of(r.shuffled_any)}};
}

Json id_effect_json(const IdEffect& e) {
    return {{"ids", e.n_ids}, {"pairs", e.n_pairs}, {"jaccard", e.jaccard}, {"same_first_choice", e.same_first}, {"uniform_jaccard", e.uniform}, {"shuffled_jaccard", json_of(e.shuffled)}};
}

}  // namespace gs
