// Everything about the selected token, layer and expert.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "app/views/ablation_parts.h"
#include "app/views/choice_signs.h"
#include "app/views/inspector_router.h"
#include "app/views/layer_stats.h"
#include "app/views/pick_card.h"
#include "app/views/policy_edit.h"
#include "app/views/views_b.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "engine/routing/chance.h"

namespace app {
namespace {

/// A title with buttons that go to the one before and the one after. -1, 0 or +1.
int stepper(const char* id, std::string_view title, const char* before_note, const char* after_note) {
    int move = 0;
    ImGui::PushID(id);
    ImGui::AlignTextToFramePadding();
    const float height = ImGui::GetFrameHeight(), spacing = ImGui::GetStyle().ItemInnerSpacing.x;
    const float right = ImGui::GetCursorPosX() + ImGui::GetContentRegionAvail().x;
    const std::string shown = fit_text(title, ImGui::GetContentRegionAvail().x - 2 * height - 3 * spacing);
    ImGui::TextUnformatted(shown.c_str());
    ImGui::SameLine();
    ImGui::SetCursorPosX(right - 2 * height - spacing);
    if (ImGui::ArrowButton("###before", ImGuiDir_Left)) move = -1;
    tooltip(before_note);
    ImGui::SameLine(0, spacing);
    if (ImGui::ArrowButton("###after", ImGuiDir_Right)) move = 1;
    tooltip(after_note);
    ImGui::PopID();
    return move;
}

class Inspector final : public View {
public:
    void draw(ViewContext& context) override {
        const gs::TraceSnapshot& trace = context.what_if.trace();
        if (trace.empty()) {
            if (empty_state("Nothing to inspect yet", "Select a token, a layer or an expert in any panel, once a run is on screen.",
                            context.state.can_run() ? "Run the prompt" : "Open a file…")) {
                if (context.state.can_run())
                    context.session.run(make_request(context));
                else
                    context.wants_open_file = true;
            }
            return;
        }
        m_reader.set_trace(trace);
        m_stats.update(trace, context.settings.phase);
        const Pick pick = effective_pick(trace, context.selected);
        draw_token(context, trace, pick);
        if (pick.moe_layer < 0) {
            heading("Layer");
            dim_text("A dense model: no layer has a router.");
            return;
        }
        draw_layer(context, trace, pick);
        draw_expert(context, trace, pick);
    }

private:
    void draw_token(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick);
    void draw_layer(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick);
    void draw_choices(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick);
    void draw_expert(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick);
    void draw_users(ViewContext& context, const gs::TraceSnapshot& trace, int layer, int expert);
    void find_users(const gs::TraceSnapshot& trace, int layer, int expert, gs::PhaseFilter phase);

    RouteReader m_reader;
    gs::ChoiceReader m_choice_reader;
    LayerChoices m_layer_choices;
    RunStats m_stats;
    RouterTable m_table;
    struct User {
        int token;
        float weight;
    };
    std::vector<User> m_users;  ///< tokens that used the expert, largest weight first, at most 12
    int m_n_users = 0;          ///< all of them
    double m_mean_weight = 0;
    gs::ChanceNull m_chance;    ///< of m_mean_weight: a random expert used as often
    uint64_t m_users_revision = 0;
    int m_users_layer = -1, m_users_expert = -1;
    gs::PhaseFilter m_users_phase = gs::PhaseFilter::kBoth;
};

void Inspector::draw_token(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick) {
    const gs::TokenRow& row = trace.token(pick.token);
    const bool newest = context.selected.token < 0;
    const std::string title = fmt::format("Token {} of {}{}", pick.token + 1, trace.n_tokens(), newest ? " (newest)" : "");
    if (const int move = stepper("token", title, "Token before ( , or left arrow)", "Next token ( right arrow)"))
        context.selected.token = std::clamp(pick.token + move, 0, trace.n_tokens() - 1);
    ImGui::PushFont(nullptr, ImGui::GetStyle().FontSizeBase * 1.35f);
    const std::string text = trace.info().lacks.text ? token_label(trace, pick.token, 24) : visible_token(row.text);
    const float chip_pad = ImGui::GetFontSize() * 0.3f;
    const std::string shown = fit_text(text, ImGui::GetContentRegionAvail().x - 2 * chip_pad);
    const ImVec2 at = ImGui::GetCursorScreenPos(), extent = ImGui::CalcTextSize(shown.c_str());
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const ImVec2 high = {at.x + extent.x + 2 * chip_pad, at.y + extent.y + chip_pad};
    draw->AddRectFilled(at, high, context.theme.track, chip_pad);
    if (row.special) draw->AddRect(at, high, context.theme.text_dim, chip_pad);
    draw->AddText({at.x + chip_pad, at.y + chip_pad / 2}, context.theme.text, shown.c_str());
    ImGui::Dummy({high.x - at.x, high.y - at.y});
    ImGui::PopFont();
    if (row.special) {
        ImGui::SameLine();
        badge("special", context.theme.text_dim);
    }
    const gs::TraceLacks& lacks = trace.info().lacks;
    key_value("id", lacks.token_ids ? "not in the recorded run" : fmt::format("{}", row.id), "Number of the token in the model's vocabulary");
    if (!lacks.text) key_value("bytes", fit_text(hex_bytes(row.text), ImGui::GetFontSize() * 12), code_points(row.text).c_str());
    key_value("phase", lacks.phases ? "not in the recorded run" : row.phase == gs::Phase::kPrefill ? "prefill (read from the prompt)" : "decode (generated)");
    if (!std::isnan(row.logprob))
        key_value("log prob.",
                  fmt::format("{} nats  ({})", format_number(row.logprob), format_percent(std::exp(static_cast<double>(row.logprob)))),
                  "Natural log of the probability that the model gave this token, over the whole vocabulary at temperature 1");
    else
        key_value("log prob.", trace.info().source.empty() ? "none: nothing came before it" : "not in the recorded run");
    if (!std::isnan(row.entropy))
        key_value("entropy", fmt::format("{} nats", format_number(row.entropy)),
                  "Of the next-token distribution this token was drawn from");
    key_value("policy", trace.policy(pick.token).to_text(), "Routing rule in force for this token");
    provenance_badge(context, trace.info().provenance);
}

void Inspector::draw_layer(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick) {
    ImGui::Separator();
    const std::string title = fmt::format("Layer {} of {}", model_layer(trace.info(), pick.moe_layer), n_model_layers(trace.info()));
    if (const int move = stepper("layer", title, "Layer before ( [ )", "Next layer ( ] )"))
        context.selected.moe_layer = std::clamp(pick.moe_layer + move, 0, trace.n_moe_layers() - 1);
    const auto weights = trace.weights(pick.moe_layer, pick.token);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    key_value("experts", fmt::format("{} of {}", weights.size(), trace.n_experts()));
    key_value("Σ weights", format_number(sum), "Sum of the applied weights of this token at this layer");
    key_value("router entropy", fmt::format("{} nats", format_number(m_reader.scalar(RouteScalar::kEntropy, pick.moe_layer, pick.token))),
              fmt::format("Entropy of the preference over {} experts; even = ln {} = {}", trace.n_experts(), trace.n_experts(),
                          format_number(std::log(trace.n_experts())))
                  .c_str());
    const float margin = m_reader.scalar(RouteScalar::kMargin, pick.moe_layer, pick.token);
    key_value("margin at k", !trace.has_logits() ? "not in the recorded run" : std::isnan(margin) ? "none: all are chosen" : fmt::format("{} logits", format_number(margin)),
              "Worst chosen minus best rejected router logit: how close the decision was");
    if (trace.has_logits()) draw_choices(context, trace, pick);
    if (trace.info().has_shared_expert) key_value("shared expert", "always on, not routed");
    ImGui::Spacing();
    m_table.draw(context, m_reader, pick);
}

/// How clear the choice was, here and over the run.
void Inspector::draw_choices(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick) {
    const gs::LogitError error{context.settings.logit_error};
    key_value("choice", choice_text(m_choice_reader.read(trace, pick.moe_layer, pick.token, error)), fragile_explained(error).c_str());
    const gs::ChoiceCounts& counts = m_layer_choices.counts(trace, pick.moe_layer, error);
    const double share = counts.with_border > 0 ? static_cast<double>(counts.fragile) / static_cast<double>(counts.with_border) : 0;
    key_value("fragile here", fmt::format("{} of {} ({}); {} ties", counts.fragile, counts.with_border, format_percent(share), counts.ties),
              ("Decisions of this layer over the run that have a worst expert chosen and a best one rejected. " + fragile_explained(error)).c_str());
    if (counts.dropped > 0)
        key_value("dropped here", fmt::format("{} of {} ({})", counts.dropped, counts.wanted, format_percent(counts.dropped_share())),
                  "Assignments of this layer over the run that found their expert full (capacity), of all that tokens wanted");
}

void Inspector::draw_expert(ViewContext& context, const gs::TraceSnapshot& trace, const Pick& pick) {
    const auto ids = trace.ids(pick.moe_layer, pick.token);
    const int expert = pick.expert >= 0 ? pick.expert : ids.empty() ? 0 : ids[0];
    ImGui::Separator();
    const std::string title = fmt::format("Expert {}{}", expert, pick.expert < 0 ? " (first choice)" : "");
    if (const int move = stepper("expert", title, "Expert before", "Next expert"))
        context.selected.expert = std::clamp(expert + move, 0, trace.n_experts() - 1);
    ablation_buttons(context, pick.moe_layer, expert);
    const LayerStats& stats = m_stats.layer(pick.moe_layer);
    const auto e = static_cast<size_t>(expert);
    const char* const phase = context.settings.phase == gs::PhaseFilter::kBoth      ? ""
                              : context.settings.phase == gs::PhaseFilter::kPrefill ? " prefill"
                                                                                    : " decode";
    if (stats.load.n_tokens == 0) {
        dim_text("No token of this phase yet.");
        return;
    }
    key_value("load",
              fmt::format("{} of {}{} tokens ({})", stats.load.counts[e], stats.load.n_tokens, phase, format_percent(stats.share(expert))),
              "Tokens of this run that used the expert at this layer");
    const double share = stats.share(expert);
    const char* const verdict = share > stats.null.band_high ? "above" : share < stats.null.band_low ? "below" : "inside";
    key_value(
        "if uniform",
        fmt::format("{} ({}–{}): {}", format_percent(stats.null.share), format_percent(stats.null.band_low),
                    format_percent(stats.null.band_high), verdict),
        fmt::format("A router without any preference gives every expert k/E of the tokens; 95 % of such experts lie in the band for T = {}",
                    stats.load.n_tokens)
            .c_str());
    key_value("rank", fmt::format("{} of {} by load", stats.rank(expert), trace.n_experts()));
    draw_users(context, trace, pick.moe_layer, expert);
}

void Inspector::find_users(const gs::TraceSnapshot& trace, int layer, int expert, gs::PhaseFilter phase) {
    if (trace.revision() == m_users_revision && layer == m_users_layer && expert == m_users_expert && phase == m_users_phase) return;
    m_users_revision = trace.revision(), m_users_layer = layer, m_users_expert = expert, m_users_phase = phase;
    m_users.clear();
    double sum = 0;
    std::vector<float> of_layer;
    for (int t = 0; t < trace.n_tokens(); ++t) {
        const bool prefill = trace.token(t).phase == gs::Phase::kPrefill;
        if ((phase == gs::PhaseFilter::kPrefill && !prefill) || (phase == gs::PhaseFilter::kDecode && prefill)) continue;
        const auto ids = trace.ids(layer, t);
        const auto weights = trace.weights(layer, t);
        of_layer.insert(of_layer.end(), weights.begin(), weights.end());
        const auto found = std::find(ids.begin(), ids.end(), expert);
        if (found == ids.end()) continue;
        m_users.push_back({t, weights[static_cast<size_t>(found - ids.begin())]});
        sum += m_users.back().weight;
    }
    m_n_users = static_cast<int>(m_users.size());
    m_mean_weight = m_users.empty() ? 0 : sum / m_n_users;
    m_chance = m_users.empty() || !trace.has_weights() ? gs::ChanceNull{} : gs::DrawnValues(of_layer).mean_of(static_cast<uint32_t>(m_n_users));
    std::stable_sort(m_users.begin(), m_users.end(), [](const User& a, const User& b) { return a.weight > b.weight; });
    if (m_users.size() > 12) m_users.resize(12);
}

void Inspector::draw_users(ViewContext& context, const gs::TraceSnapshot& trace, int layer, int expert) {
    find_users(trace, layer, expert, context.settings.phase);
    if (m_users.empty()) return;
    if (trace.has_weights()) {
        const gs::Band& band = m_chance.band;
        key_value("mean weight", fmt::format("{} over {} tokens", format_number(m_mean_weight), m_n_users), "Mean applied weight over the tokens that used it");
        key_value("if random",
                  fmt::format("{} ({}–{}): {}", format_number(m_chance.mean), format_number(band.low), format_number(band.high),
                              m_mean_weight > band.high ? "above" : m_mean_weight < band.low ? "below" : "inside"),
                  "Of a random expert that is used as often, its weights drawn from all that this layer applied: the mean, and where 95 % of such experts lie");
    }
    dim_text("strongest tokens");
    ImGui::PushID("users");
    bool first = true;
    for (const User& user : m_users) {
        const std::string text = token_label(trace, user.token, 14) + fmt::format("###t{}", user.token);
        if (!first) flow(ImGui::CalcTextSize(text.c_str(), nullptr, true).x + 2 * ImGui::GetStyle().FramePadding.x);
        first = false;
        if (ImGui::SmallButton(text.c_str())) context.selected = {user.token, layer, expert};
        if (ImGui::IsItemHovered()) {
            context.hovered_next = {user.token, layer, expert};
            pick_card(context, context.hovered_next);
        }
    }
    ImGui::PopID();
}

}  // namespace

std::unique_ptr<View> make_inspector_view() { return std::make_unique<Inspector>(); }

}  // namespace app
