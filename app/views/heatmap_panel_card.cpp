#include "app/views/heatmap_panel_card.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/choice_signs.h"
#include "app/views/expert_menu.h"
#include "app/views/pick_card.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

/// Of an expert over the run.
void load_card(const gs::TraceSnapshot& trace, const RoutePicture& picture, const Pick& pick, int row) {
    const LayerStats& stats = picture.stats().layer(pick.moe_layer);
    HoverCard card(fmt::format("layer {} · expert {}", row, pick.expert));
    card.row("share of tokens", format_percent(stats.share(pick.expert)));
    card.row("tokens", fmt::format("{} of {}", stats.load.counts[static_cast<size_t>(pick.expert)], stats.load.n_tokens));
    card.row("rank by load", fmt::format("{} of {}", stats.rank(pick.expert), trace.n_experts()));
    card.row("uniform", format_percent(stats.null.share));
    card.row("95 % of chance", fmt::format("{} to {}", format_percent(stats.null.band_low), format_percent(stats.null.band_high)));
    card.note(gs::name_of(trace.info().provenance));
    card.note(kExpertMenuHint);
}

/// Of a token at a layer.
void token_card(const ViewContext& context, RoutePicture& picture, gs::ChoiceReader& choices, const Pick& pick, int col, int row) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    RouteReader& reader = picture.reader();
    HoverCard card(fmt::format("\"{}\" · layer {}", short_token(trace.token(col).text, 24), row));
    card.row("token", fmt::format("{} of {}, {}", col + 1, trace.n_tokens(), gs::name_of(trace.token(col).phase)));
    if (trace.has_weights()) card.row("top-1 weight", format_exact(reader.scalar(RouteScalar::kTopWeight, pick.moe_layer, col)));
    if (trace.has_logits()) card.row("router entropy", fmt::format("{} nats", format_exact(reader.scalar(RouteScalar::kEntropy, pick.moe_layer, col))));
    card.row("entropy at most", fmt::format("ln E = {}", format_number(std::log(trace.n_experts()))));
    const float margin = reader.scalar(RouteScalar::kMargin, pick.moe_layer, col);
    card.row("margin", !trace.has_logits() ? "not in the recorded run" : std::isnan(margin) ? "none: all experts are chosen" : format_exact(margin));
    std::string chosen;
    for (uint16_t id : trace.ids(pick.moe_layer, col).first(std::min<size_t>(8, trace.ids(pick.moe_layer, col).size()))) chosen += fmt::format("{} ", id);
    if (trace.has_logits()) card.row("choice", choice_text(choices.read(trace, pick.moe_layer, col, {context.settings.logit_error})));
    card.row("experts", chosen + (trace.ids(pick.moe_layer, col).size() > 8 ? "…" : ""));
    card.note(gs::name_of(trace.info().provenance));
    card.note(kExpertMenuHint);
}

/// Of an expert for a token at a layer.
void expert_card(const ViewContext& context, RoutePicture& picture, gs::ChoiceReader& choices, const Pick& pick) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    const ExpertFacts facts = picture.reader().facts(pick.moe_layer, pick.token, pick.expert);
    HoverCard card(fmt::format("\"{}\" · layer {} · expert {}", short_token(trace.token(pick.token).text, 24), model_layer(trace.info(), pick.moe_layer), pick.expert));
    card.row("token", fmt::format("{} of {}, {}", pick.token + 1, trace.n_tokens(), gs::name_of(trace.token(pick.token).phase)));
    if (trace.has_logits()) {
        card.row("router logit", format_exact(facts.logit));
        card.row("preference", format_exact(facts.preference));
        card.row("rank", fmt::format("{} of {}", facts.preference_rank, trace.n_experts()));
        card.row("selection score", std::isfinite(facts.selection) ? format_exact(facts.selection) : "cannot be chosen (masked)");
    } else {
        card.row("router logit", "not in the recorded run");
    }
    const std::string weight = trace.has_weights() ? format_exact(facts.weight) : "chosen; weight not in the recorded run";
    card.row("applied weight", facts.slot < 0 ? fmt::format("not chosen, k = {}", facts.k) : fmt::format("{}  ({} of {})", weight, facts.slot + 1, facts.k));
    if (trace.has_weights()) card.row("Σ weights", format_number(facts.weight_sum));
    if (trace.has_logits()) {
        const gs::Choice& choice = choices.read(trace, pick.moe_layer, pick.token, {context.settings.logit_error});
        if (std::find(choice.dropped.begin(), choice.dropped.end(), pick.expert) != choice.dropped.end()) card.row("dropped", "chosen, but the expert was full");
        card.row("choice", choice_text(choice));
    }
    card.note(gs::name_of(trace.info().provenance));
    card.note(kExpertMenuHint);
}

}  // namespace

void draw_cell_card(const ViewContext& context, RoutePicture& picture, gs::ChoiceReader& choices, int col, int row) {
    const Pick pick = picture.pick_of(col, row);
    const PictureSpec& shown = picture.spec();
    if (pick.moe_layer < 0) {
        HoverCard card(fmt::format("layer {}", row));
        card.note("A dense layer: it has no router.");
    } else if (shown.kind == PictureKind::kLayerExpert && shown.over_run) {
        load_card(context.what_if.trace(), picture, pick, row);
    } else if (shown.kind == PictureKind::kTokenLayer) {
        token_card(context, picture, choices, pick, col, row);
    } else {
        expert_card(context, picture, choices, pick);
    }
}

std::string picture_legend(const ViewContext& context, const RoutePicture& picture) {
    const PictureSpec& shown = picture.spec();
    const gs::TraceSnapshot& trace = context.what_if.trace();
    const gs::TraceInfo& info = trace.info();
    std::string text;
    bool hatch = info.n_moe_layers() < n_model_layers(info) && shown.kind != PictureKind::kTokenExpert;
    std::string hatch_text = hatch ? "dense layer" : "";
    const bool chosen_only = shown.quantity == Quantity::kAppliedWeight && (shown.kind == PictureKind::kTokenExpert || (shown.kind == PictureKind::kLayerExpert && !shown.over_run));
    if (chosen_only) hatch_text = hatch ? "not chosen, or a dense layer" : "not chosen";
    switch (shown.kind) {
        case PictureKind::kTokenExpert: text = fmt::format("layer {}, {} tokens × {} experts", info.moe_layers[static_cast<size_t>(shown.moe_layer)], trace.n_tokens(), trace.n_experts()); break;
        case PictureKind::kLayerExpert:
            text = shown.over_run ? fmt::format("{} tokens; uniform: {}", picture.stats().layer(0).load.n_tokens, format_percent(picture.stats().layer(0).null.share))
                                  : fmt::format("token {} \"{}\"", shown.token + 1, short_token(trace.token(shown.token).text, 16));
            break;
        case PictureKind::kTokenLayer: text = fmt::format("{} tokens × {} MoE layers", trace.n_tokens(), info.n_moe_layers()); break;
    }
    if (!hatch_text.empty()) text += "; hatched: " + hatch_text;
    if (context.settings.choice_signs && trace.has_logits() && !(shown.kind == PictureKind::kLayerExpert && shown.over_run)) {
        text += "; corner: fragile";
        if (trace.n_tokens() > 0 && trace.policy(trace.n_tokens() - 1).capacity > 0) text += ", cross: dropped";
    }
    const bool by_quantity = shown.kind != PictureKind::kTokenLayer && !(shown.kind == PictureKind::kLayerExpert && shown.over_run);
    const bool scalar_lacks = shown.kind == PictureKind::kTokenLayer && (shown.scalar == RouteScalar::kTopWeight ? !trace.has_weights() : !trace.has_logits());
    if (const char* lacking = by_quantity ? what_is_lacking(trace, shown.quantity) : nullptr) text += fmt::format("; {}", lacking);
    if (scalar_lacks) text += "; this recorded run does not hold it";
    return text;
}

}  // namespace app
