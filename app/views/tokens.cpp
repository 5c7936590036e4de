// Prompt and output as a strip of tokens, coloured by a chosen quantity.
#include <fmt/format.h>

#include <algorithm>

#include "app/views/expert_menu.h"
#include "app/views/pick_card.h"
#include "app/views/policy_edit.h"
#include "app/views/text_ghost.h"
#include "app/views/token_values.h"
#include "app/views/views_b.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_strip.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class TokensView final : public View {
public:
    void draw(ViewContext& context) override {
        const gs::TraceSnapshot& trace = context.what_if.trace();
        if (trace.empty()) return draw_empty(context);
        const int layer = effective_pick(trace, context.selected).moe_layer;
        m_values.update(trace, context.settings.token_color, layer);
        if (!context.flashed()) m_ghost.update(context);   // its checkbox keeps its place
        draw_controls(context, trace, layer);
        draw_strip(context, trace, layer);
    }

private:
    void draw_empty(ViewContext& context);
    void draw_controls(ViewContext& context, const gs::TraceSnapshot& trace, int layer);
    void draw_expert_legend(ViewContext& context, int layer);
    void draw_strip(ViewContext& context, const gs::TraceSnapshot& trace, int layer);
    void draw_ghost_choice(ViewContext& context);

    TokenValues m_values;
    TextGhost m_ghost;
    TokenStrip m_strip;
    ExpertMenu m_menu;
};

void TokensView::draw_empty(ViewContext& context) {
    if (!context.state.can_run()) {
        if (empty_state("No run yet", "The prompt and the answer appear here, token by token, once a model or a recorded run is open.",
                        "Open a file…"))
            context.wants_open_file = true;
    } else if (empty_state("No run yet", "The prompt and the answer appear here, token by token.", "Run the prompt")) {
        context.session.run(make_request(context));
    }
}

void TokensView::draw_controls(ViewContext& context, const gs::TraceSnapshot& trace, int layer) {
    static const char* const names[] = {"Top expert", "Router entropy", "Margin", "Surprise"};
    static const char* const notes[] = {"The expert with the largest selection score at the selected layer",
                                        "Entropy of the router's preference at the selected layer, in nats",
                                        "Worst chosen minus best rejected router logit at the selected layer: small = a close call",
                                        "−log probability the model gave this token, in nats"};
    int what = static_cast<int>(context.settings.token_color);
    label("colour");
    if (segmented("token_color", names, what, notes)) context.settings.token_color = static_cast<TokenColor>(what);
    if (context.settings.token_color != TokenColor::kLogprob && layer >= 0) {
        const std::string at = fmt::format("at layer {}", trace.info().moe_layers[static_cast<size_t>(layer)]);
        ImGui::SameLine();
        ImGui::AlignTextToFramePadding();
        dim_text(at);
        tooltip("Change the layer with [ and ], in the inspector or by a click in the heatmap");
    }
    draw_ghost_choice(context);
    if (context.settings.token_color == TokenColor::kTopExpert) return draw_expert_legend(context, layer);
    const float unit = ImGui::GetFontSize();
    flow(unit * 11);
    const char* const title = context.settings.token_color == TokenColor::kMargin ? "logit" : "nats";
    color_bar("token_scale", context.settings.map, m_values.low(), m_values.high(), title, {unit * 11, ImGui::GetFrameHeight()});
}

void TokensView::draw_expert_legend(ViewContext& context, int layer) {
    ImGui::PushID("legend");
    for (size_t i = 0; i < m_values.frequent_experts().size(); ++i) {
        const auto [expert, n] = m_values.frequent_experts()[i];
        const std::string text = fmt::format("{}###e{}", expert, expert);
        flow(ImGui::CalcTextSize("00").x + ImGui::GetFontSize());
        const ImU32 back = pinned_color(static_cast<int>(i));
        ImGui::PushStyleColor(ImGuiCol_Button, back);
        ImGui::PushStyleColor(ImGuiCol_ButtonHovered, back);
        ImGui::PushStyleColor(ImGuiCol_ButtonActive, back);
        ImGui::PushStyleColor(ImGuiCol_Text, text_color_on(back));
        if (ImGui::Button(text.c_str())) {
            context.selected.moe_layer = layer;
            context.selected.expert = context.selected.expert == expert ? -1 : expert;
        }
        ImGui::PopStyleColor(4);
        if (ImGui::IsItemHovered()) {
            context.hovered_next = {-1, layer, expert};
            if (ImGui::IsMouseClicked(ImGuiMouseButton_Right)) m_menu.open(context.hovered_next);
        }
        tooltip(fmt::format("Expert {}: first choice of {} of {} tokens at this layer. Grey: experts that are first less often", expert, n,
                            context.what_if.trace().n_tokens())
                    .c_str());
    }
    ImGui::PopID();
}

void TokensView::draw_ghost_choice(ViewContext& context) {
    if (!m_ghost.ready()) return;
    flow(ImGui::CalcTextSize("previous").x + ImGui::GetFrameHeight() + ImGui::GetStyle().ItemInnerSpacing.x);
    ImGui::Checkbox("previous###ghosts", &context.settings.ghosts);
    tooltip(fmt::format("The dim line: how the run before went on, from token {} on, where the texts part. {}", m_ghost.at() + 1, m_ghost.name()).c_str());
}

void TokensView::draw_strip(ViewContext& context, const gs::TraceSnapshot& trace, int layer) {
    const Theme& theme = context.theme;
    const gs::TraceSnapshot& run = context.what_if.run_trace();
    StripInput input;
    input.n_tokens = trace.n_tokens();
    input.revision = run.revision();
    input.identity = context.run ? context.run->id : 0;
    std::string label;                       // in place of a text that a recorded run does not hold
    input.bytes = [&](int t) {
        if (!trace.info().lacks.text) return std::string_view(trace.token(t).text);
        label = token_label(trace, t, 24);
        return std::string_view(label);
    };
    input.style = [&](int t) {
        const bool first_decoded = t > 0 && trace.token(t).phase == gs::Phase::kDecode && trace.token(t - 1).phase == gs::Phase::kPrefill;
        return StripToken{m_values.color(t, context.settings.map), trace.token(t).special, first_decoded};
    };
    input.selected = context.selected.token;
    input.hovered = context.hovered.token;
    input.text_color = theme.text, input.selection_color = theme.selection, input.hover_color = theme.hover,
    input.border_color = theme.text_dim;
    input.follow = context.selected.token < 0 && context.run && context.run->phase != gs::RunPhase::kFinished;
    const bool has_ghost = context.settings.ghosts && m_ghost.ready() && !context.flashed();
    if (has_ghost) input.ghost = {m_ghost.at(), m_ghost.name(), m_ghost.continuation(), theme.text_dim};
    // Where the texts part, or the answer, not the template in front of it; of a run that is flashed, the place that is in sight.
    if (context.run && !context.flashed()) input.open_at = has_ghost ? std::min(m_ghost.at(), trace.n_tokens() - 1) : context.run->n_prompt_tokens;
    const StripHit hit = m_strip.draw("###strip", input, {0, 0});
    if (hit.over_ghost) HoverCard(fmt::format("{}, from token {} on", m_ghost.name(), m_ghost.at() + 1)).note(m_ghost.continuation());
    if (hit.hovered >= 0) {
        context.hovered_next = {hit.hovered, -1, -1};
        Pick shown{hit.hovered, layer, -1};
        pick_card(context, shown, layer >= 0 ? kExpertMenuHint : nullptr);
    }
    if (hit.clicked >= 0) context.selected.token = hit.clicked;
    if (hit.context_menu >= 0 && layer >= 0) m_menu.open({hit.context_menu, layer, -1});
    m_menu.draw(context);
}

}  // namespace

std::unique_ptr<View> make_tokens_view() { return std::make_unique<TokensView>(); }

}  // namespace app
