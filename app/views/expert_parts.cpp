#include "app/views/expert_parts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/route_data_ui.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr ImGuiTableFlags kTable = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_RowBg | ImGuiTableFlags_SizingStretchProp;

std::string band_text(const gs::Band& band) { return fmt::format("{} to {}", format_percent(band.low), format_percent(band.high)); }

const char* mark_of(double value, const gs::Band& band) { return value > band.high ? " ▲" : value < band.low ? " ▼" : ""; }

/// A horizontal bar 0..high with a band and a reference line.
void draw_share(const ViewContext& context, const gs::LabelUse& use, double overall, double high) {
    const ImVec2 at = ImGui::GetCursorScreenPos(), size{std::max(1.0f, ImGui::GetContentRegionAvail().x), ImGui::GetTextLineHeight()};
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const auto x = [&](double v) { return at.x + size.x * static_cast<float>(std::clamp(v / high, 0.0, 1.0)); };
    const float inset = std::floor(size.y * 0.2f);
    draw->AddRectFilled({at.x, at.y + inset}, {x(use.share), at.y + size.y - inset}, use.beyond_chance() ? context.theme.accent : with_alpha(context.theme.accent, 0.45f));
    draw->AddRectFilled({x(use.band.low), at.y + inset}, {std::max(x(use.band.high), x(use.band.low) + 1), at.y + size.y - inset}, with_alpha(context.theme.text_dim, 0.35f));
    draw->AddLine({x(overall), at.y}, {x(overall), at.y + size.y}, context.theme.text, std::max(1.0f, ImGui::GetFontSize() / 12));
    ImGui::Dummy(size);
}

void figure_card(const gs::ExpertProfile& profile, const gs::RankedFigure& f) {
    HoverCard card(f.figure->name);
    card.row("value", fmt::format("{:.6g}", f.value));
    card.row("formula", f.figure->meaning);
    card.row("n, T", fmt::format("{} of {} tokens", profile.n, profile.n_tokens));
    if (profile.n > 0) {
        card.row("by chance", fmt::format("{:.6g}", f.chance.mean));
        card.row("95 % of chance", fmt::format("{:.6g} to {:.6g}", f.chance.band.low, f.chance.band.high));
    }
    card.row("in the layer", fmt::format("{} of {} experts outside theirs", f.layer_beyond, profile.n_experts));
    card.note("computed");
}

}  // namespace

void draw_label_uses(const char* id, const ViewContext& context, const std::vector<gs::LabelUse>& uses, double overall) {
    double high = overall;
    for (const gs::LabelUse& u : uses) high = std::max({high, u.share, u.band.high});
    if (high <= 0) high = 1;
    if (!ImGui::BeginTable(id, 4, kTable)) return;
    ImGui::TableSetupColumn("label", 0, 1.1f);
    ImGui::TableSetupColumn("share", 0, 2);
    ImGui::TableSetupColumn("value", 0, 0.9f);
    ImGui::TableSetupColumn("lift", 0, 0.9f);
    for (const gs::LabelUse& u : uses) {
        ImGui::TableNextRow();
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(fit_text(visible_name(u.label), ImGui::GetContentRegionAvail().x).c_str());
        ImGui::TableNextColumn();
        draw_share(context, u, overall, high);
        if (ImGui::IsItemHovered()) {
            HoverCard card(visible_name(u.label));
            card.row("its tokens", fmt::format("{} of {}  ({})", u.chosen, u.n, format_percent(u.share)));
            card.row("of all tokens", format_percent(overall));
            card.row("lift", format_number(u.lift));
            card.row("95 % of chance", band_text(u.band));
            card.note("computed");
        }
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(format_percent(u.share).c_str());
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(("×" + format_number(u.lift) + (u.n > 0 ? mark_of(u.share, u.band) : "")).c_str());
    }
    ImGui::EndTable();
}

void draw_figures(const ViewContext& context, const gs::ExpertProfile& profile) {
    caption(fmt::format("Over its {} of {} tokens, computed. Chance: a random expert used as often, its outputs drawn from all of this layer's; of the frequency, a uniform router.",
                        profile.n, profile.n_tokens));
    if (!ImGui::BeginTable("figures", 5, kTable)) return;
    ImGui::TableSetupColumn("figure", 0, 1.75f);
    ImGui::TableSetupColumn("value", 0, 0.95f);
    ImGui::TableSetupColumn("95 % of chance", 0, 1.45f);
    ImGui::TableSetupColumn("rank", 0, 0.85f);
    ImGui::TableSetupColumn("layer: low, mean, high", 0, 1.9f);
    ImGui::TableHeadersRow();
    for (const gs::RankedFigure& f : profile.figures) {
        ImGui::TableNextRow();
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(f.figure->name);
        tooltip(f.figure->meaning);
        ImGui::TableNextColumn();
        ImGui::PushStyleColor(ImGuiCol_Text, f.beyond_chance ? context.theme.text : context.theme.text_dim);
        ImGui::TextUnformatted((format_number(f.value) + (f.beyond_chance ? mark_of(f.value, f.chance.band) : "")).c_str());
        ImGui::PopStyleColor();
        if (ImGui::IsItemHovered()) figure_card(profile, f);
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(profile.n == 0 ? "–" : fmt::format("{} to {}", format_number(f.chance.band.low), format_number(f.chance.band.high)).c_str());
        if (ImGui::IsItemHovered()) figure_card(profile, f);
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(fmt::format("{} of {}", f.rank, profile.n_experts).c_str());
        ImGui::TableNextColumn();
        dim_text(fmt::format("{}  {}  {}", format_number(f.layer_low), format_number(f.layer_mean), format_number(f.layer_high)));
    }
    ImGui::EndTable();
    caption(fmt::format("A cosine of {} would come of outputs at right angles.", format_number(profile.importance.cosine_orthogonal)));
}

void draw_profile_tokens(ViewContext& context, const gs::ExpertProfile& profile) {
    if (profile.tokens.empty()) return caption("No id occurs often enough with this expert.");
    if (!ImGui::BeginTable("tokens", 4, kTable)) return;
    ImGui::TableSetupColumn("token", 0, 1.2f);
    ImGui::TableSetupColumn("chosen", 0, 0.9f);
    ImGui::TableSetupColumn("lift", 0, 0.8f);
    ImGui::TableSetupColumn("in context", 0, 4);
    ImGui::TableHeadersRow();
    for (const gs::ProfileToken& t : profile.tokens) {
        ImGui::TableNextRow();
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(short_token(t.text, 14).c_str());
        tooltip(fmt::format("id {}; chance: lift {} to {} in 95 %", t.figures.id, format_number(t.figures.band.low), format_number(t.figures.band.high)).c_str());
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(fmt::format("{} of {}", t.figures.chosen, t.figures.n).c_str());
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(("×" + format_number(t.figures.lift) + mark_of(t.figures.lift, t.figures.band)).c_str());
        ImGui::TableNextColumn();
        for (const gs::TokenContext& c : t.contexts) {
            dim_text(visible_token(c.before.empty() ? std::string_view(" ") : std::string_view(c.before)));
            ImGui::SameLine(0, 0);
            ImGui::PushStyleColor(ImGuiCol_Text, context.theme.accent);
            ImGui::TextUnformatted(visible_token(c.token).c_str());
            ImGui::PopStyleColor();
            ImGui::SameLine(0, 0);
            if (!c.after.empty()) dim_text(visible_token(c.after));
            else ImGui::NewLine();
            tooltip(fmt::format("{}: {}{}{}", visible_name(c.domain), visible_token(c.before.empty() ? " " : c.before), visible_token(c.token), c.after).c_str());
        }
    }
    ImGui::EndTable();
}

int draw_partners(const char* id, ViewContext& context, const std::vector<gs::Partner>& partners, int moe_layer) {
    constexpr size_t kMost = 5;
    int clicked = -1;
    if (partners.empty()) {
        caption("The expert is not used.");
        return clicked;
    }
    if (!ImGui::BeginTable(id, 3, kTable)) return clicked;
    for (size_t i = 0; i < std::min(kMost, partners.size()); ++i) {
        const gs::Partner& p = partners[i];
        ImGui::TableNextRow();
        ImGui::TableNextColumn();
        if (ImGui::Selectable(fmt::format("expert {}###{}", p.expert, p.expert).c_str(), false, ImGuiSelectableFlags_SpanAllColumns)) clicked = p.expert;
        if (ImGui::IsItemHovered()) {
            context.hovered_next.moe_layer = moe_layer, context.hovered_next.expert = p.expert;
            HoverCard card(fmt::format("expert {}", p.expert));
            card.row("together", fmt::format("{} tokens, {} of this expert's", p.n, format_percent(p.share)));
            card.row("loads alone", format_percent(p.expected));
            card.row("95 % of chance", band_text(p.band));
            card.note("computed; click to look at it");
        }
        ImGui::TableNextColumn();
        ImGui::TextUnformatted((format_percent(p.share) + mark_of(p.share, p.band)).c_str());
        ImGui::TableNextColumn();
        dim_text(fmt::format("loads alone {}", format_percent(p.expected)));
    }
    ImGui::EndTable();
    return clicked;
}

void draw_router_words(const ViewContext& context, const gs::RouterWords& words) {
    std::string text;
    for (const gs::RouterWord& w : words.nearest) text += fmt::format("{}{} {:.3f}{}", text.empty() ? "" : "   ", short_token(w.text, 16), w.cosine, w.cosine > words.random_most ? " ▲" : "");
    ImGui::PushStyleColor(ImGuiCol_Text, context.theme.text);
    ImGui::TextWrapped("%s", text.c_str());
    ImGui::PopStyleColor();
    caption(fmt::format("Cosine with the embedding of each of {} tokens. Of {} random directions the nearest token reaches {:.3f} in the mean and {:.3f} at most; ▲ is above that. Read off the weights, not off a run.",
                        words.n_vocabulary, words.n_directions, words.random_mean, words.random_most));
}

}  // namespace app
