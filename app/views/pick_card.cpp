#include "app/views/pick_card.h"

#include <fmt/format.h>

#include <cmath>

#include "app/views/route_data.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {

void provenance_badge(const ViewContext& context, gs::Provenance provenance) {
    const Theme& theme = context.theme;
    badge(gs::name_of(provenance), provenance == gs::Provenance::kWhatIf ? theme.what_if : theme.text_dim);
}

static void token_rows(HoverCard& card, const gs::TraceSnapshot& trace, int t) {
    const gs::TokenRow& row = trace.token(t);
    card.row("token", fmt::format("{} of {}  \"{}\"", t + 1, trace.n_tokens(), token_label(trace, t, 24)));
    if (!trace.info().lacks.token_ids) card.row("id", fmt::format("{}  {}", row.id, code_points(std::string_view(row.text).substr(0, 16))));
    card.row("phase", gs::name_of(row.phase));
    if (!std::isnan(row.logprob))
        card.row("log prob.", fmt::format("{} nats ({})", format_number(row.logprob), format_percent(std::exp(row.logprob))));
    if (!std::isnan(row.entropy)) card.row("entropy", fmt::format("{} nats", format_number(row.entropy)));
}

static void expert_rows(HoverCard& card, const gs::TraceSnapshot& trace, const Pick& pick) {
    const auto logits = trace.logits(pick.moe_layer, pick.token);
    const auto e = static_cast<size_t>(pick.expert);
    if (trace.has_logits()) {
        std::vector<float> preference(logits.size());
        gs::preference(trace.info().router, logits, preference);
        int rank = 1;
        for (size_t i = 0; i < preference.size(); ++i) rank += preference[i] > preference[e] || (preference[i] == preference[e] && i < e);
        card.row("preference", fmt::format("{}  (rank {} of {})", format_exact(preference[e]), rank, preference.size()));
        card.row("router logit", format_exact(logits[e]));
    } else {
        card.row("preference", "not in the recorded run");
    }
    const auto ids = trace.ids(pick.moe_layer, pick.token);
    const auto weights = trace.weights(pick.moe_layer, pick.token);
    std::string applied = "not chosen";
    for (size_t slot = 0; slot < ids.size(); ++slot)
        if (ids[slot] == pick.expert) applied = fmt::format("{}  (slot {} of {})", trace.has_weights() ? format_exact(weights[slot]) : "chosen", slot + 1, ids.size());
    card.row("applied weight", applied);
}

static void layer_rows(HoverCard& card, const gs::TraceSnapshot& trace, const Pick& pick) {
    const auto logits = trace.logits(pick.moe_layer, pick.token);
    const auto ids = trace.ids(pick.moe_layer, pick.token);
    std::string chosen;
    for (size_t slot = 0; slot < ids.size() && slot < 8; ++slot) chosen += fmt::format("{}{}", slot ? ", " : "", ids[slot]);
    card.row("chosen", ids.size() > 8 ? chosen + ", …" : chosen);
    if (!trace.has_logits()) return;
    std::vector<float> preference(logits.size());
    gs::preference(trace.info().router, logits, preference);
    card.row("router entropy", fmt::format("{} nats", format_number(gs::router_entropy(preference))));
}

void pick_card(ViewContext& context, const Pick& pick, const char* hint) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    const bool token = pick.token >= 0 && pick.token < trace.n_tokens(),
               layer = pick.moe_layer >= 0 && pick.moe_layer < trace.n_moe_layers();
    const bool expert = pick.expert >= 0 && pick.expert < trace.n_experts();
    std::string title;
    if (layer) title += fmt::format("layer {}", trace.info().moe_layers[static_cast<size_t>(pick.moe_layer)]);
    if (expert) title += fmt::format("{}expert {}", title.empty() ? "" : " · ", pick.expert);
    if (token) title = fmt::format("\"{}\"{}{}", token_label(trace, pick.token, 24), title.empty() ? "" : " · ", title);
    if (title.empty()) return;
    HoverCard card(title);
    if (token) token_rows(card, trace, pick.token);
    if (token && layer && expert)
        expert_rows(card, trace, pick);
    else if (token && layer)
        layer_rows(card, trace, pick);
    card.note(gs::name_of(trace.info().provenance));
    if (hint) card.note(hint);
}

}  // namespace app
