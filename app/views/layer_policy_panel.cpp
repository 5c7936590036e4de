// Routing per layer: k, rule and masked or forced experts of every MoE layer, and the same policy as text.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/layer_policy_panel_edit.h"
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
    void apply_text(ViewContext& context);
    void all_layers(ViewContext& context);
    void table(ViewContext& context, ImVec2 size);
    void row(ViewContext& context, int moe_layer);
    void experts(ViewContext& context, int moe_layer);
    void chip(ViewContext& context, int moe_layer, int expert, float width);
    void bias(ViewContext& context, int moe_layer);
    void update_kept(const ViewContext& context);
    std::string kept_text(const ViewContext& context, int moe_layer);
    /// Joins the edits into m_policy and shows it; `commit` also asks for the re-run.
    void changed(ViewContext& context, bool commit);

    gs::Policy m_policy;                   ///< as shown this frame
    std::vector<LayerEdit> m_edits;        ///< [M], of m_policy
    std::string m_text;
    std::string m_error;                   ///< of the text; empty: fine
    bool m_typing = false;
    std::vector<double> m_kept;            ///< [M] share of recorded routes the what-if keeps, NaN until a row shows it; empty: no what-if
    uint64_t m_kept_revision = 0;
};

void LayerPolicyPanel::changed(ViewContext& context, bool commit) {
    m_policy = join_layers(m_policy, m_edits, context.what_if.trace().info().moe_layers);
    m_error.clear();
    preview_policy(context, m_policy);
    if (commit) commit_policy(context, m_policy);
}

void LayerPolicyPanel::apply_text(ViewContext& context) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const auto parsed = gs::Policy::parse(m_text);
    if (!parsed) {
        m_error = parsed.error().message();
        return;
    }
    if (const auto fits = parsed->check(info.router, n_model_layers(info)); !fits) {
        m_error = fits.error().message();
        return;
    }
    m_error.clear();
    m_policy = *parsed;
    m_edits = split_layers(m_policy, info.moe_layers);
    apply_policy(context, m_policy);
}

void LayerPolicyPanel::text_form(ViewContext& context) {
    if (!m_typing && m_error.empty()) m_text = m_policy.to_text();
    const float reset = button_width("Reset"), gap = ImGui::GetStyle().ItemSpacing.x;
    ImGui::AlignTextToFramePadding();
    dim_text("Policy");
    tooltip("The routing rule as text: the same form as --policy on the command line and in trace files. Type and press Enter.");
    ImGui::SameLine();
    ImGui::SetNextItemWidth(std::max(ImGui::GetFontSize() * 6, ImGui::GetContentRegionAvail().x - reset - gap));
    const bool enter = ImGui::InputTextWithHint("###policy_text", "rule=topk,k=2,k@4-7=1,mask@3=5:9", &m_text, ImGuiInputTextFlags_EnterReturnsTrue);
    m_typing = ImGui::IsItemActive();
    if (ImGui::IsItemEdited()) m_error.clear();
    if (!m_typing) tooltip("Type a rule and press Enter; @ gives a layer or a range of layers");
    if (enter) apply_text(context);
    ImGui::SameLine();
    ImGui::BeginDisabled(m_policy.is_native() && m_text == "native");
    if (ImGui::Button("Reset###reset")) {
        m_policy = {};
        m_error.clear();
        m_edits.assign(m_edits.size(), {});
        changed(context, true);
    }
    ImGui::EndDisabled();
    tooltip("Back to the model's own routing in every layer");
    if (m_error.empty()) return;
    ImGui::PushStyleColor(ImGuiCol_Text, context.theme.error);
    ImGui::TextWrapped("%s", m_error.c_str());
    ImGui::PopStyleColor();
}

void LayerPolicyPanel::all_layers(ViewContext& context) {
    const gs::RouterSpec& spec = context.what_if.trace().info().router;
    const float unit = ImGui::GetFontSize();
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted("All layers");
    ImGui::SameLine();
    gs::Policy of_all = m_policy;
    of_all.layers.clear();
    int k = of_all.for_layer(0, spec.n_experts).experts_per_token(spec);
    ImGui::SetNextItemWidth(unit * 9);
    if (ImGui::SliderInt("###k_all", &k, 1, spec.n_experts, "k = %d", ImGuiSliderFlags_AlwaysClamp)) {
        m_policy.rule = k == spec.n_used ? gs::GateRule::kNative : gs::GateRule::kTopK;
        m_policy.k = k == spec.n_used ? 0 : k;
        for (LayerEdit& edit : m_edits) edit.rule.reset(), edit.k.reset(), edit.p.reset(), edit.tau.reset();
        changed(context, false);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) changed(context, true);
    tooltip("Experts per token in every layer. Drag: answered from the recorded logits. Let go: the model runs again.");
    int rule = static_cast<int>(m_policy.rule);
    same_line_if_fits(name_combo_width(kRules));
    if (name_combo("###rule_all", kRules, rule, kRuleExplained)) {
        m_policy.rule = static_cast<gs::GateRule>(rule);
        for (LayerEdit& edit : m_edits) edit.rule.reset(), edit.k.reset(), edit.p.reset(), edit.tau.reset();
        changed(context, true);
    }
    int weights = static_cast<int>(m_policy.weight_rule);
    same_line_if_fits(name_combo_width(kWeights) + ImGui::CalcTextSize("weights ").x);
    ImGui::BeginGroup();
    ImGui::AlignTextToFramePadding();
    dim_text("weights");
    ImGui::SameLine();
    if (name_combo("###weights", kWeights, weights, kWeightsExplained)) {
        m_policy.weight_rule = static_cast<gs::WeightRule>(weights);
        changed(context, true);
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

void LayerPolicyPanel::row(ViewContext& context, int moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const int layer = model_layer(info, moe_layer);
    LayerEdit& edit = m_edits[static_cast<size_t>(moe_layer)];
    const gs::LayerPolicy resolved = m_policy.for_layer(layer, info.router.n_experts);
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
        set_layer_k(edit, m_policy, info.router, k);
        changed(context, false);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) changed(context, true);
    tooltip("Experts per token in this layer: drag for a what-if, let go to run again; Ctrl+click to type");

    ImGui::TableNextColumn();
    int rule = static_cast<int>(resolved.rule);
    if (name_combo("###rule", kRules, rule, kRuleExplained)) {
        edit.rule = static_cast<gs::GateRule>(rule);
        if (edit.rule != gs::GateRule::kTopK) edit.k.reset();
        edit.p.reset();
        edit.tau.reset();
        if (edit.rule == m_policy.rule) edit.rule.reset();
        changed(context, true);
    }
    ImGui::TableNextColumn();
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(kept_text(context, moe_layer).c_str());
    tooltip("Share of the recorded choices that the policy being tried keeps, mean over tokens: |A ∩ B| / max(|A|, |B|). Only while something is tried.");
    ImGui::TableNextColumn();
    std::string marks = list_of("masked", edit.masked) + list_of("forced", edit.forced) + list_of("zeroed", edit.zeroed);
    for (const gs::ExpertSwap& swap : edit.swapped) marks += fmt::format("{} runs for {}  ", swap.to, swap.from);
    for (const auto& b : edit.bias) marks += fmt::format("bias {}{:+.3g}  ", b.expert, b.bias);
    ImGui::AlignTextToFramePadding();
    if (marks.empty()) dim_text("none");
    else ImGui::TextUnformatted(fit_text(marks, ImGui::GetContentRegionAvail().x - 2 * ImGui::GetFrameHeight()).c_str());
    if (!edit.empty()) {
        ImGui::SameLine(ImGui::GetColumnWidth() - button_width("×"));
        if (ImGui::Button("×###clear")) {
            edit = {};
            changed(context, true);
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
    clipper.Begin(static_cast<int>(m_edits.size()));
    while (clipper.Step()) {
        for (int m = clipper.DisplayStart; m < clipper.DisplayEnd; ++m) row(context, m);
    }
    ImGui::EndTable();
}

void LayerPolicyPanel::chip(ViewContext& context, int moe_layer, int expert, float width) {
    LayerEdit& edit = m_edits[static_cast<size_t>(moe_layer)];
    const ExpertState state = state_of(edit, expert);
    const Theme& theme = context.theme;
    static constexpr const char* kMarks[] = {"", " ×", " +"};
    const bool lit = context.hovered.moe_layer == moe_layer && context.hovered.expert == expert;
    const ImU32 color = state == ExpertState::kMasked ? theme.error : state == ExpertState::kForced ? theme.ok : theme.text;
    ImGui::PushStyleColor(ImGuiCol_Text, color);
    const std::string label = fmt::format("{}{}###chip{}", expert, kMarks[static_cast<size_t>(state)], expert);
    const bool pressed = ImGui::Button(label.c_str(), {width, 0});
    ImGui::PopStyleColor();
    const ImVec2 low = ImGui::GetItemRectMin(), high = ImGui::GetItemRectMax();
    ImDrawList* draw = ImGui::GetWindowDrawList();
    if (state != ExpertState::kFree || lit) draw->AddRect(low, high, lit ? theme.hover : color, ImGui::GetStyle().FrameRounding, std::max(1.0f, ImGui::GetFontSize() / 10));
    if (ImGui::IsItemHovered()) {
        context.hovered_next.moe_layer = moe_layer;
        context.hovered_next.expert = expert;
    }
    tooltip(state == ExpertState::kFree     ? "Free: chosen by its score. Click: mask it, so that it can never be chosen."
            : state == ExpertState::kMasked ? "Masked: can never be chosen. Click: force it, so that it is always chosen."
                                            : "Forced: always among the chosen. Click: free it.");
    if (!pressed) return;
    const LayerEdit before = edit;
    set_state(edit, expert, static_cast<ExpertState>((static_cast<int>(state) + 1) % 3));
    const gs::TraceInfo& info = context.what_if.trace().info();
    const gs::Policy next = join_layers(m_policy, m_edits, info.moe_layers);
    if (const auto fits = next.check(info.router, n_model_layers(info)); !fits) {
        m_error = fits.error().message();
        // Forcing one more than k allows: skip to free, so that the chip never gets stuck.
        set_state(edit, expert, state == ExpertState::kMasked ? ExpertState::kFree : state);
        if (edit == before) return;
        const std::string why = m_error;
        changed(context, true);
        m_error = why;
        return;
    }
    changed(context, true);
}

/// Wide enough for the largest expert with a mark.
float chip_width(int n_experts) { return std::max(ImGui::CalcTextSize(n_experts > 100 ? "888 ×" : "88 ×").x + ImGui::GetStyle().FramePadding.x, ImGui::GetFontSize() * 1.6f); }

/// Of the expert selected: what is added to its selection score at this layer.
void LayerPolicyPanel::bias(ViewContext& context, int moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const int expert = context.selected.expert;
    if (expert < 0 || expert >= info.router.n_experts) {
        dim_text("Select an expert to give it a bias.");
        return;
    }
    LayerEdit& edit = m_edits[static_cast<size_t>(moe_layer)];
    float bias = bias_of(edit, expert);
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(fmt::format("bias of expert {}", expert).c_str());
    ImGui::SameLine();
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 7);
    if (ImGui::DragFloat("###bias", &bias, 0.005f, -100, 100, "%+.3f", ImGuiSliderFlags_AlwaysClamp)) {
        set_bias(edit, expert, bias);
        changed(context, false);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) changed(context, true);
    tooltip("Added to the expert's selection score at this layer, not to its weight: how DeepSeek-V3 balances its experts without a loss. In units of the selection score: "
            "a share where that is a softmax or sigmoid, else logits. Drag: answered from the recorded logits. 0: none.");
}

void LayerPolicyPanel::experts(ViewContext& context, int moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    bias(context, moe_layer);
    caption(fmt::format("Experts of layer {}: click to mask (×), again to force (+), again to free.", model_layer(info, moe_layer)));
    const float width = chip_width(info.router.n_experts);
    const float gap = ImGui::GetStyle().ItemSpacing.x, room = ImGui::GetContentRegionAvail().x;
    const int per_row = std::max(1, static_cast<int>((room + gap) / (width + gap)));
    for (int e = 0; e < info.router.n_experts; ++e) {
        if (e % per_row != 0) ImGui::SameLine();
        chip(context, moe_layer, e, width);
    }
}

void LayerPolicyPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace)) return;
    const gs::Policy before = m_policy;
    m_policy = shown_policy(context);
    if (!(m_policy == before)) m_error.clear();
    m_edits = split_layers(m_policy, trace.info().moe_layers);
    text_form(context);
    all_layers(context);
    if (!can_rerun(context.state)) caption_on_line("The model of this run is not loaded: changes are answered from the recorded logits.");
    const float unit = ImGui::GetFontSize();
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const float spacing = ImGui::GetStyle().ItemSpacing.y, row_height = ImGui::GetFrameHeight() + spacing;
    const int per_row = std::max(1, static_cast<int>((room.x + ImGui::GetStyle().ItemSpacing.x) / (chip_width(trace.n_experts()) + ImGui::GetStyle().ItemSpacing.x)));
    const int n_chip_rows = (trace.n_experts() + per_row - 1) / per_row;
    const float chips = std::min(static_cast<float>(n_chip_rows) * row_height + unit * 3.8f, room.y * 0.45f);
    table(context, {0, std::max(unit * 7, room.y - chips - spacing)});
    ImGui::BeginChild("experts", {0, std::max(unit * 4, ImGui::GetContentRegionAvail().y)});
    experts(context, effective_pick(trace, context.selected).moe_layer);
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_layer_policy_view() { return std::make_unique<LayerPolicyPanel>(); }

}  // namespace app
