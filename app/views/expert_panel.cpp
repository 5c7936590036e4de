// Everything about one expert of the study: where it is used, for which tokens in which context, how much it does, beside whom, and what its router row
// points at.
#include <algorithm>

#include <fmt/format.h>

#include "app/views/expert_parts.h"
#include "app/views/route_data_ui.h"
#include "app/views/study_controls.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/expert_export.h"

namespace app {
namespace {

class ExpertPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void controls(ViewContext& context, const gs::ExpertStudy& study, Pick pick);
    void uses(ViewContext& context);
    void tokens_and_partners(ViewContext& context, const gs::ExpertStudy& study);
    void router(ViewContext& context);

    gs::ExpertProfile m_profile;
    std::shared_ptr<const gs::ExpertStudy> m_study;        ///< the profile's
};

void ExpertPanel::controls(ViewContext& context, const gs::ExpertStudy& study, Pick pick) {
    if (layer_stepper("layer", study.trace.info(), pick.moe_layer)) context.selected.moe_layer = pick.moe_layer, context.selected.expert = pick.expert;
    same_line_if_fits(expert_stepper_width());
    if (expert_stepper("expert", study.n_experts(), pick.expert)) context.selected.moe_layer = pick.moe_layer, context.selected.expert = pick.expert;
    same_line_if_fits(button_width("CSV"));
    if (ImGui::Button("CSV###csv")) ImGui::SetClipboardText(gs::profile_csv(m_profile).c_str());
    tooltip("Copies a line per figure: importance, domains, word classes, tokens by lift, partners");
    same_line_if_fits(button_width("JSON"));
    if (ImGui::Button("JSON###json"))
        ImGui::SetClipboardText(gs::profile_json(m_profile).dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    tooltip("Copies everything, contexts included");
    const gs::ExpertProfile& p = m_profile;
    caption_on_line(fmt::format("{} of {} tokens ({}); uniform {}, 95 % of chance {} to {}{}", p.n, p.n_tokens, format_percent(p.share), format_percent(p.uniform),
                                format_percent(p.uniform_band.low), format_percent(p.uniform_band.high), study.complete ? "" : "; study not complete"));
}

void ExpertPanel::uses(ViewContext& context) {
    heading("By domain");
    draw_label_uses("domains", context, m_profile.domains, m_profile.share);
    caption(fmt::format("Line: its share of all tokens. Shaded: 95 % of chance. ▲ ▼ outside it. Variation over domains (CV) {}", format_number(m_profile.domain_cv)));
    heading("Importance");
    draw_figures(context, m_profile);
    heading("By word class");
    draw_label_uses("classes", context, m_profile.classes, m_profile.share);
}

void ExpertPanel::router(ViewContext& context) {
    heading("Router direction");
    const auto& words = context.state.router_words;
    const bool known = words && words->moe_layer == m_profile.moe_layer && words->expert == m_profile.expert && context.state.model && words->model_hash == context.state.model->hash;
    if (known) return draw_router_words(context, *words);
    const bool busy = context.state.activity == gs::Activity::kReadingRouter;
    ImGui::BeginDisabled(!context.state.can_run() || busy);
    if (ImGui::Button(busy ? "Reading…###nearest" : "Nearest vocabulary###nearest")) context.session.request_router_words(m_profile.moe_layer, m_profile.expert);
    ImGui::EndDisabled();
    tooltip(context.state.can_run() ? "Compares this expert's row of the router with every token's embedding, beside random directions" : "Needs a loaded model");
}

void ExpertPanel::tokens_and_partners(ViewContext& context, const gs::ExpertStudy& study) {
    heading("Tokens by lift");
    caption(fmt::format("{} ids occur {} times or more; {} lie above the 95 % of chance (about {:.0f} would by chance)", m_profile.ids_tested, gs::kMinOccurrences, m_profile.ids_beyond,
                        0.025 * m_profile.ids_tested));
    draw_profile_tokens(context, m_profile);
    heading("Partners in the layer");
    int clicked = draw_partners("partners", context, m_profile.partners, m_profile.moe_layer);
    if (clicked >= 0) context.selected = {.token = context.selected.token, .moe_layer = m_profile.moe_layer, .expert = clicked};
    struct Side {
        const char* title;
        const std::vector<gs::Partner>& partners;
        int by;
    };
    for (const Side& side : {Side{"From the MoE layer before", m_profile.before, -1}, Side{"To the MoE layer after", m_profile.after, 1}}) {
        const int moe_layer = m_profile.moe_layer + side.by;
        if (moe_layer < 0 || moe_layer >= study.n_layers()) continue;
        heading(side.title);
        clicked = draw_partners(side.title, context, side.partners, moe_layer);
        if (clicked >= 0) context.selected = {.token = context.selected.token, .moe_layer = moe_layer, .expert = clicked};
    }
    router(context);
}

void ExpertPanel::draw(ViewContext& context) {
    const auto study = study_of(context.state);
    if (draw_if_no_study(context, study.get(), "Shows what one expert is for: its domains, word classes, tokens in context, output norms and partners. It needs a study of labelled texts, which takes some seconds."))
        return;
    const Pick pick = study_pick(*study, context.selected);
    if (study != m_study || pick.moe_layer != m_profile.moe_layer || pick.expert != m_profile.expert) m_profile = gs::expert_profile(*study, pick.moe_layer, pick.expert);
    m_study = study;
    controls(context, *study, pick);
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x;
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const bool beside = room.x > unit * 48;
    if (beside) {
        if (ImGui::BeginChild("###uses", {room.x * 0.46f - gap, room.y})) uses(context);
        ImGui::EndChild();
        ImGui::SameLine(0, gap);
        if (ImGui::BeginChild("###tokens", {0, room.y})) tokens_and_partners(context, *study);
        ImGui::EndChild();
        return;
    }
    if (ImGui::BeginChild("###both", room)) {
        uses(context);
        tokens_and_partners(context, *study);
    }
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_expert_view() { return std::make_unique<ExpertPanel>(); }

}  // namespace app
