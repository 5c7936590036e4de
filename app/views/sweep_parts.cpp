#include "app/views/sweep_parts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/plot_style.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"
#include "implot.h"

namespace app {
namespace {

constexpr float kFaint = 0.4f;

void line(const char* id, const SweepCurve& curve, const ImPlotSpec& spec) {
    if (!curve.empty()) ImPlot::PlotLine(id, curve.k.data(), curve.value.data(), static_cast<int>(curve.k.size()), spec);
}

/// Curves of one plot.
struct FigureCurves {
    SweepCurve main, ghost;
    std::vector<SweepCurve> layers;                        ///< of kLayerError
    SweepRange range;
    bool log_scale = false;
};

FigureCurves curves_of(const SweepShown& shown, SweepFigure figure) {
    FigureCurves out;
    out.log_scale = shown.log_scale && fact_of(figure).may_be_log;
    out.main = sweep_curve(shown.sweep, figure, out.log_scale);
    if (shown.ghost) out.ghost = sweep_curve(*shown.ghost, figure, out.log_scale);
    const bool has_layers = figure == SweepFigure::kLayerError && !out.main.empty();
    for (size_t m = 0; has_layers && m < shown.sweep.moe_layers.size(); ++m) out.layers.push_back(sweep_curve(shown.sweep, figure, false, static_cast<int>(m)));
    std::vector<SweepCurve> all = out.layers;
    all.insert(all.end(), {out.main, out.ghost});
    out.range = sweep_range(all, figure, out.log_scale);
    return out;
}

/// Tokens of this row are still to come, or never came: the sweep was stopped.
bool is_partial(const SweepShown& shown, const gs::PolicyScore& s) { return s.n_scored < shown.sweep.n_to_score(); }

void plot_points(const ViewContext& context, const SweepShown& shown, SweepFigure figure, float unit) {
    const size_t n = shown.sweep.rows.size();
    for (size_t i = 0; i < n; ++i) {
        const gs::PolicyScore& s = shown.sweep.rows[i];
        const double k = s.policy.k, value = sweep_value(s, figure);
        const bool lit = static_cast<int>(i) == shown.row;
        if (!std::isfinite(value) || (n > 40 && !lit)) continue;
        ImPlotSpec spec = plot_style(lit ? context.theme.selection : context.theme.accent, std::max(1.0f, unit / 10), ImPlotMarker_Circle, lit ? unit * 0.34f : unit * 0.22f);
        if (is_partial(shown, s)) spec.MarkerFillColor = ImGui::ColorConvertU32ToFloat4(context.theme.track);
        ImPlot::PlotScatter("###point", &k, &value, 1, spec);
    }
}

void plot_lines(const ViewContext& context, const SweepShown& shown, const FigureCurves& curves, float unit) {
    const float weight = std::max(1.0f, unit / 8);
    const double native = shown.sweep.native_k;
    ImPlot::PlotInfLines("###native", &native, 1, plot_style(context.theme.text_dim, std::max(1.0f, unit / 12)));
    if (shown.row >= 0) {
        const double k = shown.sweep.rows[static_cast<size_t>(shown.row)].policy.k;
        ImPlot::PlotInfLines("###lit", &k, 1, plot_style(with_alpha(context.theme.hover, 0.6f), std::max(1.0f, unit / 12)));
    }
    for (const SweepCurve& layer : curves.layers) line("###layer", layer, plot_style(with_alpha(context.theme.accent, curves.layers.size() > 12 ? 0.22f : 0.35f), 1));
    const SweepCurve& main = curves.main;
    if (main.k.size() > 1) {
        ImPlotSpec band = plot_style(context.theme.accent, 0);
        band.FillAlpha = 0.22f;
        ImPlot::PlotShaded("###band", main.k.data(), main.low.data(), main.high.data(), static_cast<int>(main.k.size()), band);
    }
    line("###ghost", curves.ghost, plot_style(with_alpha(context.theme.text, kFaint), weight, ImPlotMarker_Square, unit * 0.15f));
    line("###main", main, plot_style(context.theme.accent, weight));
    const int picked = context.hovered.moe_layer >= 0 ? context.hovered.moe_layer : context.selected.moe_layer;
    if (picked >= 0 && picked < static_cast<int>(curves.layers.size())) line("###picked", curves.layers[static_cast<size_t>(picked)], plot_style(context.theme.selection, weight));
}

/// Words on the native line, where they fit beside it; at the end of it where the curve is not.
void native_word(const ViewContext& context, const SweepShown& shown, const SweepRange& range, bool at_bottom) {
    const std::string word = fmt::format("native k = {}", shown.sweep.native_k);
    const ImVec2 at = ImPlot::PlotToPixels(shown.sweep.native_k, range.high), low = ImPlot::GetPlotPos(), size = ImPlot::GetPlotSize();
    const float gap = ImGui::GetFontSize() * 0.25f, width = ImGui::CalcTextSize(word.c_str()).x;
    const bool right = at.x + gap + width < low.x + size.x;
    if (!right && at.x - gap - width < low.x) return;
    ImPlot::PushPlotClipRect();
    const float y = at_bottom ? low.y + size.y - ImGui::GetFontSize() - gap : low.y + gap;
    ImPlot::GetPlotDrawList()->AddText({right ? at.x + gap : at.x - gap - width, y}, context.theme.text_dim, word.c_str());
    ImPlot::PopPlotClipRect();
}

/// A tick at the first k and at every second, fourth, … after it, so that labels of a plot so wide do not touch.
void k_ticks(double first, double last, float width) {
    int step = 1;
    while ((last - first) / step * static_cast<double>(ImGui::GetFontSize()) * 1.9 > static_cast<double>(width)) step *= 2;
    std::vector<double> ticks;
    for (double k = first; k <= last; k += step) ticks.push_back(k);
    ImPlot::SetupAxisTicks(ImAxis_X1, ticks.data(), static_cast<int>(ticks.size()));
}

void figure_plot(ViewContext& context, const SweepShown& shown, SweepFigure figure, ImVec2 size, SweepHit& hit) {
    const float unit = ImGui::GetFontSize();
    const SweepFact fact = fact_of(figure);
    const FigureCurves curves = curves_of(shown, figure);
    const std::string value = shown.row >= 0 ? sweep_text(shown.sweep.rows[static_cast<size_t>(shown.row)], figure) : "";
    const std::string title = fmt::format("{}{}{}###{}", fact.title, value.empty() ? "" : ":  ", value, static_cast<int>(figure));
    constexpr ImPlotFlags kPlain = ImPlotFlags_NoLegend | ImPlotFlags_NoMenus | ImPlotFlags_NoBoxSelect | ImPlotFlags_NoMouseText;
    if (!ImPlot::BeginPlot(title.c_str(), {-1, -1}, kPlain)) return;
    constexpr ImPlotAxisFlags kFixed = ImPlotAxisFlags_Lock | ImPlotAxisFlags_NoMenus | ImPlotAxisFlags_NoHighlight;
    const std::vector<int>& ks = shown.sweep.plan.ks;
    const double first = ks.front(), last = ks.back(), margin = std::max(0.4, 0.04 * (last - first));
    ImPlot::SetupAxes(size.y > unit * 11 ? "k" : nullptr, nullptr, kFixed, kFixed);
    ImPlot::SetupAxisLimits(ImAxis_X1, first - margin, last + margin, ImPlotCond_Always);
    ImPlot::SetupAxisLimits(ImAxis_Y1, curves.range.low, curves.range.high, ImPlotCond_Always);
    ImPlot::SetupAxisFormat(ImAxis_X1, "%g");
    if (last > first) k_ticks(first, last, size.x - unit * 4);
    if (curves.log_scale) ImPlot::SetupAxisScale(ImAxis_Y1, ImPlotScale_Log10);
    if (fact.is_share) {
        static constexpr double kTicks[] = {0, 0.25, 0.5, 0.75, 1};
        static constexpr const char* const kLabels[] = {"0 %", "25 %", "50 %", "75 %", "100 %"};
        ImPlot::SetupAxisTicks(ImAxis_Y1, kTicks, 5, kLabels);
    }
    plot_lines(context, shown, curves, unit);
    plot_points(context, shown, figure, unit);
    native_word(context, shown, curves.range, figure == SweepFigure::kTop1 || figure == SweepFigure::kSpeed || figure == SweepFigure::kBytes);
    if (ImPlot::IsPlotHovered()) {
        hit.hovered = nearest_row(shown.sweep, ImPlot::GetPlotMousePos().x);
        if (ImGui::IsMouseClicked(ImGuiMouseButton_Left)) hit.clicked = hit.hovered;
        if (hit.hovered >= 0) sweep_card(context, shown, hit.hovered);
    }
    ImPlot::EndPlot();
}

}  // namespace

void sweep_card(const ViewContext& context, const SweepShown& shown, int row) {
    const gs::PolicyScore& s = shown.sweep.rows[static_cast<size_t>(row)];
    const int k = s.policy.k;
    HoverCard card(fmt::format("k = {}{}", k, k == shown.sweep.native_k ? ", native" : ""));
    const auto pm = [](double value, double error) { return fmt::format("{:.6g} ± {:.2g}", value, error); };
    card.row("perplexity", pm(s.perplexity, s.perplexity_se()));
    card.row("to native", fmt::format("{:+.4g} % ± {:.2g} %", 100 * std::expm1(s.excess_nll), 100 * std::exp(s.excess_nll) * s.excess_nll_se));
    card.row("KL", pm(s.kl, s.kl_se) + " nats");
    card.row("same top token", fmt::format("{:.4g} % ± {:.2g} %", 100 * s.top1_agreement, 100 * s.top1_se));
    if (s.n_error_tokens > 0) card.row("output error", fmt::format("{:.6g}, mean of {} layers", s.mean_layer_error, s.layer_error.size()));
    const int m = context.selected.moe_layer;
    if (m >= 0 && m < static_cast<int>(s.layer_error.size()))
        card.row(fmt::format("in layer {}", shown.sweep.moe_layers[static_cast<size_t>(m)]).c_str(), pm(s.layer_error[static_cast<size_t>(m)], s.layer_error_se[static_cast<size_t>(m)]));
    if (s.n_timed > 0) card.row("tokens/s", fmt::format("{} ({} steps)", pm(s.tokens_per_s, s.tokens_per_s_se), s.n_timed));
    card.row("weights read", fmt::format("{} per token", format_bytes(s.bytes_per_token)));
    card.row("Σ weights", fmt::format("{:.5g}", s.mean_sum_weights));
    if (shown.ghost) {
        const int before = nearest_row(*shown.ghost, k);
        if (before >= 0 && shown.ghost->rows[static_cast<size_t>(before)].policy.k == k)
            card.row("previous", fmt::format("perplexity {:.6g}, KL {:.6g}", shown.ghost->rows[static_cast<size_t>(before)].perplexity, shown.ghost->rows[static_cast<size_t>(before)].kl));
    }
    card.note(fmt::format("{}{} tokens scored, output error over {}; computed.\n± one standard error, tokens taken as independent. Click: use this k.",
                          is_partial(shown, s) ? fmt::format("so far {} of ", s.n_scored) : "", is_partial(shown, s) ? shown.sweep.n_to_score() : s.n_scored, s.n_error_tokens));
}

SweepHit draw_sweep_curves(ViewContext& context, const SweepShown& shown, ImVec2 size) {
    SweepHit hit;
    const float unit = ImGui::GetFontSize();
    const int n = static_cast<int>(std::size(kSweepFigures)), n_columns = size.x > unit * 54 ? 3 : size.x > unit * 34 ? 2 : 1, n_rows = n / n_columns;
    if (ImGui::BeginChild("###curves", size)) {
        const ImVec2 room = ImGui::GetContentRegionAvail();
        const float height = std::max(room.y, unit * 7 * static_cast<float>(n_rows)), width = height > room.y ? room.x - ImGui::GetStyle().ScrollbarSize : room.x;
        ImPlot::PushStyleColor(ImPlotCol_FrameBg, 0);
        ImPlot::PushStyleColor(ImPlotCol_PlotBg, context.theme.track);
        ImPlot::PushStyleVar(ImPlotStyleVar_PlotPadding, ImVec2(unit * 0.3f, unit * 0.3f));
        constexpr ImPlotSubplotFlags kFlags = ImPlotSubplotFlags_NoTitle | ImPlotSubplotFlags_NoLegend | ImPlotSubplotFlags_NoMenus | ImPlotSubplotFlags_NoResize;
        if (ImPlot::BeginSubplots("###sweep_plots", n_rows, n_columns, {std::max(width, unit * 4), height}, kFlags)) {
            const ImVec2 cell = {width / static_cast<float>(n_columns), height / static_cast<float>(n_rows)};
            for (const SweepFigure figure : kSweepFigures) figure_plot(context, shown, figure, cell, hit);
            ImPlot::EndSubplots();
        }
        ImPlot::PopStyleVar();
        ImPlot::PopStyleColor(2);
    }
    ImGui::EndChild();
    return hit;
}

SweepHit draw_sweep_table(const SweepShown& shown, ImVec2 size) {
    SweepHit hit;
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_ScrollX | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingFixedFit;
    if (!ImGui::BeginTable("###sweep_table", 3 + static_cast<int>(std::size(kSweepFigures)), kFlags, size)) return hit;
    ImGui::TableSetupScrollFreeze(1, 1);
    ImGui::TableSetupColumn("k");
    for (const SweepFigure figure : kSweepFigures) {
        ImGui::TableSetupColumn(fact_of(figure).title);
        if (figure == SweepFigure::kPerplexity) ImGui::TableSetupColumn("to native");
    }
    ImGui::TableSetupColumn("tokens");
    ImGui::TableHeadersRow();
    for (int i = 0; i < static_cast<int>(shown.sweep.rows.size()); ++i) {
        const gs::PolicyScore& s = shown.sweep.rows[static_cast<size_t>(i)];
        ImGui::TableNextRow();
        ImGui::TableNextColumn();
        const std::string name = fmt::format("{}{}###row{}", s.policy.k, s.policy.k == shown.sweep.native_k ? "  native" : "", i);
        if (ImGui::Selectable(name.c_str(), i == shown.row, ImGuiSelectableFlags_SpanAllColumns)) hit.clicked = i;
        if (ImGui::IsItemHovered() || ImGui::IsItemFocused()) hit.hovered = i;
        tooltip("Use this k: the prompt runs again");
        for (const SweepFigure figure : kSweepFigures) {
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(sweep_text(s, figure).c_str());
            if (figure != SweepFigure::kPerplexity) continue;
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(fmt::format("{:+.3g} %", 100 * std::expm1(s.excess_nll)).c_str());
        }
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(is_partial(shown, s) ? fmt::format("{} of {}", s.n_scored, shown.sweep.n_to_score()).c_str() : std::to_string(s.n_scored).c_str());
    }
    ImGui::EndTable();
    return hit;
}

SweepHit draw_sweep_layers(ViewContext& context, const SweepShown& shown, ImVec2 size) {
    SweepHit hit;
    constexpr int kMostColumns = 60;                       // ImGui's tables have 512 at most, and nobody reads more
    const int n_columns = std::min(static_cast<int>(shown.sweep.rows.size()), kMostColumns);
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_ScrollX | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingFixedFit;
    if (!ImGui::BeginTable("###layer_table", n_columns + 1, kFlags, size)) return hit;
    ImGui::TableSetupScrollFreeze(1, 1);
    ImGui::TableSetupColumn("layer");
    for (int i = 0; i < n_columns; ++i) {
        const int k = shown.sweep.rows[static_cast<size_t>(i)].policy.k;
        ImGui::TableSetupColumn(fmt::format("k = {}{}", k, k == shown.sweep.native_k ? " *" : "").c_str());
    }
    ImGui::TableHeadersRow();
    ImGuiListClipper clipper;
    clipper.Begin(static_cast<int>(shown.sweep.moe_layers.size()));
    while (clipper.Step())
        for (int m = clipper.DisplayStart; m < clipper.DisplayEnd; ++m) {
            ImGui::TableNextRow();
            ImGui::TableNextColumn();
            const std::string name = fmt::format("{}###layer{}", shown.sweep.moe_layers[static_cast<size_t>(m)], m);
            if (ImGui::Selectable(name.c_str(), context.selected.moe_layer == m, ImGuiSelectableFlags_SpanAllColumns)) context.selected.moe_layer = m;
            if (ImGui::IsItemHovered()) context.hovered_next.moe_layer = m;
            for (int i = 0; i < n_columns; ++i) {
                ImGui::TableNextColumn();
                const gs::PolicyScore& s = shown.sweep.rows[static_cast<size_t>(i)];
                const bool known = m < static_cast<int>(s.layer_error.size());
                ImGui::TextUnformatted(known ? format_number(s.layer_error[static_cast<size_t>(m)]).c_str() : "–");
                if (known && ImGui::TableGetHoveredColumn() == i + 1) hit.hovered = i;
            }
        }
    ImGui::EndTable();
    return hit;
}

}  // namespace app
