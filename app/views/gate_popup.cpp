#include "app/views/gate_popup.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/views/policy_edit.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

/// Gives the item just drawn its part in preview and commit: dragged, the recorded logits answer; let go, the model runs.
void follow_item(ViewContext& context, bool moved, const gs::Policy& policy) {
    if (moved) preview_policy(context, policy);
    if (ImGui::IsItemDeactivatedAfterEdit()) commit_policy(context, moved ? policy : shown_policy(context));
}

void set_rule(gs::Policy& policy, gs::GateRule rule) {
    if (policy.rule == rule) return;
    policy.rule = rule;
    policy.k = 0;
}

}  // namespace

std::string gate_summary(const gs::Policy& policy) {
    std::string out;
    const auto add = [&](const std::string& part) { out += (out.empty() ? "" : " · ") + part; };
    if (policy.rule == gs::GateRule::kTopP) add(fmt::format("top-p {:.2g}", policy.p));
    if (policy.rule == gs::GateRule::kThreshold) add(fmt::format("τ {:.2g}", policy.tau));
    if (policy.rule == gs::GateRule::kExpertChoice) add("expert choice");
    if (policy.noise > 0) add(fmt::format("σ {:.2g} #{}", policy.noise, policy.seed));
    if (policy.capacity > 0) add(fmt::format("C × {:.3g}", policy.capacity));
    return out;
}

void GatePopup::draw(ViewContext& context, const gs::RouterSpec& router) {
    const std::string summary = gate_summary(shown_policy(context));
    const std::string text = summary.empty() ? "Gates…" : summary;
    flow(ImGui::CalcTextSize(text.c_str()).x + 2 * ImGui::GetStyle().FramePadding.x);
    if (!summary.empty()) ImGui::PushStyleColor(ImGuiCol_Button, ImGui::GetStyleColorVec4(ImGuiCol_ButtonActive));
    if (ImGui::Button((text + "###gates").c_str())) ImGui::OpenPopup("###gate_popup");
    if (!summary.empty()) ImGui::PopStyleColor();
    tooltip("More gates: top-p, threshold, expert choice, noise, capacity. Masks, forced experts and biases are in the Layers panel");
    ImGui::SetNextWindowSizeConstraints({0, 0}, {ImGui::GetMainViewport()->WorkSize.x, ImGui::GetMainViewport()->Size.y * 0.9f});
    if (!ImGui::BeginPopup("###gate_popup")) return;
    ImGui::PushItemWidth(ImGui::GetFontSize() * 12);
    rules(context, router);
    noise(context);
    capacity(context);
    ImGui::PopItemWidth();
    ImGui::EndPopup();
}

void GatePopup::rules(ViewContext& context, const gs::RouterSpec& router) {
    heading("How many experts a token uses");
    gs::Policy policy = shown_policy(context);
    const auto choose = [&](const char* text, gs::GateRule rule, const char* explained) {
        if (ImGui::RadioButton(text, policy.rule == rule)) {
            gs::Policy wanted = policy;
            set_rule(wanted, rule);
            apply_policy(context, wanted);
        }
        tooltip(explained);
        policy = shown_policy(context);
    };
    /// Moving it chooses its rule.
    const auto slide = [&](const char* label, float gs::Policy::*value, float low, gs::GateRule rule, const char* explained) {
        float now = policy.*value;
        const bool moved = ImGui::SliderFloat(label, &now, low, 1, "%.2f", ImGuiSliderFlags_AlwaysClamp);
        if (moved) {
            set_rule(policy, rule);
            policy.*value = now;
        }
        follow_item(context, moved, policy);
        tooltip(explained);
    };
    choose("Top-p###topp", gs::GateRule::kTopP,
           "The fewest experts, best first, whose preference sums to p of all that may be chosen: a sure router uses few, an unsure one many. "
           "k, where it is set, caps them");
    slide("p###p", &gs::Policy::p, 0.05f, gs::GateRule::kTopP, "Share of the preference to be reached. 1: all experts (soft)");
    choose("Threshold###threshold", gs::GateRule::kThreshold,
           fmt::format("Of the k best (k = {} unless you set it) those that weigh at least τ times as much as the heaviest; at least one. As ik_llama.cpp's "
                       "smart expert reduction",
                       router.n_used)
               .c_str());
    slide("τ###tau", &gs::Policy::tau, 0, gs::GateRule::kThreshold, "0: the k best. 1: the best alone");
    choose("Expert choice###expert_choice", gs::GateRule::kExpertChoice,
           "Each expert takes its best tokens of the prompt, T k / E × factor of them, so that all carry the same load and a token may get none. It needs to "
           "see all tokens: those of the answer come one at a time and route by top-k");
    if (gate_summary(policy).empty()) return;
    if (ImGui::Button("As trained###as_trained")) {
        policy.rule = gs::GateRule::kNative;
        policy.k = 0;
        policy.p = gs::kDefaultP;
        policy.tau = gs::kDefaultTau;
        policy.noise = policy.capacity = 0;
        policy.seed = 0;
        apply_policy(context, policy);
    }
    tooltip("Without all that is set here");
}

void GatePopup::noise(ViewContext& context) {
    heading("Noise");
    gs::Policy policy = shown_policy(context);
    bool moved = ImGui::SliderFloat("σ###noise", &policy.noise, 0, 4, policy.noise > 0 ? "%.2f" : "off", ImGuiSliderFlags_AlwaysClamp);
    follow_item(context, moved, policy);
    tooltip("Standard deviation of what is added to every router logit before the choice (noisy top-k); in weights too, not in the preference");
    policy = shown_policy(context);
    moved = ImGui::InputScalar("seed###noise_seed", ImGuiDataType_U32, &policy.seed);
    follow_item(context, moved, policy);
    tooltip("The noise is a function of seed, position, layer and expert: the same seed gives the same routes, on every engine and in a what-if");
}

void GatePopup::capacity(ViewContext& context) {
    heading("Capacity");
    gs::Policy policy = shown_policy(context);
    bool on = policy.capacity > 0;
    if (ImGui::Checkbox("An expert takes at most its share of tokens###capacity", &on)) {
        policy.capacity = on ? 1.25f : 0;
        apply_policy(context, policy);
    }
    tooltip("At most ceil(T k / E × factor) tokens an expert and layer (Switch Transformer, eq. 3), in token order: T is the length of the prompt, then the "
            "tokens so far. What comes later is dropped: the expert adds nothing to that token, other weights stay");
    if (!on) return;
    policy = shown_policy(context);
    const bool moved = ImGui::SliderFloat("factor###factor", &policy.capacity, 0.25f, 4, "%.2f", ImGuiSliderFlags_AlwaysClamp | ImGuiSliderFlags_Logarithmic);
    follow_item(context, moved, policy);
    tooltip("1: room for a perfectly even load. Above: room to spare");
    drops(context);
}

void GatePopup::drops(ViewContext& context) {
    constexpr int kBins = 12;
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (trace.empty() || trace.n_moe_layers() == 0 || shown_policy(context).rule == gs::GateRule::kExpertChoice) return;
    if (m_drops_revision != trace.revision()) {
        m_drops_revision = trace.revision();
        m_drops = gs::choices_by_position(trace, kBins, {});
    }
    gs::ChoiceCounts all;
    float most = 0;
    std::vector<float> shares;
    for (const auto& bin : m_drops.bins) {
        all += bin.counts;
        shares.push_back(static_cast<float>(bin.counts.dropped_share()));
        most = std::max(most, shares.back());
    }
    ImGui::TextUnformatted(fmt::format("{} of {} dropped ({}), {}", all.dropped, all.wanted, format_percent(all.dropped_share()),
                                       gs::name_of(trace.info().provenance))
                               .c_str());
    tooltip(fmt::format("Assignments of a token to an expert, over all layers and the {} tokens on screen", trace.n_tokens()).c_str());
    if (all.dropped == 0) return;
    ImGui::PlotHistogram("by position###drops", shares.data(), static_cast<int>(shares.size()), 0, nullptr, 0, most, {0, ImGui::GetFontSize() * 3});
    tooltip(fmt::format("Share of assignments dropped in {} parts of the run, first tokens left; the highest bar is {}", shares.size(),
                        format_percent(static_cast<double>(most)))
                .c_str());
}

}  // namespace app
