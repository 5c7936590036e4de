#include "app/views/gates_panel_curve.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/plot_style.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"
#include "app/widgets/value_axis.h"
#include "implot.h"

namespace app {
namespace {

/// Errors may be infinite (‖y‖ = 0): those points do not stretch the axis.
double highest_finite(const std::vector<double>& values) {
    double most = 0;
    for (double v : values) most = std::isfinite(v) ? std::max(most, v) : most;
    return most;
}

void plot(const char* name, const std::vector<double>& k, const std::vector<double>& values, const ImPlotSpec& spec) {
    ImPlot::PlotLine(name, k.data(), values.data(), static_cast<int>(std::min(k.size(), values.size())), spec);
}

void curve_card(const GateData& data) {
    const GateCurve& curve = data.curve;
    const int k = std::clamp(static_cast<int>(std::lround(ImPlot::GetPlotMousePos().x)), 1, static_cast<int>(curve.k.size()));
    const auto at = static_cast<size_t>(k - 1);
    HoverCard card(fmt::format("top-{} of {}{}", k, curve.k.size(), k == data.native_k ? ", as trained" : ""));
    card.row("preference kept", format_percent(curve.kept[at]));
    if (!curve.has_errors()) {
        card.note("Output errors need the model.");
        return;
    }
    card.row("error vs soft", fmt::format("{:.6g}", curve.error_vs_soft[at]));
    card.row("cosine to soft", fmt::format("{:.6g}", curve.cosine_vs_soft[at]));
    card.row("error vs native", fmt::format("{:.6g}", curve.error_vs_native[at]));
    card.row("Σ weights", fmt::format("{:.6g}", curve.sum[at]));
    card.note("error: ‖y − y_ref‖ / ‖y_ref‖ of the routed sum y");
}

void plot_lines(const ViewContext& context, const GateData& data, const GateCurve* ghost, float unit) {
    const GateCurve& curve = data.curve;
    const float weight = std::max(1.0f, unit / 8), marker = curve.k.size() <= 40 ? unit / 5 : 0;
    const ImU32 second = pinned_color(0);
    const double native = data.native_k;
    ImPlot::PlotInfLines("k as trained", &native, 1, plot_style(context.theme.text_dim, weight));
    if (!curve.has_errors() && ghost) {
        plot("vs soft, before###ghost0", ghost->k, ghost->error_vs_soft, plot_style(with_alpha(context.theme.accent, 0.35f), weight));
        plot("vs native, before###ghost1", ghost->k, ghost->error_vs_native, plot_style(with_alpha(second, 0.35f), weight));
    } else if (curve.has_errors()) {
        plot("vs soft", curve.k, curve.error_vs_soft, plot_style(context.theme.accent, weight, marker > 0 ? ImPlotMarker_Circle : ImPlotMarker_None, marker));
        plot("vs native", curve.k, curve.error_vs_native, plot_style(second, weight, marker > 0 ? ImPlotMarker_Square : ImPlotMarker_None, marker));
    } else {
        plot("preference kept", curve.k, curve.kept, plot_style(context.theme.accent, weight, marker > 0 ? ImPlotMarker_Circle : ImPlotMarker_None, marker));
    }
}

}  // namespace

void draw_gate_curve(const ViewContext& context, const GateData& data, const GateCurve* ghost, ImVec2 size) {
    const float unit = ImGui::GetFontSize();
    const GateCurve* shown = data.curve.has_errors() ? &data.curve : ghost;
    const bool errors = shown != nullptr;
    double high = 1;
    if (errors) high = round_up_axis(1.02 * std::max(highest_finite(shown->error_vs_soft), highest_finite(shown->error_vs_native)));
    const auto n = static_cast<double>(data.curve.k.size());
    constexpr ImPlotFlags kPlain = ImPlotFlags_NoTitle | ImPlotFlags_NoMenus | ImPlotFlags_NoBoxSelect | ImPlotFlags_NoMouseText;
    // Transparent, so that the plot stands on the panel's own background in every theme.
    ImPlot::PushStyleColor(ImPlotCol_FrameBg, 0);
    ImPlot::PushStyleColor(ImPlotCol_PlotBg, context.theme.track);
    if (ImPlot::BeginPlot("###gate_curve", size, kPlain)) {
        constexpr ImPlotAxisFlags kFixed = ImPlotAxisFlags_Lock | ImPlotAxisFlags_NoMenus | ImPlotAxisFlags_NoHighlight;
        ImPlot::SetupAxes("k", errors ? "error of the output" : "preference kept", kFixed, kFixed);
        ImPlot::SetupAxisLimits(ImAxis_X1, n > 1 ? 0.5 : 0, n + 0.5, ImPlotCond_Always);
        ImPlot::SetupAxisLimits(ImAxis_Y1, 0, high * 1.02, ImPlotCond_Always);
        ImPlot::SetupAxisFormat(ImAxis_X1, "%g");
        if (n <= 8) ImPlot::SetupAxisTicks(ImAxis_X1, 1, n, static_cast<int>(n));
        ImPlot::SetupLegend(ImPlotLocation_North, ImPlotLegendFlags_NoMenus | ImPlotLegendFlags_NoButtons | ImPlotLegendFlags_Outside | ImPlotLegendFlags_Horizontal);
        plot_lines(context, data, ghost, unit);
        if (ImPlot::IsPlotHovered()) curve_card(data);
        ImPlot::EndPlot();
    }
    ImPlot::PopStyleColor(2);
}

}  // namespace app
