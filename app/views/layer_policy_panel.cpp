// Routing per layer: k, rule and masked or forced experts of every MoE layer, and the same policy as text.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/layer_policy_panel_experts.h"
#include "app/views/layer_stats.h"
#include "app/views/pick_card.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/table_view.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {
namespace {

constexpr const char* kRules[] = {"as trained", "soft", "hard", "top-k", "top-p", "threshold", "expert choice"};   // order of gs::GateRule
constexpr const char* kWeights[] = {"as trained", "sum to 1", "match native sum"};  // order of gs::WeightRule
constexpr const char* kRuleExplained = "As trained: the model's own rule. Soft: all experts, weights = preference. Hard: the best expert alone. Top-k: the best k. "
                                       "Top-p: the fewest that reach a share p of the preference. Threshold: of the best k those not under τ × the heaviest. Expert choice: each "
                                       "expert takes its best tokens of the prompt.";
constexpr const char* kWeightsExplained =
    "Applied weights after the choice. As trained: the model's own rule, so Σ weights may change with k. Sum to 1: always 1. Match native sum: scaled to what the "
    "model's own k would give.";

class LayerPolicyPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void text_form(ViewContext& context);
    void all_layers(ViewContext& context);
    void table(ViewContext& context, ImVec2 size);
    void row(ViewContext& context, int moe_layer);
    void update_kept(const ViewContext& context);
    std::string kept_text(const ViewContext& context, int moe_layer);

    LayerPolicyDraft m_draft;
    std::string m_text;
    bool m_typing = false;
    std::vector<double> m_kept;            ///< [M] share of recorded routes the what-if keeps, NaN until a row shows it; empty: no what-if
    uint64_t m_kept_revision = 0;
};

void LayerPolicyPanel::text_form(ViewContext& context) {
    if (!m_typing && m_draft.error.empty()) m_text = m_draft.policy.to_text();
    const float reset = button_width("Reset"), gap = ImGui::GetStyle().ItemSpacing.x;
    ImGui::AlignTextToFramePadding();
    dim_text("Policy");
    tooltip("The routing rule as text: the same form as --policy on the command line and in trace files. Type and press Enter.");
    ImGui::SameLine();
    ImGui::SetNextItemWidth(std::max(ImGui::GetFontSize() * 6, ImGui::GetContentRegionAvail().x - reset - gap));
    const bool enter = ImGui::InputTextWithHint("###policy_text", "rule=topk,k=2,k@4-7=1,mask@3=5:9", &m_text, ImGuiInputTextFlags_EnterReturnsTrue);
    m_typing = ImGui::IsItemActive();
    if (ImGui::IsItemEdited()) m_draft.error.clear();
    if (!m_typing) tooltip("Type a rule and press Enter; @ gives a layer or a range of layers");
    if (enter) m_draft.apply_text(context, m_text);
    ImGui::SameLine();
    ImGui::BeginDisabled(m_draft.policy.is_native() && m_text == "native");
    if (ImGui::Button("Reset###reset")) {
        m_draft.reset(context);
    }
    ImGui::EndDisabled();
    tooltip("Back to the model's own routing in every layer");
    if (m_draft.error.empty()) return;
    ImGui::PushStyleColor(ImGuiCol_Text, context.theme.error);
    ImGui::TextWrapped("%s", m_draft.error.c_str());
    ImGui::PopStyleColor();
}

void LayerPolicyPanel::all_layers(ViewContext& context) {
    const gs::RouterSpec& spec = context.what_if.trace().info().router;
    const float unit = ImGui::GetFontSize();
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted("All layers");
    ImGui::SameLine();
    gs::Policy of_all = m_draft.policy;
    of_all.layers.clear();
    int k = of_all.for_layer(0, spec.n_experts).experts_per_token(spec);
    ImGui::SetNextItemWidth(unit * 9);
    if (ImGui::SliderInt("###k_all", &k, 1, spec.n_experts, "k = %d", ImGuiSliderFlags_AlwaysClamp)) {
        m_draft.policy.rule = k == spec.n_used ? gs::GateRule::kNative : gs::GateRule::kTopK;
        m_draft.policy.k = k == spec.n_used ? 0 : k;
        m_draft.drop_layer_rules();
        m_draft.changed(context, false);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) m_draft.changed(context, true);
    tooltip("Experts per token in every layer. Drag: answered from the recorded logits. Let go: the model runs again.");
    int rule = static_cast<int>(m_draft.policy.rule);
    same_line_if_fits(name_combo_width(kRules));
    if (name_combo("###rule_all", kRules, rule, kRuleExplained)) {
        m_draft.policy.rule = static_cast<gs::GateRule>(rule);
        m_draft.drop_layer_rules();
        m_draft.changed(context, true);
    }
    int weights = static_cast<int>(m_draft.policy.weight_rule);
    same_line_if_fits(name_combo_width(kWeights) + ImGui::CalcTextSize("weights ").x);
    ImGui::BeginGroup();
    ImGui::AlignTextToFramePadding();
    dim_text("weights");
    ImGui::SameLine();
    if (name_combo("###weights", kWeights, weights, kWeightsExplained)) {
        m_draft.policy.weight_rule = static_cast<gs::WeightRule>(weights);
        m_draft.changed(context, true);
    }
    ImGui::EndGroup();
    const gs::Provenance provenance = context.what_if.trace().info().provenance;
    badge_on_line(context, provenance);
}

/// A number that is used, or one that a token's rule stays within.
const char* k_format(gs::GateRule rule) {
    return rule == gs::GateRule::kTopP || rule == gs::GateRule::kThreshold || rule == gs::GateRule::kExpertChoice ? "≤ %d" : "%d";
}

std::string list_of(const char* word, const std::vector<int>& experts) {
    return experts.empty() ? "" : fmt::format("{} {}  ", word, fmt::join(experts, " "));
}

/// What the layer does with single experts; empty: nothing.
std::string marks_text(const LayerEdit& edit) {
    std::string marks = list_of("masked", edit.masked) + list_of("forced", edit.forced) + list_of("zeroed", edit.zeroed);
    for (const gs::ExpertSwap& swap : edit.swapped) marks += fmt::format("{} runs for {}  ", swap.to, swap.from);
    for (const auto& b : edit.bias) marks += fmt::format("bias {}{:+.3g}  ", b.expert, b.bias);
    return marks;
}

void LayerPolicyPanel::row(ViewContext& context, int moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const int layer = model_layer(info, moe_layer);
    LayerEdit& edit = m_draft.layers[static_cast<size_t>(moe_layer)];
    const gs::LayerPolicy resolved = m_draft.policy.for_layer(layer, info.router.n_experts);
    ImGui::TableNextRow(0, ImGui::GetFrameHeight());
    ImGui::PushID(moe_layer);
    ImGui::TableNextColumn();
    ImGui::AlignTextToFramePadding();
    if (ImGui::Selectable(fmt::format("{}###layer", layer).c_str(), context.selected.moe_layer == moe_layer)) context.selected.moe_layer = moe_layer;
    if (ImGui::IsItemHovered()) context.hovered_next.moe_layer = moe_layer;
    tooltip("Select this layer: its experts are below");

    ImGui::TableNextColumn();
    int k = resolved.experts_per_token(info.router);
    ImGui::SetNextItemWidth(-1);
    if (ImGui::SliderInt("###k", &k, 1, info.router.n_experts, k_format(resolved.rule), ImGuiSliderFlags_AlwaysClamp)) {
        set_layer_k(edit, m_draft.policy, info.router, k);
        m_draft.changed(context, false);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) m_draft.changed(context, true);
    tooltip("Experts per token in this layer: drag for a what-if, let go to run again; Ctrl+click to type");

    ImGui::TableNextColumn();
    int rule = static_cast<int>(resolved.rule);
    if (name_combo("###rule", kRules, rule, kRuleExplained)) {
        edit.rule = static_cast<gs::GateRule>(rule);
        if (edit.rule != gs::GateRule::kTopK) edit.k.reset();
        edit.p.reset();
        edit.tau.reset();
        if (edit.rule == m_draft.policy.rule) edit.rule.reset();
        m_draft.changed(context, true);
    }
    ImGui::TableNextColumn();
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(kept_text(context, moe_layer).c_str());
    tooltip("Share of the recorded choices that the policy being tried keeps, mean over tokens: |A ∩ B| / max(|A|, |B|). Only while something is tried.");
    ImGui::TableNextColumn();
    const std::string marks = marks_text(edit);
    ImGui::AlignTextToFramePadding();
    if (marks.empty()) dim_text("none");
    else ImGui::TextUnformatted(fit_text(marks, ImGui::GetContentRegionAvail().x - 2 * ImGui::GetFrameHeight()).c_str());
    if (!edit.empty()) {
        ImGui::SameLine(ImGui::GetColumnWidth() - button_width("×"));
        if (ImGui::Button("×###clear")) {
            edit = {};
            m_draft.changed(context, true);
        }
        tooltip("This layer as all others");
    }
    ImGui::PopID();
}

void LayerPolicyPanel::update_kept(const ViewContext& context) {
    if (!context.what_if.active() || !context.state.run) {
        m_kept.clear();
        return;
    }
    const gs::TraceSnapshot& tried = context.what_if.trace();
    if (!m_kept.empty() && m_kept_revision == tried.revision()) return;
    m_kept_revision = tried.revision();
    m_kept.assign(static_cast<size_t>(tried.n_moe_layers()), kNoValue);
}

std::string LayerPolicyPanel::kept_text(const ViewContext& context, int moe_layer) {
    if (m_kept.empty()) return "–";
    double& kept = m_kept[static_cast<size_t>(moe_layer)];
    // On first sight: rows scrolled away cost nothing while a slider is dragged.
    if (std::isnan(kept)) {
        const gs::TraceSnapshot& tried = context.what_if.trace();
        kept = gs::route_agreement(context.what_if.run_trace(), tried, moe_layer, tried.n_tokens());
    }
    return format_percent(kept);
}

void LayerPolicyPanel::table(ViewContext& context, ImVec2 size) {
    update_kept(context);
    const float unit = ImGui::GetFontSize();
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingFixedFit;
    if (!ImGui::BeginTable("layers", 5, kFlags, size)) return;
    ImGui::TableSetupScrollFreeze(0, 1);
    ImGui::TableSetupColumn("layer", ImGuiTableColumnFlags_WidthFixed, unit * 3);
    ImGui::TableSetupColumn("k", ImGuiTableColumnFlags_WidthStretch, 1.2f);
    ImGui::TableSetupColumn("rule", ImGuiTableColumnFlags_WidthFixed, name_combo_width(kRules));
    ImGui::TableSetupColumn("routes kept", ImGuiTableColumnFlags_WidthFixed, unit * 5.2f);
    ImGui::TableSetupColumn("masked, forced, bias", ImGuiTableColumnFlags_WidthStretch, 1.0f);
    static constexpr const char* kNotes[] = {"Click a number to select the layer", "Experts per token in this layer", "Who is chosen, and how it is weighted", "Share of the recorded choices that stay the same",
                                             "Experts that can never, or are always, chosen here, contribute nothing or are swapped, and what is added to selection scores: click the chips below"};
    table_headers(kNotes);
    ImGuiListClipper clipper;
    clipper.Begin(static_cast<int>(m_draft.layers.size()));
    while (clipper.Step()) {
        for (int m = clipper.DisplayStart; m < clipper.DisplayEnd; ++m) row(context, m);
    }
    ImGui::EndTable();
}

void LayerPolicyPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace)) return;
    m_draft.take_shown(context);
    text_form(context);
    all_layers(context);
    if (!can_rerun(context.state)) caption_on_line("The model of this run is not loaded: changes are answered from the recorded logits.");
    const float unit = ImGui::GetFontSize(), room = ImGui::GetContentRegionAvail().y;
    const float chips = std::min(layer_experts_height(trace.n_experts()), room * 0.45f);
    table(context, {0, std::max(unit * 7, room - chips - ImGui::GetStyle().ItemSpacing.y)});
    ImGui::BeginChild("experts", {0, std::max(unit * 4, ImGui::GetContentRegionAvail().y)});
    draw_layer_experts(context, m_draft, effective_pick(trace, context.selected).moe_layer);
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_layer_policy_view() { return std::make_unique<LayerPolicyPanel>(); }

}  // namespace app
