#include "app/views/layer_plot.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/plot_style.h"
#include "app/widgets/table_view.h"
#include "app/widgets/ui_kit.h"
#include "implot.h"

namespace app {
namespace {

void draw_layer_line(const char* id, double layer, ImU32 color, float weight) {
    ImPlot::PlotInfLines(id, &layer, 1, plot_style(color, weight));
}

double highest(std::span<const LayerCurve> curves) {
    double high = 0;
    for (const LayerCurve& c : curves)
        for (const std::vector<double>* values : {&c.values, &c.high})
            for (const double v : *values)
                if (std::isfinite(v)) high = std::max(high, v);
    return high > 0 ? high : 1;
}

}  // namespace

LayerPlotHit draw_layer_plot(const char* id, const ViewContext& context, const LayerPlotInput& input, ImVec2 size) {
    LayerPlotHit hit;
    if (input.layers.empty()) return hit;
    const std::vector<double> x(input.layers.begin(), input.layers.end());
    const float unit = ImGui::GetFontSize(), weight = std::max(1.5f, unit / 8);
    constexpr ImPlotFlags kPlain = ImPlotFlags_NoTitle | ImPlotFlags_NoMenus | ImPlotFlags_NoBoxSelect | ImPlotFlags_NoMouseText;
    ImPlot::PushStyleColor(ImPlotCol_FrameBg, 0);
    ImPlot::PushStyleColor(ImPlotCol_PlotBg, context.theme.track);
    if (ImPlot::BeginPlot(id, size, kPlain)) {
        constexpr ImPlotAxisFlags kFixed = ImPlotAxisFlags_Lock | ImPlotAxisFlags_NoMenus | ImPlotAxisFlags_NoHighlight;
        ImPlot::SetupAxes("layer", input.y_title, kFixed, kFixed);
        ImPlot::SetupAxisLimits(ImAxis_X1, x.front() - 0.5, x.back() + 0.5, ImPlotCond_Always);
        ImPlot::SetupAxisLimits(ImAxis_Y1, 0, highest(input.curves) * 1.35, ImPlotCond_Always);   // room for the legend above the curves
        ImPlot::SetupLegend(ImPlotLocation_NorthEast, ImPlotLegendFlags_NoMenus | ImPlotLegendFlags_NoButtons);
        const auto line_at = [&](int moe_layer, const char* name, ImU32 color, float thick) {
            if (moe_layer >= 0 && moe_layer < static_cast<int>(x.size())) draw_layer_line(name, x[static_cast<size_t>(moe_layer)], color, thick);
        };
        line_at(input.selected, "##selected", context.theme.selection, weight);
        line_at(input.hovered, "##hovered", context.theme.hover, 1);
        for (const LayerCurve& c : input.curves) {
            const int n = static_cast<int>(c.values.size());
            if (!c.low.empty()) {
                ImPlotSpec band = plot_style(c.color, 0);
                band.FillAlpha = 0.45f;
                ImPlot::PlotShaded(("##band" + c.name).c_str(), x.data(), c.low.data(), c.high.data(), n, band);
            }
            ImPlotSpec line = plot_style(c.color, weight);
            if (n == 1) line.Marker = ImPlotMarker_Circle;   // one layer is no line
            ImPlot::PlotLine(c.name.c_str(), x.data(), c.values.data(), n, line);
        }
        if (ImPlot::IsPlotHovered()) {
            const double at = ImPlot::GetPlotMousePos().x;
            const auto nearest = std::min_element(x.begin(), x.end(), [&](double a, double b) { return std::abs(a - at) < std::abs(b - at); });
            hit.hovered = static_cast<int>(nearest - x.begin());
            if (ImGui::IsMouseClicked(ImGuiMouseButton_Left)) hit.clicked = hit.hovered;
        }
        ImPlot::EndPlot();
    }
    ImPlot::PopStyleColor(2);
    return hit;
}

LayerPlotHit draw_layer_table(const char* id, const LayerPlotInput& input, ImVec2 size) {
    struct Column {
        const LayerCurve* curve;
        bool is_band;
    };
    std::vector<Column> columns;
    for (const LayerCurve& curve : input.curves) {
        columns.push_back({&curve, false});
        if (!curve.low.empty()) columns.push_back({&curve, true});
    }
    TableInput table{.n_rows = static_cast<int>(input.layers.size()), .n_columns = 1 + static_cast<int>(columns.size()), .selected = input.selected};
    table.title = [&](int column) {
        if (column == 0) return std::string("layer");
        const Column& c = columns[static_cast<size_t>(column - 1)];
        return c.is_band ? std::string("chance") : fmt::format("{} ({})", c.curve->name, input.y_title);
    };
    table.text = [&](int row, int column) {
        const auto r = static_cast<size_t>(row);
        if (column == 0) return std::to_string(input.layers[r]);
        const Column& c = columns[static_cast<size_t>(column - 1)];
        return c.is_band ? fmt::format("{} to {}", format_number(c.curve->low[r]), format_number(c.curve->high[r])) : format_number(c.curve->values[r]);
    };
    return {.clicked = table_view(id, table, size)};
}

}  // namespace app
