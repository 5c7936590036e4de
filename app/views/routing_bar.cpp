#include "app/views/routing_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/views/policy_edit.h"
#include "app/widgets/ui_kit.h"

namespace app {

bool is_compact() { return ImGui::GetMainViewport()->Size.x < ImGui::GetFontSize() * 46; }

bool is_bar_short(const ViewContext& context) { return is_compact() || context.layout == LayoutKind::kTeach; }

gs::RouterSpec router_on_screen(const gs::SessionState& state) {
    if (state.run && !state.run->trace.empty()) return state.run->trace.info().router;
    return state.model ? state.model->spec.router : gs::RouterSpec{};
}

namespace {

bool has_labels() { return ImGui::GetMainViewport()->Size.x > ImGui::GetFontSize() * 72; }

/// Rules that k goes with: of top-p it is the most, the others take it as it is.
bool keeps_rule(gs::GateRule rule) { return rule == gs::GateRule::kTopP || rule == gs::GateRule::kThreshold || rule == gs::GateRule::kExpertChoice; }

/// k of the slider: the policy's for all layers, where it is one.
int global_k(gs::Policy policy, const gs::RouterSpec& router) {
    policy.layers.clear();   // a layer's own value is not the global one
    const gs::LayerPolicy all = policy.for_layer(0, router.n_experts);
    const int k = all.rule == gs::GateRule::kExpertChoice ? all.chosen_k(router) : all.experts_per_token(router);
    return std::clamp(k, 1, router.n_experts);
}

/// `policy` with another global k; the model's own k with nothing else changed is "native" again.
gs::Policy with_k(gs::Policy policy, int k, const gs::RouterSpec& router) {
    if (keeps_rule(policy.rule)) {
        policy.k = k == (policy.rule == gs::GateRule::kTopP ? router.n_experts : router.n_used) ? 0 : k;
        return policy;
    }
    policy.rule = gs::GateRule::kTopK;
    policy.k = k;
    gs::Policy native = policy;
    native.rule = gs::GateRule::kNative;
    native.k = 0;
    return k == router.n_used && native.is_native() ? native : policy;
}

/// One mark per possible k, a taller one where the model was trained.
void draw_k_marks(const gs::RouterSpec& router, const Theme& theme) {
    const ImVec2 low = ImGui::GetItemRectMin(), high = ImGui::GetItemRectMax();
    const ImGuiStyle& style = ImGui::GetStyle();
    const int n = router.n_experts;
    const float inner = high.x - low.x - 4;  // ImGui's slider keeps 2 px on both sides
    const float grab = std::clamp(std::max(inner / static_cast<float>(n), style.GrabMinSize), 1.0f, inner);
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const float step = n > 1 ? (inner - grab) / static_cast<float>(n - 1) : 0;
    const float unit = ImGui::GetFontSize();
    for (int k = 1; k <= n; ++k) {
        const float x = low.x + 2 + grab / 2 + step * static_cast<float>(k - 1);
        const bool trained = k == router.n_used;
        if (!trained && step < unit * 0.35f) continue;
        if (trained)
            draw->AddTriangleFilled({x - unit * 0.26f, low.y}, {x + unit * 0.26f, low.y}, {x, low.y + unit * 0.3f}, theme.accent);
        else
            draw->AddLine({x, high.y - unit * 0.18f}, {x, high.y}, theme.grid);
    }
}

}  // namespace

void RoutingBar::draw(ViewContext& context) {
    const gs::RouterSpec router = router_on_screen(context.state);
    if (router.n_experts == 0) {
        ImGui::AlignTextToFramePadding();
        dim_text(context.state.model || context.state.run ? "This model is dense: it has no router, so there is no k to change"
                                                          : "k and the gate rule appear here once a model or a recorded run is open");
        return;
    }
    draw_k(context, router);
    draw_rule(context, router);
    m_gates.draw(context, router);
    if (!is_bar_short(context)) {
        draw_weights(context);
        draw_sum(context);
        draw_temperature(context);
    }
    draw_outcome(context);
}

void RoutingBar::draw_k(ViewContext& context, const gs::RouterSpec& router) {
    const gs::Policy policy = shown_policy(context);
    int k = global_k(policy, router);
    if (has_labels()) label("experts per token");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * (is_compact() ? 9.0f : 11.0f));
    const bool hint = !context.settings.k_hint_done && !is_compact() && policy.is_native();  // the one thing a newcomer should try
    const std::string format = fmt::format("k {} %d of {}{}", policy.rule == gs::GateRule::kTopP || policy.rule == gs::GateRule::kThreshold ? "≤" : "=", router.n_experts, hint ? "   ← drag →" : "");
    if (hint) ImGui::PushStyleColor(ImGuiCol_Border, context.theme.accent);
    ImGui::PushStyleVar(ImGuiStyleVar_FrameBorderSize,
                        hint ? std::max(1.0f, ImGui::GetFontSize() / 12) : ImGui::GetStyle().FrameBorderSize);
    const bool moved = ImGui::SliderInt("###k", &k, 1, router.n_experts, format.c_str(), ImGuiSliderFlags_AlwaysClamp);
    ImGui::PopStyleVar();
    if (hint) ImGui::PopStyleColor();
    if (moved) {
        context.settings.k_hint_done = true;
        preview_policy(context, with_k(policy, k, router));
    }
    const bool let_go = ImGui::IsItemDeactivatedAfterEdit();
    draw_k_marks(router, context.theme);
    tooltip(fmt::format("How many experts each token uses in every layer (digits 1–9). The mark is k = {}, which the model was trained "
                        "with. While you drag, the "
                        "recorded router logits answer (what-if); letting go runs the prompt again and compares.",
                        router.n_used)
                .c_str());
    if (let_go) {
        const gs::Policy wanted = with_k(shown_policy(context), k, router);
        if (wanted == context.state.policy && !context.what_if.pending)
            context.what_if.set_policy(std::nullopt);
        else
            commit_policy(context, wanted);
    }
    if (!policy.layers.empty()) {
        ImGui::SameLine();
        if (ImGui::SmallButton(fmt::format("+ {} by layer###by_layer", policy.layers.size()).c_str())) ImGui::SetWindowFocus("###layers");
        tooltip("Some layers have a rule of their own: see the Layers panel");
    }
}

void RoutingBar::draw_rule(ViewContext& context, const gs::RouterSpec& router) {
    static const char* const rules[] = {"Native", "Soft", "Hard", "Top-k"};
    static const char* const notes[] = {"As trained (N)", "All experts, weighted by preference (S): the reference",
                                        "The best expert alone (H)", "The best k (T)"};
    gs::Policy policy = shown_policy(context);
    int rule = static_cast<int>(policy.rule);
    const bool compact = is_compact();
    flow(ImGui::CalcTextSize(has_labels() ? "ruleNativeSoftHardTop-k" : "NativeSoftHardTop-k").x + 9 * ImGui::GetStyle().FramePadding.x -
         (compact ? ImGui::GetFontSize() * 11 : 0));
    ImGui::BeginGroup();
    if (has_labels()) label("rule");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 6);
    // Rules beyond these four are chosen beside them (gate_popup.h).
    if (compact ? ImGui::Combo("###rule_list", &rule, rules, 4) : segmented("rule", rules, rule, notes)) {
        policy.rule = static_cast<gs::GateRule>(rule);
        policy.k = policy.rule == gs::GateRule::kTopK ? (policy.k ? policy.k : router.n_used) : 0;
        apply_policy(context, policy);
    }
    ImGui::EndGroup();
}

void RoutingBar::draw_weights(ViewContext& context) {
    static const char* const rules[] = {"as trained", "sum to 1", "native sum"};
    const float unit = ImGui::GetFontSize();
    gs::Policy policy = shown_policy(context);
    flow(unit * 6.2f + (has_labels() ? ImGui::CalcTextSize("weights").x : 0));
    ImGui::BeginGroup();
    if (has_labels()) label("weights");
    ImGui::SetNextItemWidth(unit * 6.2f);
    int rule = static_cast<int>(policy.weight_rule);
    if (ImGui::Combo("###weights", &rule, rules, 3)) {
        policy.weight_rule = static_cast<gs::WeightRule>(rule);
        apply_policy(context, policy);
    }
    tooltip(
        "How the applied weights are scaled after the choice: as the model was trained, so that they sum to 1, or to the sum that native "
        "routing has");
    ImGui::EndGroup();
}

void RoutingBar::draw_temperature(ViewContext& context) {
    const float unit = ImGui::GetFontSize();
    gs::Policy policy = shown_policy(context);
    flow(unit * 4 + (has_labels() ? ImGui::CalcTextSize("temp.").x : 0));
    ImGui::BeginGroup();
    if (has_labels()) label("temp.");
    ImGui::SetNextItemWidth(unit * 4);
    float temperature = policy.temperature;
    if (ImGui::DragFloat("###temperature", &temperature, 0.01f, 0.1f, 10, has_labels() ? "%.2f" : "τ %.2f",
                         ImGuiSliderFlags_Logarithmic | ImGuiSliderFlags_AlwaysClamp)) {
        policy.temperature = m_temperature = std::fabs(temperature - 1) < 0.015f ? 1.0f : temperature;
        preview_policy(context, policy);
    }
    if (ImGui::IsItemDeactivatedAfterEdit()) {
        policy.temperature = m_temperature;
        commit_policy(context, policy);
    }
    tooltip(
        "Router logits are divided by it: below 1 the router is more sure, above 1 less. Drag to change. Not the sampler's temperature");
    ImGui::EndGroup();
}

void RoutingBar::draw_sum(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (trace.empty() || trace.n_moe_layers() == 0 || !trace.has_weights()) return;
    const int token =
        context.selected.token >= 0 && context.selected.token < trace.n_tokens() ? context.selected.token : trace.n_tokens() - 1;
    double sum = 0;
    for (int m = 0; m < trace.n_moe_layers(); ++m)
        for (const float w : trace.weights(m, token)) sum += w;
    const std::string text = fmt::format("Σ weights {}", format_number(sum / trace.n_moe_layers()));
    flow(ImGui::CalcTextSize(text.c_str()).x);
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(text.c_str());
    tooltip(
        "Sum of the applied weights of the selected (else the newest) token, mean over the layers. Fewer experts without renormalising "
        "make the routed output smaller");
}

void RoutingBar::draw_outcome(ViewContext& context) {
    if (context.what_if.active()) {
        flow(badge_size("what-if").x);
        ImGui::SetCursorPosY(ImGui::GetCursorPosY() + (ImGui::GetFrameHeight() - badge_size("x").y) / 2);
        badge("what-if", context.theme.what_if);
        tooltip(
            "Recorded router logits under another policy. The hidden states are not computed again, so deeper layers would in truth see "
            "other inputs");
    } else if (const auto& c = context.state.comparison; c && context.state.run && c->run_b == context.state.run->id) {
        const std::string text = fmt::format("KL {} · top-1 {}", format_number(c->b.kl), format_percent(c->b.top1_agreement));
        flow(ImGui::CalcTextSize(text.c_str()).x + 2 * ImGui::GetStyle().FramePadding.x);
        ImGui::BeginDisabled(context.flashed());   // it keeps its place, so that no panel moves
        if (ImGui::Button((text + "###outcome").c_str())) ImGui::SetWindowFocus("###compare");
        ImGui::EndDisabled();
        tooltip(
            "KL divergence in nats, and how often the most probable token is the same: against the run before, on its text. Click for both "
            "texts side by side (C)");
    }
    const bool native = shown_policy(context).is_native();
    if (native) return;
    flow(ImGui::GetFrameHeight());
    if (ImGui::Button("↺###reset", {ImGui::GetFrameHeight(), 0})) apply_policy(context, gs::Policy{});
    tooltip("Back to native routing (N)");
}

}  // namespace app
