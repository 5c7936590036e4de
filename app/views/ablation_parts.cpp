#include "app/views/ablation_parts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr const char* kModes[] = {"Zero", "Route around", "Swap…"};   // order of gs::AblationMode
constexpr const char* kExplained[] = {"Chosen and weighed as ever, but its output counts nothing; the others keep their weights.",
                                      "It cannot be chosen (a mask): the next best enters in its place.", "Another expert runs in its place, with its weight."};

/// Three digits that count: effects of single experts are small.
std::string nats(double value) { return fmt::format("{:.3g}", value); }

/// Names of the experts that may run instead, in a popup.
void swap_popup(ViewContext& context, int layer, int expert, int n_experts) {
    if (!ImGui::BeginPopup("swap_with")) return;
    dim_text(fmt::format("runs where expert {} is chosen", expert));
    const float unit = ImGui::GetFontSize();
    if (ImGui::BeginChild("###experts", {unit * 12, std::min(unit * 16, static_cast<float>(n_experts + 1) * ImGui::GetFrameHeightWithSpacing())})) {
        for (int e = 0; e < n_experts; ++e) {
            if (e == expert || ablated_entry(context.settings, layer, e)) continue;
            if (ImGui::Selectable(fmt::format("expert {}###e{}", e, e).c_str(), false, 0, {0, ImGui::GetFrameHeight()})) {
                ablate_expert(context.settings, {layer, expert, gs::AblationMode::kSwap, e});
                ImGui::CloseCurrentPopup();
            }
        }
    }
    ImGui::EndChild();
    ImGui::EndPopup();
}

template <class Format>
void figure_row(const char* name, const char* explanation, double value, const gs::ControlBand& band, Format format) {
    ImGui::TableNextRow();
    ImGui::TableNextColumn();
    dim_text(name);
    tooltip(explanation);
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(format(value).c_str());
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(band.n == 0 ? "–" : fmt::format("{} ± {}", format(band.mean), format(band.sd)).c_str());
    tooltip("Mean and standard deviation over the controls");
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(band.n == 0 ? "–" : fmt::format("{} to {}", format(band.low), format(band.high)).c_str());
}

std::string control_text(const gs::AblationControl& control, int n_tokens) {
    std::string text;
    for (size_t i = 0; i < control.experts.size(); ++i)
        text += fmt::format("{}{} ({} of {} tokens)", i > 0 ? ", " : "", control.experts[i].to_text(), control.used[i], n_tokens);
    return text;
}

}  // namespace

const char* ablation_explained(gs::AblationMode mode) { return kExplained[static_cast<size_t>(mode)]; }

std::string describe(const gs::AblatedExpert& e) {
    const std::string how = e.mode == gs::AblationMode::kZero ? "zero" : e.mode == gs::AblationMode::kRouteAround ? "routed around" : fmt::format("expert {} runs instead", e.swap_to);
    return fmt::format("layer {} · expert {}: {}", e.layer, e.expert, how);
}

const gs::AblatedExpert* ablated_entry(const ViewSettings& settings, int layer, int expert) {
    const auto found = std::find_if(settings.ablated.begin(), settings.ablated.end(), [&](const gs::AblatedExpert& e) { return e.layer == layer && e.expert == expert; });
    return found == settings.ablated.end() ? nullptr : &*found;
}

void keep_expert(ViewSettings& settings, int layer, int expert) {
    std::erase_if(settings.ablated, [&](const gs::AblatedExpert& e) { return e.layer == layer && e.expert == expert; });
}

void ablate_expert(ViewSettings& settings, const gs::AblatedExpert& expert) {
    keep_expert(settings, expert.layer, expert.expert);
    // One that was to run in another's place cannot when it is ablated itself.
    std::erase_if(settings.ablated, [&](const gs::AblatedExpert& e) { return e.layer == expert.layer && e.swap_to == expert.expert; });
    settings.ablated.push_back(expert);
}

bool is_in_force(const gs::Policy& policy, const gs::AblatedExpert& expert) {
    const std::vector<gs::AblatedExpert> now = gs::ablated_in(policy);
    return std::find(now.begin(), now.end(), expert) != now.end();
}

std::vector<Pick> ablated_picks(const ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    std::vector<gs::AblatedExpert> all = context.settings.ablated;
    if (!trace.empty()) {
        const std::vector<gs::AblatedExpert> in_force = gs::ablated_in(trace.policy(trace.n_tokens() - 1));
        all.insert(all.end(), in_force.begin(), in_force.end());
    }
    std::vector<Pick> picks;
    for (const gs::AblatedExpert& e : all) {
        const Pick pick{-1, moe_row_of(trace.info(), e.layer), e.expert};
        if (pick.moe_layer >= 0 && pick.expert < trace.n_experts() && std::find(picks.begin(), picks.end(), pick) == picks.end()) picks.push_back(pick);
    }
    return picks;
}

void ablation_buttons(ViewContext& context, int moe_layer, int expert) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const int layer = model_layer(info, moe_layer);
    const gs::AblatedExpert* entry = ablated_entry(context.settings, layer, expert);
    ImGui::PushID("ablate");
    for (int mode = 0; mode < 3; ++mode) {
        if (mode > 0) same_line_if_fits(button_width(kModes[mode]));
        const bool chosen = entry && static_cast<int>(entry->mode) == mode;
        if (chosen) ImGui::PushStyleColor(ImGuiCol_Button, with_alpha(context.theme.warning, 0.45f));
        ImGui::PushID(gs::name_of(static_cast<gs::AblationMode>(mode)));
        if (ImGui::Button(fmt::format("{}###mode", kModes[mode]).c_str())) {
            if (mode == 2)
                ImGui::OpenPopup("swap_with");
            else
                ablate_expert(context.settings, {layer, expert, static_cast<gs::AblationMode>(mode), -1});
        }
        tooltip(kExplained[mode]);
        if (mode == 2) swap_popup(context, layer, expert, info.router.n_experts);
        ImGui::PopID();
        if (chosen) ImGui::PopStyleColor();
    }
    if (ablated_entry(context.settings, layer, expert)) {
        same_line_if_fits(button_width("Keep"));
        if (ImGui::Button("Keep###keep")) keep_expert(context.settings, layer, expert);
        tooltip("Takes it out of the set again");
    }
    ImGui::PopID();
}

bool draw_ablation_figures(const ViewContext& context, const gs::AblationResult& r) {
    if (r.effect.n_scored == 0) return false;
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchProp | ImGuiTableFlags_BordersInnerV;
    const gs::ControlBand kl = r.band(&gs::AblationEffect::kl);
    if (ImGui::BeginTable("###figures", 4, kFlags)) {
        ImGui::TableSetupColumn("", 0, 1.1f);
        ImGui::TableSetupColumn("ablated");
        ImGui::TableSetupColumn(fmt::format("{} controls###controls", kl.n).c_str(), 0, 1.4f);
        ImGui::TableSetupColumn("from … to", 0, 1.4f);
        ImGui::TableHeadersRow();
        const auto number = [](double v) { return nats(v); };
        figure_row("KL (nats)", "Mean KL(as before ‖ ablated) of the next-token distribution", r.effect.kl, kl, number);
        figure_row("Δ log p (nats)", "Mean change of the log-probability of the token that does follow; below 0: the text fits worse", r.effect.delta_logprob,
                   r.band(&gs::AblationEffect::delta_logprob), number);
        figure_row("flips", "Positions with another most probable next token", r.effect.flip_rate, r.band(&gs::AblationEffect::flip_rate), format_percent);
        ImGui::EndTable();
    }
    if (kl.n > 0) {
        const int larger = r.n_as_large();
        ImGui::PushStyleColor(ImGuiCol_Text, larger == 0 ? context.theme.text : context.theme.warning);
        ImGui::TextWrapped("%s", larger == 0 ? fmt::format("More than any of {} random experts of equal usage.", kl.n).c_str()
                                             : fmt::format("{} of {} random experts of equal usage matter at least as much.", larger, kl.n).c_str());
        ImGui::PopStyleColor();
    }
    if (!r.note.empty()) caption(r.note);
    return true;
}

void draw_ablation_strip(const ViewContext& context, const gs::AblationResult& r, ImVec2 size) {
    const Theme& theme = context.theme;
    const float unit = ImGui::GetFontSize();
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImGui::InvisibleButton("###strip", {std::max(size.x, 1.0f), std::max(size.y, 1.0f)});
    const bool over = ImGui::IsItemHovered();
    double high = r.effect.kl;
    for (const gs::AblationControl& c : r.controls) high = std::max(high, c.effect.kl);
    high = high > 0 ? high * 1.08 : 1;
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const float left = at.x + unit * 0.5f, right = at.x + size.x - unit * 0.5f, y = at.y + unit * 1.6f;
    const auto x_of = [&](double kl) { return left + static_cast<float>(kl / high) * (right - left); };
    draw->AddLine({left, y}, {right, y}, theme.grid, 1);
    const gs::ControlBand band = r.band(&gs::AblationEffect::kl);
    if (band.n > 1) draw->AddRectFilled({x_of(band.low), y - unit * 0.35f}, {x_of(band.high), y + unit * 0.35f}, with_alpha(theme.accent, 0.22f), unit / 6);
    const gs::AblationControl* nearest = nullptr;
    float best = unit * 0.6f;
    for (const gs::AblationControl& c : r.controls) {
        if (c.effect.n_scored == 0) continue;
        draw->AddCircleFilled({x_of(c.effect.kl), y}, unit / 4, theme.accent);
        const float away = std::abs(ImGui::GetIO().MousePos.x - x_of(c.effect.kl));
        if (over && away < best) best = away, nearest = &c;
    }
    const float x = x_of(r.effect.kl);
    draw->AddTriangleFilled({x, y - unit * 0.15f}, {x - unit * 0.35f, y - unit * 0.85f}, {x + unit * 0.35f, y - unit * 0.85f}, theme.warning);
    draw->AddLine({x, y - unit * 0.3f}, {x, y + unit * 0.5f}, theme.warning, std::max(1.5f, unit / 9));
    const std::string name = fmt::format("ablated {}", nats(r.effect.kl));
    const float width = ImGui::CalcTextSize(name.c_str()).x;
    draw->AddText({std::clamp(x - width / 2, left, std::max(left, right - width)), at.y - unit * 0.35f}, theme.text, name.c_str());
    const std::string end = fmt::format("KL {} nats", nats(high));
    draw->AddText({left, y + unit * 0.6f}, theme.text_dim, "0");
    draw->AddText({right - ImGui::CalcTextSize(end.c_str()).x, y + unit * 0.6f}, theme.text_dim, end.c_str());
    if (nearest) {
        HoverCard card("control " + control_text(*nearest, r.n_tokens));
        card.row("KL", fmt::format("{} nats", nats(nearest->effect.kl)));
        card.row("Δ log p", nats(nearest->effect.delta_logprob));
        card.row("flips", format_percent(nearest->effect.flip_rate));
    } else if (over) {
        tooltip("KL of the ablated experts (mark) among that of random experts of equal usage (dots; the shade spans them)");
    }
}

}  // namespace app
