#include "app/views/sensitivity_parts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/figure_rows.h"
#include "app/views/plot_style.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"
#include "implot.h"

namespace app {
namespace {

constexpr double kMB = 1e6;

/// One column of the figures; NaN: not known.
struct Figures {
    std::string name;
    const char* explanation = "";
    double kl = 0, perplexity = 0, bytes = 0, top1 = std::nan(""), tokens_per_s = std::nan("");
};

Figures figures_of(std::string name, const char* explanation, const gs::PolicyScore& s) {
    return {std::move(name), explanation, s.kl, s.perplexity, s.bytes_per_token, s.top1_agreement, s.tokens_per_s > 0 ? s.tokens_per_s : std::nan("")};
}

std::vector<Figures> columns_of(const gs::SensitivityMap& map, const ScheduleShown& shown) {
    std::vector<Figures> columns;
    const gs::SensitivityCell& u = map.unchanged;
    columns.push_back({map.base.is_native() ? "native" : "base", "The policy that the map starts from, run", u.kl, std::exp(u.nll), u.bytes_per_token, u.top1_agreement});
    if (const gs::LayerSchedule* s = shown.schedule())
        columns.push_back({"predicted", "The schedule, with the losses of its layers added up", s->predicted.kl, s->predicted.perplexity, s->predicted.bytes_per_token});
    if (shown.checked) columns.push_back(figures_of("run", "The schedule, run on the map's text", shown.checked->verified));
    if (shown.checked && shown.checked->uniform)
        columns.push_back(figures_of(fmt::format("k = {}", shown.checked->uniform_k), "The best single k for the same budget in every layer, run", *shown.checked->uniform));
    else if (!shown.checked && shown.uniform >= 0)
        columns.push_back(figures_of(fmt::format("k = {}", map.ks[static_cast<size_t>(shown.uniform)]), "The best single k for the same budget in every layer, run",
                                     map.uniform[static_cast<size_t>(shown.uniform)]));
    return columns;
}

std::string saved(double bytes, double of) {
    const double share = 1 - bytes / of;
    return std::abs(share) < 5e-5 ? "0 %" : fmt::format("{}{}", share > 0 ? "" : "−", format_percent(std::abs(share)));
}

/// The same figures, a row for each policy: low, where there is more width than height.
void compact_figures(const gs::SensitivityMap& map, const std::vector<Figures>& columns) {
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchProp | ImGuiTableFlags_BordersInnerV;
    if (!ImGui::BeginTable("###figures", 7, kFlags)) return;
    static constexpr const char* kNames[] = {"", "KL", "perpl.", "reads", "saved", "same", "tok/s"};
    static constexpr const char* kExplained[] = {"", "Mean KL divergence from native routing, nats per token", "Perplexity of the text, teacher-forced", "Weight bytes that one token reads", "Of the weight bytes of the first row",
                                                 "Positions with the same most probable token as native routing", "Decoded one token at a time, measured one after the other"};
    ImGui::TableNextRow(ImGuiTableRowFlags_Headers);
    for (size_t i = 0; i < std::size(kNames); ++i) {
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(kNames[i]);
        if (i > 0) tooltip(kExplained[i]);
    }
    for (const Figures& f : columns) {
        ImGui::TableNextColumn();
        dim_text(f.name);
        tooltip(f.explanation);
        for (const std::string& text : {format_number(f.kl), format_number(f.perplexity), format_bytes(f.bytes), saved(f.bytes, map.unchanged.bytes_per_token), format_percent(f.top1),
                                        format_number(f.tokens_per_s)}) {
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(text.c_str());
        }
    }
    ImGui::EndTable();
}

void verdict(const ViewContext& context, const ScheduleShown& shown, bool compact) {
    if (shown.checked) {
        const gs::ScheduleVerdict v = shown.checked->verdict;
        ImGui::PushStyleColor(ImGuiCol_Text, v == gs::ScheduleVerdict::kSchedule ? context.theme.ok : context.theme.warning);
        ImGui::TextWrapped("%s", shown.checked->verdict_text().c_str());
        ImGui::PopStyleColor();
        const std::string basis = fmt::format("{} tokens, runs: {}; the figures hold for this text", shown.checked->n_tokens, shown.checked->trials.size());
        if (compact)
            tooltip(basis.c_str());
        else
            caption(basis);
        return;
    }
    if (shown.by_hand) return caption("Changed by hand; a prediction: losses of layers are added up. Check it by a run.");
    if (shown.planned) return caption("A prediction: losses of layers are added up. Check it by a run.");
    ImGui::PushStyleColor(ImGuiCol_Text, context.theme.warning);
    ImGui::TextWrapped("No schedule of the map keeps this budget.");
    ImGui::PopStyleColor();
}

}  // namespace

void draw_schedule_figures(ViewContext& context, const gs::SensitivityMap& map, const ScheduleShown& shown, bool compact) {
    verdict(context, shown, compact);
    const std::vector<Figures> columns = columns_of(map, shown);
    if (compact) return compact_figures(map, columns);
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchProp | ImGuiTableFlags_BordersInnerV;
    if (ImGui::BeginTable("###figures", static_cast<int>(columns.size()) + 1, kFlags)) {
        ImGui::TableSetupColumn("", 0, 1.25f);
        for (const Figures& f : columns) ImGui::TableSetupColumn(f.name.c_str());
        ImGui::TableNextRow(ImGuiTableRowFlags_Headers);
        ImGui::TableNextColumn();
        for (const Figures& f : columns) {
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(f.name.c_str());
            tooltip(f.explanation);
        }
        figure_row("KL (nats)", "Mean KL divergence from native routing, per token", columns, [](const Figures& f) { return format_number(f.kl); });
        figure_row("perplexity", "Of the text, teacher-forced", columns, [](const Figures& f) { return format_number(f.perplexity); });
        figure_row("weights read", "Weight bytes that one token reads", columns, [](const Figures& f) { return format_bytes(f.bytes); });
        figure_row("saved", "Of the weight bytes of the first column", columns, [&](const Figures& f) { return saved(f.bytes, map.unchanged.bytes_per_token); });
        figure_row("same top", "Positions with the same most probable token as native routing", columns, [](const Figures& f) { return format_percent(f.top1); });
        if (shown.checked)
            figure_row("tokens/s", "Decoded one token at a time, measured one after the other", columns, [](const Figures& f) { return format_number(f.tokens_per_s); });
        ImGui::EndTable();
    }
}

float figures_height(const ScheduleShown& shown) {
    const float row = ImGui::GetTextLineHeight() + 2 * ImGui::GetStyle().CellPadding.y;
    return row * (shown.checked ? 7.0f : 6.0f) + ImGui::GetTextLineHeightWithSpacing() * (shown.checked ? 4.0f : 2.0f);
}

void draw_schedule_curve(const ViewContext& context, const SchedulePlans& plans, const ScheduleShown& shown, ImVec2 size) {
    const gs::SensitivityMap& map = plans.map();
    const gs::BudgetKind kind = shown.budget.kind;
    const SchedulePlans::Frontier& planned = plans.frontier(kind);
    std::vector<double> x, y, uniform_x, uniform_y, run_x, run_y;
    for (size_t i = 0; i < planned.bytes.size(); ++i) x.push_back(planned.bytes[i] / kMB), y.push_back(planned.loss[i]);
    for (const gs::PolicyScore& s : map.uniform) uniform_x.push_back(s.bytes_per_token / kMB), uniform_y.push_back(loss_of(kind, s));
    std::vector<double> hand_x, hand_y;
    if (shown.by_hand && shown.planned)
        hand_x.push_back(shown.planned->predicted.bytes_per_token / kMB), hand_y.push_back(kind == gs::BudgetKind::kPerplexity ? shown.planned->predicted.perplexity : shown.planned->predicted.kl);
    if (shown.checked)
        for (const gs::ScheduleTrial& t : shown.checked->trials) run_x.push_back(t.measured.bytes_per_token / kMB), run_y.push_back(loss_of(kind, t.measured));
    const auto [low_x, high_x] = std::minmax_element(uniform_x.begin(), uniform_x.end());
    const auto [low_y, high_y] = std::minmax_element(uniform_y.begin(), uniform_y.end());
    const double margin_x = 0.03 * (*high_x - *low_x), margin_y = 0.06 * (*high_y - *low_y);
    const float unit = ImGui::GetFontSize(), weight = std::max(1.0f, unit / 8), marker = unit / 4;
    constexpr ImPlotFlags kPlain = ImPlotFlags_NoTitle | ImPlotFlags_NoMenus | ImPlotFlags_NoBoxSelect | ImPlotFlags_NoMouseText;
    ImPlot::PushStyleColor(ImPlotCol_FrameBg, 0);
    ImPlot::PushStyleColor(ImPlotCol_PlotBg, context.theme.track);
    if (ImPlot::BeginPlot("###schedule_curve", size, kPlain)) {
        constexpr ImPlotAxisFlags kFixed = ImPlotAxisFlags_Lock | ImPlotAxisFlags_NoMenus | ImPlotAxisFlags_NoHighlight;
        ImPlot::SetupAxes("MB of weights per token", kind == gs::BudgetKind::kPerplexity ? "perplexity" : "KL (nats)", kFixed, kFixed);
        ImPlot::SetupAxisLimits(ImAxis_X1, *low_x - margin_x, *high_x + margin_x, ImPlotCond_Always);
        ImPlot::SetupAxisLimits(ImAxis_Y1, *low_y - margin_y, *high_y + margin_y, ImPlotCond_Always);
        ImPlot::SetupLegend(ImPlotLocation_NorthEast, ImPlotLegendFlags_NoMenus | ImPlotLegendFlags_NoButtons);
        ImPlot::PlotLine("one k for all", uniform_x.data(), uniform_y.data(), static_cast<int>(uniform_x.size()), plot_style(pinned_color(0), weight, ImPlotMarker_Square, marker));
        ImPlot::PlotLine("by layer, predicted", x.data(), y.data(), static_cast<int>(x.size()), plot_style(context.theme.accent, weight));
        if (!run_x.empty())
            ImPlot::PlotScatter("by layer, run", run_x.data(), run_y.data(), static_cast<int>(run_x.size()), plot_style(context.theme.selection, weight, ImPlotMarker_Circle, marker));
        if (!hand_x.empty()) ImPlot::PlotScatter("by hand, predicted", hand_x.data(), hand_y.data(), 1, plot_style(context.theme.what_if, weight, ImPlotMarker_Diamond, marker * 1.3f));
        const bool across = kind != gs::BudgetKind::kBytes;
        const double limit = across ? shown.budget.limit : shown.budget.limit / kMB;
        ImPlotSpec line = plot_style(context.theme.text_dim, weight);
        if (across) line.Flags = ImPlotInfLinesFlags_Horizontal;
        ImPlot::PlotInfLines("budget", &limit, 1, line);
        ImPlot::EndPlot();
    }
    ImPlot::PopStyleColor(2);
}

void sensitivity_card(const gs::SensitivityMap& map, int moe_layer, int column, const gs::LayerSchedule* schedule) {
    const gs::SensitivityCell& c = map.cell(moe_layer, column);
    const int k = map.ks[static_cast<size_t>(column)], own = map.base_k[static_cast<size_t>(moe_layer)];
    HoverCard card(fmt::format("layer {} · k = {}{}", map.moe_layers[static_cast<size_t>(moe_layer)], k, k == own ? ", its own" : ""));
    if (c.n_scored == 0) return card.note("Not measured yet.");
    card.row("KL", fmt::format("{:.6g} nats", c.kl));
    card.row("perplexity", fmt::format("{:.6g}  ({:+.3g} %)", std::exp(c.nll), 100 * std::expm1(c.nll - map.unchanged.nll)));
    card.row("same top token", format_percent(c.top1_agreement));
    card.row("weights read", fmt::format("{}  ({:+.3g} %)", format_bytes(c.bytes_per_token), 100 * (c.bytes_per_token / map.unchanged.bytes_per_token - 1)));
    if (schedule) card.row("schedule", fmt::format("k = {} here", schedule->ks[static_cast<size_t>(moe_layer)]));
    card.note(fmt::format("{} tokens; this layer alone changed, against native routing", c.n_scored));
}

int draw_sensitivity_table(const ViewContext& context, const gs::SensitivityMap& map, SensitivityQuantity quantity, const gs::LayerSchedule* schedule, ImVec2 size) {
    int clicked = -1;
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_ScrollX | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingFixedFit;
    constexpr int kMostColumns = 60;                       // ImGui's tables have 512 at most, and nobody reads more
    const int n_columns = std::min(map.n_ks(), kMostColumns);
    if (!ImGui::BeginTable("###sensitivity_table", n_columns + 1, kFlags, size)) return clicked;
    ImGui::TableSetupScrollFreeze(1, 1);
    ImGui::TableSetupColumn("layer");
    for (int column = 0; column < n_columns; ++column) ImGui::TableSetupColumn(fmt::format("k = {}", map.ks[static_cast<size_t>(column)]).c_str());
    ImGui::TableHeadersRow();
    ImGuiListClipper clipper;
    clipper.Begin(map.n_layers());
    while (clipper.Step())
        for (int m = clipper.DisplayStart; m < clipper.DisplayEnd; ++m) {
            ImGui::TableNextRow();
            ImGui::TableNextColumn();
            if (ImGui::Selectable(fmt::format("{}###row{}", map.moe_layers[static_cast<size_t>(m)], m).c_str(), context.selected.moe_layer == m, ImGuiSelectableFlags_SpanAllColumns)) clicked = m;
            if (ImGui::IsItemHovered()) context.hovered_next.moe_layer = m;
            for (int column = 0; column < n_columns; ++column) {
                ImGui::TableNextColumn();
                const int k = map.ks[static_cast<size_t>(column)];
                const float value = sensitivity_value(map.cell(m, column), quantity, false);
                const std::string text = quantity == SensitivityQuantity::kTop1 ? format_percent(static_cast<double>(value)) : format_number(static_cast<double>(value));
                const bool own = k == map.base_k[static_cast<size_t>(m)], chosen = schedule && schedule->ks[static_cast<size_t>(m)] == k;
                if (chosen) ImGui::TableSetBgColor(ImGuiTableBgTarget_CellBg, with_alpha(context.theme.selection, 0.3f));
                ImGui::TextUnformatted((text + (own ? " *" : "") + (chosen ? " ←" : "")).c_str());
            }
        }
    ImGui::EndTable();
    return clicked;
}

}  // namespace app
