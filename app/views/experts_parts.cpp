#include "app/views/experts_parts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/log_ratio.h"
#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/expert_profile.h"

namespace app {
namespace {

const gs::Information& information_of(const gs::LayerStudy& layer, LabelKind kind, bool given) {
    if (kind == LabelKind::kDomain) return given ? layer.domain_given_class : layer.domain;
    return given ? layer.class_given_domain : layer.word_class;
}

std::string band_text(const gs::Band& band) { return fmt::format("{} to {}", format_percent(band.low), format_percent(band.high)); }

void information_rows(HoverCard& card, const char* name, const gs::Information& i) {
    card.row(name, fmt::format("{:.4g} of {:.4g} bits: {}", i.bits, i.entropy, format_percent(i.share())));
    card.row("  chance", fmt::format("{:.4g} bits, 95 % {:.4g} to {:.4g}", i.null.mean, i.null.band.low, i.null.band.high));
    card.row("  less chance", format_percent(i.adjusted_share()));
}

}  // namespace

LabelTable label_table(const gs::ExpertStudy& study, int moe_layer, LabelKind kind) {
    const gs::LayerStudy& layer = study.layers[static_cast<size_t>(moe_layer)];
    LabelTable out{.kind = kind, .counts = kind == LabelKind::kDomain ? &layer.by_domain : &layer.by_class,
                   .names = kind == LabelKind::kDomain ? study.tokens.domains : gs::class_names()};
    for (int l = 0; l < out.counts->n_labels; ++l)
        if (out.counts->tokens[static_cast<size_t>(l)] > 0) out.labels.push_back(l);
    return out;
}

float label_value(const LabelTable& table, int expert, int row, LabelQuantity quantity) {
    const int label = table.labels[static_cast<size_t>(row)];
    if (quantity == LabelQuantity::kShare) return static_cast<float>(table.counts->share(expert, label));
    return log2_ratio(table.counts->lift(expert, label));
}

ValueRange label_range(const LabelTable& table, LabelQuantity quantity) {
    float most = 0;
    for (int e = 0; e < table.counts->n_experts; ++e)
        for (int row = 0; row < static_cast<int>(table.labels.size()); ++row) {
            const float value = label_value(table, e, row, quantity);
            if (std::isfinite(value)) most = std::max(most, std::abs(value));
        }
    if (quantity == LabelQuantity::kShare) return {0, most > 0 ? most : 1};
    return {-log2_reach(most), log2_reach(most)};
}

int cells_beyond_chance(const LabelTable& table) {
    int n = 0;
    for (int e = 0; e < table.counts->n_experts; ++e)
        for (const int label : table.labels) n += !table.counts->band(e, label).holds(table.counts->share(e, label));
    return n;
}

LayerCurve information_curve(const gs::ExpertStudy& study, LabelKind kind, bool given, ImU32 color) {
    LayerCurve curve{.name = kind == LabelKind::kDomain ? "domain" : "word class", .color = color};
    for (const gs::LayerStudy& layer : study.layers) {
        const gs::Information& i = information_of(layer, kind, given);
        const double unit = i.entropy > 0 ? 100 / i.entropy : 0;
        curve.values.push_back(i.bits * unit);
        curve.low.push_back(i.null.band.low * unit);
        curve.high.push_back(i.null.band.high * unit);
    }
    return curve;
}

void label_card(const gs::ExpertStudy& study, int moe_layer, const LabelTable& table, int expert, int row) {
    const gs::LabelCounts& counts = *table.counts;
    const int label = table.labels[static_cast<size_t>(row)];
    HoverCard card(fmt::format("layer {} · expert {} · {}", study.trace.info().moe_layers[static_cast<size_t>(moe_layer)], expert, table.name(row)));
    card.row("its tokens", fmt::format("{} of {}  ({})", counts.at(expert, label), counts.tokens[static_cast<size_t>(label)], format_percent(counts.share(expert, label))));
    card.row("of all tokens", fmt::format("{} of {}  ({})", counts.of_expert(expert), counts.n_tokens, format_percent(counts.share(expert))));
    card.row("lift", format_number(counts.lift(expert, label)));
    card.row("95 % of chance", band_text(counts.band(expert, label)));
    if (table.kind == LabelKind::kClass) card.note(gs::rule_of(static_cast<gs::TokenClass>(label)));
    card.note("computed; chance: the label has nothing to do with the expert, whose load is kept");
}

void information_card(const gs::ExpertStudy& study, int moe_layer, bool given) {
    const gs::LayerStudy& layer = study.layers[static_cast<size_t>(moe_layer)];
    HoverCard card(fmt::format("layer {}: what the experts chosen tell", study.trace.info().moe_layers[static_cast<size_t>(moe_layer)]));
    information_rows(card, "word class", information_of(layer, LabelKind::kClass, given));
    information_rows(card, "domain", information_of(layer, LabelKind::kDomain, given));
    card.note(fmt::format("{} tokens, {} shuffles; word class: single tokens dealt out anew{}, domain: blocks of {} tokens", study.tokens.n(), study.n_shuffles,
                          given ? " within a domain" : "", gs::kDomainBlock));
}

int draw_label_table(ViewContext& context, const LabelTable& table, LabelQuantity quantity, const Pick& pick, ImVec2 size) {
    int clicked = -1;
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_ScrollX | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingFixedFit;
    constexpr int kMostColumns = 60;
    const int n = std::min(static_cast<int>(table.labels.size()), kMostColumns);
    if (!ImGui::BeginTable("###label_table", n + 2, kFlags, size)) return clicked;
    ImGui::TableSetupScrollFreeze(1, 1);
    ImGui::TableSetupColumn("expert");
    ImGui::TableSetupColumn("all");
    for (int row = 0; row < n; ++row) ImGui::TableSetupColumn(table.name(row).c_str());
    ImGui::TableHeadersRow();
    ImGuiListClipper clipper;
    clipper.Begin(table.counts->n_experts);
    while (clipper.Step())
        for (int e = clipper.DisplayStart; e < clipper.DisplayEnd; ++e) {
            ImGui::TableNextRow();
            ImGui::TableNextColumn();
            if (ImGui::Selectable(fmt::format("{}###expert{}", e, e).c_str(), pick.expert == e, ImGuiSelectableFlags_SpanAllColumns)) clicked = e;
            if (ImGui::IsItemHovered()) context.hovered_next.moe_layer = pick.moe_layer, context.hovered_next.expert = e;
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(format_percent(table.counts->share(e)).c_str());
            for (int row = 0; row < n; ++row) {
                ImGui::TableNextColumn();
                const int label = table.labels[static_cast<size_t>(row)];
                const double share = table.counts->share(e, label), lift = table.counts->lift(e, label);
                const gs::Band band = table.counts->band(e, label);
                const char* mark = share > band.high ? " ▲" : share < band.low ? " ▼" : "";
                ImGui::TextUnformatted(((quantity == LabelQuantity::kLift ? format_number(lift) : format_percent(share)) + mark).c_str());
            }
        }
    ImGui::EndTable();
    return clicked;
}

void draw_verdict(const ViewContext& context, const gs::ExpertStudy& study) {
    const gs::SpecializationVerdict& v = study.verdict;
    const std::string text = v.text();
    const size_t end = text.find(". ");
    ImGui::PushStyleColor(ImGuiCol_Text, v.claim == gs::Claim::kNeither || v.n_domains < 2 ? context.theme.warning : context.theme.ok);
    ImGui::TextWrapped("%s", text.substr(0, end == std::string::npos ? end : end + 1).c_str());
    ImGui::PopStyleColor();
    if (end != std::string::npos) caption(text.substr(end + 2));
    std::string texts;
    for (const gs::StudiedText& t : study.texts) texts += fmt::format("{}{} {}", texts.empty() ? "" : ", ", t.domain, t.end - t.begin);
    caption(fmt::format("{} tokens{}: {}. Policy {}. They hold for these texts.", v.n_tokens, study.complete ? "" : fmt::format(" so far, {} of {} texts", study.texts.size(), study.n_texts_wanted), texts,
                        study.policy.to_text()));
}

}  // namespace app
