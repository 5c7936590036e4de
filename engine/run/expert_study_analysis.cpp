// What is computed from the routing of a study: tables, nulls and the verdict.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "engine/core/check.h"
#include "engine/run/expert_study.h"

namespace gs {
namespace {

constexpr uint64_t kSeed = 20240607;         // of all shuffles: a study repeats exactly
constexpr int kPairsPerId = 32;

Labels int16_labels(const std::vector<TokenClass>& classes, const std::vector<int>& rows) {
    Labels out;
    for (const int row : rows) out.push_back(static_cast<int16_t>(classes[static_cast<size_t>(row)]));
    return out;
}

/// "no layer", "layer 3", "layers 0–2, 5".
std::string layers_text(const std::vector<int>& layers) {
    if (layers.empty()) return "no layer";
    std::string out;
    for (size_t i = 0; i < layers.size();) {
        size_t end = i + 1;
        while (end < layers.size() && layers[end] == layers[end - 1] + 1) ++end;
        out += fmt::format("{}{}", out.empty() ? "" : ", ", layers[i]);
        if (end > i + 1) out += fmt::format("–{}", layers[end - 1]);
        i = end;
    }
    return (layers.size() == 1 ? "layer " : "layers ") + out;
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

}  // namespace

const char* name_of(Claim claim) {
    constexpr const char* kNames[] = {"neither", "domain", "word class", "both"};
    return kNames[static_cast<size_t>(claim)];
}

StudyTokens study_tokens(const TraceSnapshot& trace, std::span<const StudiedText> texts) {
    StudyTokens out;
    std::vector<TokenClass> classes(static_cast<size_t>(trace.n_tokens()), TokenClass::kNone);
    for (size_t i = 0; i < texts.size(); ++i) {
        const StudiedText& text = texts[i];
        const auto known = std::find(out.domains.begin(), out.domains.end(), text.domain);
        const auto domain = static_cast<int16_t>(known - out.domains.begin());
        if (known == out.domains.end()) out.domains.push_back(text.domain);
        std::vector<std::string> pieces;
        std::vector<bool> special;
        for (int row = text.begin; row < text.end; ++row) {
            pieces.push_back(trace.token(row).text);
            special.push_back(trace.token(row).special);
        }
        const std::vector<TokenClass> of_text = classify_tokens(pieces, special);
        std::copy(of_text.begin(), of_text.end(), classes.begin() + text.begin);
        for (int row = text.begin; row < text.end; ++row) {
            if (classes[static_cast<size_t>(row)] == TokenClass::kNone) continue;
            out.rows.push_back(row);
            out.ids.push_back(trace.token(row).id);
            out.domain.push_back(domain);
            out.text.push_back(static_cast<int16_t>(i));
        }
    }
    out.word_class = int16_labels(classes, out.rows);
    out.domain_tokens.assign(out.domains.size(), 0);
    out.class_tokens.assign(kTokenClasses, 0);
    for (const int16_t label : out.domain) ++out.domain_tokens[static_cast<size_t>(label)];
    for (const int16_t label : out.word_class) ++out.class_tokens[static_cast<size_t>(label)];
    return out;
}

StudyShuffles::StudyShuffles(const StudyTokens& tokens, int n_shuffles)
    : domain(shuffle_blocks(tokens.domain, tokens.text, kDomainBlock, n_shuffles, kSeed)),
      word_class(shuffle_tokens(tokens.word_class, {}, n_shuffles, kSeed + 1)),
      class_within_domain(shuffle_tokens(tokens.word_class, tokens.domain, n_shuffles, kSeed + 2)),
      n(n_shuffles) {}

LayerStudy analyse_layer(LayerRoutes routes, SlotOutputs outputs, const StudyTokens& tokens, const StudyShuffles& shuffles) {
    LayerStudy out;
    const int n_domains = std::max(1, static_cast<int>(tokens.domains.size()));
    out.by_domain = count_labels(routes, tokens.domain, n_domains);
    out.by_class = count_labels(routes, tokens.word_class, kTokenClasses);
    out.domain_divergence = label_divergence(out.by_domain);
    out.domain = label_information(routes, tokens.domain, n_domains, {}, 0, shuffles.domain);
    out.word_class = label_information(routes, tokens.word_class, kTokenClasses, {}, 0, shuffles.word_class);
    out.domain_given_class = label_information(routes, tokens.domain, n_domains, tokens.word_class, kTokenClasses, shuffles.domain);
    out.class_given_domain = label_information(routes, tokens.word_class, kTokenClasses, tokens.domain, n_domains, shuffles.class_within_domain);
    const int fewer = std::min(shuffles.n, 100);
    out.repetition = consecutive_repetition(routes, tokens.text, fewer, kSeed + 3);
    out.id_effect = token_id_effect(routes, tokens.ids, kPairsPerId, std::min(fewer, 40), kSeed + 4);
    out.vocabulary = vocabulary_specialization(routes, tokens.ids, kMinOccurrences, std::min(fewer, 40), kSeed + 5);
    out.importance = expert_importance(routes, outputs);
    out.importance_null = importance_nulls(routes, outputs);
    out.top_cosine = single_expert_cosine(routes, outputs);
    out.routes = std::move(routes);
    out.outputs = std::move(outputs);
    return out;
}

SpecializationVerdict judge(std::span<const LayerStudy> layers, std::span<const int> blk, const StudyTokens& tokens) {
    GS_CHECK(blk.size() == layers.size(), "a number for every layer");
    SpecializationVerdict v;
    v.n_layers = static_cast<int>(layers.size());
    v.n_tokens = tokens.n();
    v.n_domains = static_cast<int>(tokens.domains.size());
    if (layers.empty()) return v;
    const double n = v.n_layers;
    for (size_t m = 0; m < layers.size(); ++m) {
        const LayerStudy& layer = layers[m];
        v.domain_beyond += layer.domain.beyond_chance();
        v.class_beyond += layer.word_class.beyond_chance();
        const double domain = layer.domain.adjusted_share(), word_class = layer.word_class.adjusted_share();
        if (domain > word_class) v.domain_leads.push_back(blk[m]);
        if (word_class > domain) v.class_leads.push_back(blk[m]);
        v.domain_share += domain / n;
        v.class_share += word_class / n;
        v.domain_given_class += layer.domain_given_class.adjusted_share() / n;
        v.class_given_domain += layer.class_given_domain.adjusted_share() / n;
    }
    // A claim stands when it goes beyond chance in most layers; it leads when it does so in two layers of three and in the mean.
    const bool domain = 2 * v.domain_beyond > v.n_layers, word_class = 2 * v.class_beyond > v.n_layers;
    const bool domain_leads = v.domain_share > v.class_share && 3 * std::ssize(v.domain_leads) >= 2 * v.n_layers;
    const bool class_leads = v.class_share > v.domain_share && 3 * std::ssize(v.class_leads) >= 2 * v.n_layers;
    if (domain && word_class) v.claim = domain_leads ? Claim::kDomain : class_leads ? Claim::kWordClass : Claim::kBoth;
    else v.claim = domain ? Claim::kDomain : word_class ? Claim::kWordClass : Claim::kNeither;
    return v;
}

std::string SpecializationVerdict::text() const {
    const std::string figures = fmt::format(
        "Which experts a token takes tells {} of what there is to know about its word class and {} about its domain (means over {} layers, chance subtracted). "
        "The word class leads in {}, the domain in {}; beyond the 95 % of chance they are in {} and {} layers.",
        percent(class_share), percent(domain_share), n_layers, layers_text(class_leads), layers_text(domain_leads), class_beyond, domain_beyond);
    if (n_domains < 2) return "All texts are of one domain, so domains cannot be compared: add a text of another. " + figures;
    std::string head;
    switch (claim) {
        case Claim::kNeither: head = "Neither claim holds on these texts: routing follows domain and word class no further than chance in most layers."; break;
        case Claim::kDomain: head = "Experts here are specialists by domain more than by kind of word."; break;
        case Claim::kWordClass: head = "Experts here are specialists by kind of word more than by domain."; break;
        case Claim::kBoth: head = "Both claims hold, each in its layers: experts follow domain and kind of word, and neither leads throughout."; break;
    }
    return fmt::format("{} {} With the word class known, the domain still counts for {}; with the domain known, the word class for {}.", head, figures,
                       percent(domain_given_class), percent(class_given_domain));
}

}  // namespace gs
