// Soft, hard, top-k and the policy in force, side by side on the router output of one token at one layer, with the error of each.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/chart_tables.h"
#include "app/views/expert_menu.h"
#include "app/views/gates_panel_curve.h"
#include "app/views/gates_panel_data.h"
#include "app/views/pick_card.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/bars.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class GatesPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    /// Which answer is wanted: one request each, so that a failed one is not asked for again every frame.
    struct Key {
        int token = -1, moe_layer = -1;
        uint64_t revision = 0;
        bool operator==(const Key&) const = default;
    };
    void refresh(ViewContext& context, const Pick& pick);
    void ask(ViewContext& context, const Key& key);
    void header(ViewContext& context, Pick& pick);
    std::string answer_state(const ViewContext& context) const;
    void rules(ViewContext& context, ImVec2 size);
    void rule(ViewContext& context, const GateRule& rule, const ValueAxis& axis, float title_y);
    std::string title_of_rule(const ViewContext& context, const GateRule& rule) const;
    std::string errors_of_rule(const GateRule& rule) const;
    void expert_card(int expert) const;
    void curve(ViewContext& context, ImVec2 size);
    void tables(ViewContext& context);

    RouteReader m_reader;
    GateData m_data;
    ExpertMenu m_menu;
    Key m_key, m_asked;
    uint64_t m_trace_revision = 0;         ///< of the trace drawn, what-ifs included
    const gs::GateComparison* m_answer = nullptr;                ///< added to m_data; kept alive by m_answers
    std::shared_ptr<const gs::GateComparison> m_answers;
    GateCurve m_ghost;                     ///< the last curve with errors
    bool m_by_score = true, m_as_table = false;
};

void GatesPanel::ask(ViewContext& context, const Key& key) {
    const gs::SessionState& state = context.state;
    // Not while the model is busy with something the user asked for: a request would take the run thread from it.
    const bool free = state.activity == gs::Activity::kIdle || state.activity == gs::Activity::kGates;
    const bool answered = state.gates && state.gates->token == key.token && state.gates->moe_layer == key.moe_layer && state.gates->trace_revision == key.revision;
    if (context.flashed() || !can_rerun(state) || !free || answered || m_asked == key) return;
    m_asked = key;
    context.session.request_gates(key.token, key.moe_layer);
}

void GatesPanel::refresh(ViewContext& context, const Pick& pick) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    m_reader.set_trace(trace);
    const Key key{pick.token, pick.moe_layer, context.run ? context.run->trace.revision() : 0};
    ask(context, key);
    const auto& gates = context.state.gates;
    const bool fits = gates && gates->token == key.token && gates->moe_layer == key.moe_layer && gates->trace_revision == key.revision &&
                      gates->preference.size() == static_cast<size_t>(trace.n_experts());
    const gs::GateComparison* answer = fits ? gates.get() : nullptr;
    if (key == m_key && trace.revision() == m_trace_revision && answer == m_answer) return;
    if (m_data.curve.has_errors()) m_ghost = m_data.curve;
    m_key = key;
    m_trace_revision = trace.revision();
    m_answer = answer;
    m_answers = fits ? gates : nullptr;
    m_data = gate_data(trace, pick.moe_layer, pick.token, m_reader.policy(pick.moe_layer, pick.token));
    if (answer) add_errors(m_data, *answer, !context.what_if.active());
}

std::string GatesPanel::answer_state(const ViewContext& context) const {
    if (m_answer) return "Errors: ‖y − y_ref‖ / ‖y_ref‖ of the routed sum, computed on this token's true hidden state.";
    const gs::SessionState& state = context.state;
    if (!state.model) return "Weights from the recorded logits. Errors of the outputs need the model: open it to see them.";
    if (context.flashed()) return "Weights from the recorded logits of A. Errors are computed for the run on screen only.";
    if (!can_rerun(state)) return fmt::format("Weights from the recorded logits. Errors need the model of this run, {}; another one is loaded.", context.what_if.trace().info().model_name);
    if (state.activity == gs::Activity::kRunning) return "Weights from the recorded logits. Errors come when the run pauses or ends.";
    if (state.activity == gs::Activity::kGates || m_asked == m_key) return "Computing every expert's output for this token; faint lines: the answer before.";
    return fmt::format("Weights from the recorded logits. Errors wait for: {}.", gs::name_of(state.activity));
}

void GatesPanel::header(ViewContext& context, Pick& pick) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (layer_stepper("layer", trace.info(), pick.moe_layer)) context.selected.moe_layer = pick.moe_layer;
    static constexpr const char* kOrders[] = {"by score", "by expert"};
    static constexpr const char* kExplained[] = {"Best selection score first: the chosen ones stand left of the cut line", "Experts in their own order"};
    same_line_if_fits(button_width(kOrders[0]) + button_width(kOrders[1]));
    int order = m_by_score ? 0 : 1;
    if (segmented("order", kOrders, order, kExplained)) m_by_score = order == 0;
    same_line_if_fits(button_width("Table"));
    table_button(m_as_table);
    const std::string token = fmt::format("token {} of {}  \"{}\"", pick.token + 1, trace.n_tokens(), short_token(trace.token(pick.token).text, 24));
    same_line_if_fits(ImGui::CalcTextSize(token.c_str()).x);
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(token.c_str());
    // An answer was computed here and now, also for a token of a replayed run.
    badge_on_line(context, m_answer ? gs::Provenance::kComputed : trace.info().provenance);
}

std::string GatesPanel::title_of_rule(const ViewContext& context, const GateRule& rule) const {
    const size_t n = m_data.preference.size();
    switch (rule.kind) {
        case GateRule::kSoft: return fmt::format("Soft, all {}", n);
        case GateRule::kHard: return "Hard, k = 1";
        case GateRule::kTopK: return fmt::format("Top-k as trained, k = {}", rule.k);
        case GateRule::kPolicy: break;
    }
    if (context.what_if.active()) return fmt::format("Being tried, k = {}", rule.k);
    return fmt::format("In force{}, k = {}", m_data.policy_is_native ? " (native)" : "", rule.k);
}

std::string GatesPanel::errors_of_rule(const GateRule& rule) const {
    std::string text = fmt::format("Σ {:.3f}", rule.sum);
    if (rule.errors) {
        text += fmt::format("   error vs soft {} (cos {}), vs native {}", format_number(rule.errors->vs_soft), format_number(rule.errors->cosine_vs_soft), format_number(rule.errors->vs_native));
    } else {
        text += fmt::format("   keeps {}", format_percent(rule.kept));
    }
    return text;
}

void GatesPanel::expert_card(int expert) const {
    const auto e = static_cast<size_t>(expert);
    const gs::TraceSnapshot& trace = m_reader.trace();
    HoverCard card(fmt::format("layer {} · expert {}", model_layer(trace.info(), m_data.moe_layer), expert));
    card.row("router logit", format_exact(m_data.logits[e]));
    const auto place = std::find(m_data.by_score.begin(), m_data.by_score.end(), expert) - m_data.by_score.begin();
    card.row("preference", format_exact(m_data.preference[e]));
    card.row("rank by score", fmt::format("{} of {}", place + 1, m_data.by_score.size()));
    static constexpr const char* kNames[] = {"weight, soft", "weight, hard", "weight, top-k", "weight, policy"};
    for (const GateRule& rule : m_data.rules) card.row(kNames[rule.kind], rule.weights[e] > 0 ? format_exact(rule.weights[e]) : "not chosen");
    if (e < m_data.output_norms.size()) card.row("‖output‖", format_exact(m_data.output_norms[e]));
    card.note(gs::name_of(trace.info().provenance));
}

void GatesPanel::rule(ViewContext& context, const GateRule& rule, const ValueAxis& axis, float title_y) {
    const Theme& theme = context.theme;
    const size_t n = m_data.preference.size();
    std::vector<int> experts = m_data.by_score;
    if (!m_by_score) std::sort(experts.begin(), experts.end());
    std::vector<float> weights(n), preference(n);
    for (size_t slot = 0; slot < n; ++slot) {
        weights[slot] = rule.weights[static_cast<size_t>(experts[slot])];
        preference[slot] = m_data.preference[static_cast<size_t>(experts[slot])];
    }
    const auto slot_of = [&](const Pick& pick) {
        const auto found = std::find(experts.begin(), experts.end(), pick.expert);
        return pick.moe_layer == m_data.moe_layer && found != experts.end() ? static_cast<int>(found - experts.begin()) : -1;
    };
    BarsInput input;
    input.values = weights;
    input.ghosts = preference;
    input.high = axis.high;
    input.color = rule.kind == GateRule::kPolicy && context.what_if.active() ? theme.what_if : theme.accent;
    input.ghost_color = with_alpha(theme.text_dim, 0.7f);
    input.line_color = theme.text_dim;
    input.cut = m_by_score && rule.kind != GateRule::kSoft ? rule.k : -1;
    input.cut_color = theme.warning;
    input.selected = slot_of(context.selected);
    input.hovered = slot_of(context.hovered);
    input.selection_color = theme.selection;
    input.hover_color = theme.hover;

    ImDrawList* draw = ImGui::GetWindowDrawList();
    const std::string title = title_of_rule(context, rule), errors = errors_of_rule(rule);
    const float room = axis.high_px.x - axis.low_px.x, gap = ImGui::GetFontSize();
    const float errors_width = ImGui::CalcTextSize(errors.c_str()).x, title_width = ImGui::CalcTextSize(title.c_str()).x;
    draw->AddText({axis.low_px.x, title_y}, theme.text, fit_text(title, room).c_str());
    const bool two_lines = title_width + gap + errors_width > room;
    draw->AddText({two_lines ? axis.low_px.x : axis.high_px.x - errors_width, two_lines ? title_y + gap * 1.1f : title_y}, theme.text_dim, fit_text(errors, room).c_str());
    draw_value_axis(draw, axis);
    ImGui::SetCursorScreenPos(axis.low_px);
    const BarsHit hit = bars(fmt::format("rule{}", static_cast<int>(rule.kind)).c_str(), input, {room, axis.high_px.y - axis.low_px.y});
    if (hit.slot < 0) return;
    const int expert = experts[static_cast<size_t>(hit.slot)];
    if (hit.hovered) {
        context.hovered_next = {.token = m_data.token, .moe_layer = m_data.moe_layer, .expert = expert};
        expert_card(expert);
    }
    if (hit.clicked) context.selected = {.token = context.selected.token, .moe_layer = m_data.moe_layer, .expert = expert};
    if (hit.context_menu) m_menu.open({m_data.token, m_data.moe_layer, expert});
}

void GatesPanel::rules(ViewContext& context, ImVec2 size) {
    const float unit = ImGui::GetFontSize();
    const ImVec2 start = ImGui::GetCursorScreenPos();
    const double high = round_up_axis(static_cast<double>(m_data.largest_weight()));
    const auto n = static_cast<float>(m_data.rules.size());
    const float below = unit * 1.3f, each = std::max((size.y - below) / n, unit * 3.4f);
    const float margin = ImGui::CalcTextSize("0.888").x + unit * 0.5f;
    // Titles take two lines in every row, or in none, so that the rows stay comparable.
    float widest = 0;
    for (const GateRule& rule : m_data.rules) {
        const std::string text = title_of_rule(context, rule) + errors_of_rule(rule);
        widest = std::max(widest, ImGui::CalcTextSize(text.c_str()).x + unit);
    }
    const float title = unit * (widest > size.x - margin ? 2.4f : 1.3f);
    ValueAxis axis;
    axis.high = high;
    axis.text = context.theme.text_dim;
    axis.grid = context.theme.grid;
    for (size_t i = 0; i < m_data.rules.size(); ++i) {
        const float top = start.y + each * static_cast<float>(i);
        axis.low_px = {start.x + margin, std::floor(top + title + unit * 0.2f)};
        axis.high_px = {start.x + size.x, std::floor(top + each - unit * 0.4f)};
        rule(context, m_data.rules[i], axis, top);
    }
    const std::vector<int>& order = m_data.by_score;
    draw_slot_labels(ImGui::GetWindowDrawList(), axis, static_cast<int>(order.size()), [&](int slot) { return std::to_string(m_by_score ? order[static_cast<size_t>(slot)] : slot); });
    ImGui::SetCursorScreenPos(start);
    ImGui::Dummy({size.x, each * n + below});
}

void GatesPanel::curve(ViewContext& context, ImVec2 size) {
    const bool waits = !m_answer && m_asked == m_key && m_ghost.k.size() == m_data.curve.k.size();
    if (context.what_if.trace().info().has_shared_expert) {
        caption(m_answer ? fmt::format("Shared expert, apart: ‖output‖ {} beside ‖soft mixture‖ {}. It is added under every rule and not routed.", format_number(m_data.shared_norm),
                                       format_number(m_data.soft_norm))
                         : "Shared expert, apart: added under every rule and not routed, so no error here counts it.");
    }
    caption(m_data.curve.has_errors() || waits ? "Error of the top-k output over k (y is the routed sum)" : "How much of the preference the best k hold");
    draw_gate_curve(context, m_data, waits ? &m_ghost : nullptr, {size.x, std::max(ImGui::GetContentRegionAvail().y, ImGui::GetFontSize() * 8)});
}

/// Weights of every expert, and below what every k keeps.
void GatesPanel::tables(ViewContext& context) {
    caption(answer_state(context));
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const int expert = table_view("weights", gates_table(m_data, context.selected.moe_layer == m_data.moe_layer ? context.selected.expert : -1), {room.x, room.y * 0.5f});
    if (expert >= 0) context.selected.moe_layer = m_data.moe_layer, context.selected.expert = expert;
    table_view("curve_table", gate_curve_table(m_data.curve, m_data.native_k), ImGui::GetContentRegionAvail());
}

void GatesPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace) || draw_if_no_logits(trace)) return;
    Pick pick = effective_pick(trace, context.selected);
    header(context, pick);
    refresh(context, pick);
    m_menu.draw(context);
    if (m_as_table) return tables(context);
    caption(fmt::format("{} Bars: applied weight. Thin outlines: preference. Orange line: the cut at k.", answer_state(context)));
    const float unit = ImGui::GetFontSize();
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const bool wide = room.x > 44 * unit && room.x > 1.3f * room.y;
    const float left = wide ? std::floor(room.x * 0.6f) : room.x;
    ImGui::BeginChild("rules", {left, wide ? 0 : std::max(19 * unit, room.y * 0.64f)});
    rules(context, ImGui::GetContentRegionAvail());
    ImGui::EndChild();
    if (wide) ImGui::SameLine(0, unit);
    ImGui::BeginChild("curve", {0, wide ? 0 : std::max(12 * unit, ImGui::GetContentRegionAvail().y)});
    curve(context, ImGui::GetContentRegionAvail());
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_gates_view() { return std::make_unique<GatesPanel>(); }

}  // namespace app
