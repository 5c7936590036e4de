// Experts taken out by click: what the text loses, beside what it loses without random experts of equal usage, and what the model writes then.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "app/views/ablation_parts.h"
#include "app/views/job_controls.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/views/text_chooser.h"
#include "app/views/views_b.h"
#include "app/widgets/text_diff.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/ablation_export.h"

namespace app {
namespace {

constexpr const char* kCounts[] = {"no controls", "4 controls", "8 controls", "16 controls", "32 controls"};
constexpr int kCountValues[] = {0, 4, 8, 16, 32};
constexpr int kAnswerTokens = 64;

class AblationPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void picked(ViewContext& context);
    void set_list(ViewContext& context);
    void text_controls(ViewContext& context);
    void measure(ViewContext& context);
    void actions(ViewContext& context);
    void result(ViewContext& context, const gs::AblationResult& r);
    void texts(ViewContext& context, const gs::AblationResult& r);
    bool in_force(const ViewContext& context) const;

    TextChooser m_text;
    TextDiff m_diff;
    std::shared_ptr<const gs::AblationResult> m_diffed;
    std::string m_problem, m_model_hash;
};

void AblationPanel::picked(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    Pick pick = effective_pick(trace, context.selected);
    if (layer_stepper("layer", trace.info(), pick.moe_layer)) context.selected.moe_layer = pick.moe_layer;
    same_line_if_fits(ImGui::GetFontSize() * 10);
    if (context.selected.expert < 0) {
        ImGui::AlignTextToFramePadding();
        dim_text("Click an expert in any panel to pick it, or choose one:");
        same_line_if_fits(ImGui::GetFontSize() * 8);
    }
    const std::string shown = context.selected.expert < 0 ? "expert…" : fmt::format("expert {}", context.selected.expert);
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 8);
    if (ImGui::BeginCombo("###expert", shown.c_str())) {
        for (int e = 0; e < trace.n_experts(); ++e)
            if (ImGui::Selectable(fmt::format("expert {}###e{}", e, e).c_str(), e == context.selected.expert)) {
                context.selected.expert = e;
                context.selected.moe_layer = pick.moe_layer;
            }
        ImGui::EndCombo();
    }
    tooltip("The expert that the buttons ablate");
    if (context.selected.expert < 0) return;
    same_line_if_fits(button_width("Zero") + button_width("Route around") + button_width("Swap…"));
    ablation_buttons(context, pick.moe_layer, context.selected.expert);
}

void AblationPanel::set_list(ViewContext& context) {
    std::vector<gs::AblatedExpert>& set = context.settings.ablated;
    if (set.empty()) return;
    int removed = -1;
    for (size_t i = 0; i < set.size(); ++i) {
        const std::string text = describe(set[i]) + "  ×";
        if (i > 0) same_line_if_fits(button_width(text.c_str()));
        if (ImGui::Button(fmt::format("{}###set{}", text, i).c_str())) removed = static_cast<int>(i);
        if (ImGui::IsItemHovered()) {
            context.hovered_next = {-1, moe_row_of(context.what_if.trace().info(), set[i].layer), set[i].expert};
            tooltip("Takes it out of the set");
        }
    }
    if (removed >= 0) set.erase(set.begin() + removed);
    if (set.size() > 1) {
        same_line_if_fits(button_width("Clear"));
        if (ImGui::Button("Clear###clear")) set.clear();
        tooltip("Empties the set");
    }
}

void AblationPanel::text_controls(ViewContext& context) {
    m_text.draw(context, "What the loss is measured on: a bundled sample, the tokens of the run on screen as they are (its answer, where it has one), your own text, or a file");
    same_line_if_fits(name_combo_width(kCounts));
    int count = 0;
    while (count + 1 < static_cast<int>(std::size(kCountValues)) && kCountValues[count] < context.settings.ablation_controls) ++count;
    if (name_combo("###count", kCounts, count, "Random experts of the same layers that are used about as often: what ablating them costs is what chance alone gives"))
        context.settings.ablation_controls = kCountValues[count];
}

bool AblationPanel::in_force(const ViewContext& context) const {
    const auto& set = context.settings.ablated;
    return !set.empty() && std::all_of(set.begin(), set.end(), [&](const gs::AblatedExpert& e) { return is_in_force(context.state.policy, e); });
}

void AblationPanel::measure(ViewContext& context) {
    const TextChoice& choice = context.settings.measured_text;
    gs::AblationRequest request{.text_name = m_text.name(context), .of_run = choice.source == TextChoice::Source::kRun, .max_tokens = choice.max_tokens, .experts = context.settings.ablated};
    if (!request.of_run) request.text = m_text.text(context);
    m_problem = !request.of_run && request.text.empty() ? TextChooser::kNoText : "";
    if (!m_problem.empty()) return;
    request.base = gs::without_ablation(context.state.policy, request.experts);
    request.n_controls = context.settings.ablation_controls;
    request.continuation = make_request(context);
    request.continuation.max_new_tokens = std::min(request.continuation.max_new_tokens, kAnswerTokens);
    context.session.request_ablation(request);
}

void AblationPanel::actions(ViewContext& context) {
    const gs::SessionState& state = context.state;
    const auto& set = context.settings.ablated;
    same_line_if_fits(icon_button_width("Measure"));
    if (job_button(context, {gs::Activity::kAblating, "###measure", "Measure",
                             set.empty() ? "Pick an expert and one of the three ways first" : "Scores the text without these experts, then without the controls, and writes both answers", !set.empty()}))
        measure(context);
    const bool applied = in_force(context);
    same_line_if_fits(button_width(applied ? "Take back" : "Apply to the run"));
    ImGui::BeginDisabled(set.empty());
    const gs::Policy base = gs::without_ablation(state.policy, set);
    if (ImGui::Button(applied ? "Take back###apply" : "Apply to the run###apply")) apply_policy(context, applied ? base : gs::with_ablation(base, set));
    ImGui::EndDisabled();
    tooltip(applied ? "Runs again with these experts (Ctrl+Z does it too)" : "Makes it the policy in force: the prompt runs again and Compare shows both answers. Ctrl+Z goes back.");
    job_progress(context, gs::Activity::kAblating);
    if (!m_problem.empty()) caption(m_problem);
}

void AblationPanel::texts(ViewContext& context, const gs::AblationResult& r) {
    if (!r.text) return;
    if (m_diffed != context.state.ablation) {
        m_diff = diff_words(r.text->base, r.text->ablated);
        m_diffed = context.state.ablation;
    }
    ImGui::Spacing();
    caption(fmt::format("\"{}\" answered with both, {}; {}", fit_text(r.text->prompt, ImGui::GetFontSize() * 20), r.text->sampler,
                        !r.complete ? "still writing" : r.text->first_difference < 0 ? "the answers are equal" : fmt::format("they differ from generated token {} on", r.text->first_difference + 1)));
    if (!ImGui::BeginTable("###texts", 2, ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchSame | ImGuiTableFlags_BordersInnerV)) return;
    ImGui::TableSetupColumn("as before");
    ImGui::TableSetupColumn("ablated");
    ImGui::TableHeadersRow();
    ImGui::TableNextColumn();
    draw_diff(m_diff.a, context.theme.text_dim, ImGui::GetContentRegionAvail().x);
    ImGui::TableNextColumn();
    draw_diff(m_diff.b, context.theme.warning, ImGui::GetContentRegionAvail().x);
    ImGui::EndTable();
}

void AblationPanel::result(ViewContext& context, const gs::AblationResult& r) {
    std::string of;
    for (size_t i = 0; i < r.experts.size(); ++i)
        of += fmt::format("{}{} (used by {} of {} tokens)", i > 0 ? ", " : "", describe(r.experts[i]), i < r.used.size() ? r.used[i] : 0, r.n_tokens);
    ImGui::Separator();
    if (r.experts != context.settings.ablated) {
        ImGui::PushStyleColor(ImGuiCol_Text, context.theme.warning);
        ImGui::TextWrapped("The set has changed since: these figures are of the one that was measured.");
        ImGui::PopStyleColor();
    }
    ImGui::TextWrapped("%s", of.c_str());
    caption(fmt::format("{}: {} tokens scored, teacher-forced, computed; base policy {}{}", r.text_name, r.effect.n_scored, r.base.to_text(), r.complete ? "" : "; not complete"));
    if (!draw_ablation_figures(context, r)) return caption("Counting how often each expert is used…");
    ImGui::Dummy({0, ImGui::GetFontSize() * 0.4f});
    if (!r.controls.empty()) draw_ablation_strip(context, r, {ImGui::GetContentRegionAvail().x, ImGui::GetFontSize() * 3.4f});
    texts(context, r);
    if (ImGui::Button("JSON###json")) ImGui::SetClipboardText(gs::ablation_json(r).dump(1).c_str());
    tooltip("Copies every figure, the controls one by one");
}

void AblationPanel::draw(ViewContext& context) {
    const gs::SessionState& state = context.state;
    if (state.model && state.model->hash != m_model_hash) {   // experts of another model are other experts
        if (!m_model_hash.empty()) context.settings.ablated.clear();
        m_model_hash = state.model->hash;
    }
    if (draw_if_no_routes(context, context.what_if.trace())) return;
    picked(context);
    set_list(context);
    text_controls(context);
    actions(context);
    const auto& r = state.ablation;
    if (r && (!state.model || r->model_hash == state.model->hash)) return result(context, *r);
    const bool busy = state.activity == gs::Activity::kAblating;
    empty_state(busy ? "Measuring…" : context.settings.ablated.empty() ? "No expert is ablated" : "Not measured yet",
                !state.can_run() ? "The figures need a loaded model."
                                 : "Pick an expert and take it out: zero, route around, or swap. Measure says what the text loses, beside random experts of equal usage.",
                nullptr);
}

}  // namespace

std::unique_ptr<View> make_ablation_view() { return std::make_unique<AblationPanel>(); }

}  // namespace app
