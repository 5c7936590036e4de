#include "engine/run/expert_profile.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace gs {
namespace {

TokenContext context_of(const ExpertStudy& study, size_t token, int around) {
    const StudyTokens& tokens = study.tokens;
    const int row = tokens.rows[token];
    const StudiedText& text = study.texts[static_cast<size_t>(tokens.text[token])];
    TokenContext out{.row = row, .domain = text.domain, .token = study.trace.token(row).text};
    const auto piece = [&](int r) { return study.trace.token(r).special ? std::string() : study.trace.token(r).text; };
    for (int r = std::max(text.begin, row - around); r < row; ++r) out.before += piece(r);
    for (int r = row + 1; r < std::min(text.end, row + 1 + around); ++r) out.after += piece(r);
    return out;
}

/// Spread over the occurrences: the first, the last, and some between.
std::vector<TokenContext> contexts_of(const ExpertStudy& study, const LayerRoutes& routes, int expert, int32_t id, const ProfileOptions& options) {
    std::vector<size_t> places;
    for (size_t t = 0; t < study.tokens.ids.size(); ++t) {
        const auto chosen = routes.of(static_cast<int>(t));
        if (study.tokens.ids[t] == id && std::find(chosen.begin(), chosen.end(), expert) != chosen.end()) places.push_back(t);
    }
    std::vector<TokenContext> out;
    const auto n = std::min(places.size(), static_cast<size_t>(std::max(options.n_contexts, 0)));
    for (size_t i = 0; i < n; ++i) out.push_back(context_of(study, places[n > 1 ? i * (places.size() - 1) / (n - 1) : 0], options.context_tokens));
    return out;
}

void sort_partners(std::vector<Partner>& partners) {
    std::stable_sort(partners.begin(), partners.end(), [](const Partner& a, const Partner& b) { return a.ratio() > b.ratio(); });
}

std::vector<Partner> partners_of(const LayerRoutes& routes, int expert) {
    const CoActivation pairs = co_activation(routes, PairMode::kAll);
    std::vector<Partner> out;
    for (int j = 0; j < pairs.n_experts; ++j) {
        if (j == expert || pairs.tokens[static_cast<size_t>(expert)] == 0) continue;
        out.push_back({j, pairs.pairs[pairs.at(expert, j)], pairs.share(expert, j), pairs.expected_share(expert, j), pairs.band(expert, j)});
    }
    sort_partners(out);
    return out;
}

std::vector<Partner> neighbours_of(const LayerRoutes& here, const LayerRoutes& other, int expert) {
    const CrossLayerFlow flow = cross_layer_flow(here, other);
    std::vector<Partner> out;
    for (int j = 0; j < flow.n_experts; ++j) {
        if (flow.from[static_cast<size_t>(expert)] == 0) continue;
        out.push_back({j, flow.pairs[flow.at(expert, j)], flow.share(expert, j), flow.expected_share(j), flow.band(expert, j)});
    }
    sort_partners(out);
    return out;
}

std::vector<RankedFigure> ranked_figures(const LayerStudy& layer, size_t expert) {
    std::vector<RankedFigure> out;
    for (const ImportanceFigure& row : importance_figures()) {
        std::vector<double> values;
        for (const ExpertImportance& e : layer.importance) values.push_back(e.*row.value);
        RankedFigure figure{.figure = &row, .value = values[expert], .chance = layer.importance_null[expert].*row.null};
        figure.layer_low = *std::min_element(values.begin(), values.end());
        figure.layer_high = *std::max_element(values.begin(), values.end());
        for (const double v : values) figure.layer_mean += v / static_cast<double>(values.size());
        figure.rank = rank_of(values, expert);
        for (size_t e = 0; e < values.size(); ++e) figure.layer_beyond += row.beyond_chance(layer.importance[e], layer.importance_null[e]);
        figure.beyond_chance = row.beyond_chance(layer.importance[expert], layer.importance_null[expert]);
        out.push_back(figure);
    }
    return out;
}

}  // namespace

std::vector<std::string> class_names() {
    std::vector<std::string> names;
    for (int c = 0; c < kTokenClasses; ++c) names.emplace_back(name_of(static_cast<TokenClass>(c)));
    return names;
}

std::vector<LabelUse> label_uses(const LabelCounts& counts, int expert, const std::vector<std::string>& names) {
    std::vector<LabelUse> out;
    for (int l = 0; l < counts.n_labels; ++l) {
        const uint32_t n = counts.tokens[static_cast<size_t>(l)];
        if (n == 0) continue;
        out.push_back({names[static_cast<size_t>(l)], n, counts.at(expert, l), counts.share(expert, l), counts.lift(expert, l), counts.band(expert, l)});
    }
    const auto key = [](const LabelUse& u) { return std::isnan(u.lift) ? -1 : u.lift; };
    std::stable_sort(out.begin(), out.end(), [&](const LabelUse& a, const LabelUse& b) { return key(a) > key(b); });
    return out;
}

ExpertProfile expert_profile(const ExpertStudy& study, int moe_layer, int expert, const ProfileOptions& options) {
    GS_CHECK(moe_layer >= 0 && moe_layer < study.n_layers() && expert >= 0 && expert < study.n_experts(), "no such expert in the study");
    const LayerStudy& layer = study.layers[static_cast<size_t>(moe_layer)];
    ExpertProfile out;
    out.moe_layer = moe_layer;
    out.layer = study.trace.info().moe_layers[static_cast<size_t>(moe_layer)];
    out.expert = expert;
    out.n_experts = study.n_experts();
    out.importance = layer.importance[static_cast<size_t>(expert)];
    out.n = out.importance.n;
    out.n_tokens = static_cast<uint32_t>(study.tokens.n());
    out.share = out.importance.frequency;
    const ChanceNull& uniform = layer.importance_null[static_cast<size_t>(expert)].frequency;
    out.uniform = uniform.mean;
    out.uniform_band = uniform.band;
    out.figures = ranked_figures(layer, static_cast<size_t>(expert));
    out.domains = label_uses(layer.by_domain, expert, study.tokens.domains);
    out.classes = label_uses(layer.by_class, expert, class_names());
    out.domain_cv = layer.by_domain.cv(expert);
    const std::vector<TokenLift> lifts = token_lift(layer.routes, expert, study.tokens.ids, options.at_least);
    out.ids_tested = static_cast<int>(lifts.size());
    for (const TokenLift& lift : lifts) {
        out.ids_beyond += lift.beyond_chance();
        if (static_cast<int>(out.tokens.size()) >= options.n_tokens || lift.chosen == 0) continue;
        ProfileToken token{.figures = lift, .contexts = contexts_of(study, layer.routes, expert, lift.id, options)};
        if (!token.contexts.empty()) token.text = token.contexts.front().token;
        out.tokens.push_back(std::move(token));
    }
    out.partners = partners_of(layer.routes, expert);
    if (moe_layer > 0) out.before = neighbours_of(layer.routes, study.layers[static_cast<size_t>(moe_layer) - 1].routes, expert);
    if (moe_layer + 1 < study.n_layers()) out.after = neighbours_of(layer.routes, study.layers[static_cast<size_t>(moe_layer) + 1].routes, expert);
    return out;
}

}  // namespace gs
