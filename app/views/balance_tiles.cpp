#include "app/views/balance_tiles.h"

#include <cmath>

#include <fmt/format.h>

#include "app/widgets/hover_card.h"
#include "app/widgets/metric_tile.h"
#include "app/widgets/ui_kit.h"
#include "imgui.h"

namespace app {
namespace {

std::string tile_value(BalanceMetric metric, const LayerStats& stats) {
    const double value = value_of(metric, stats);
    if (metric == BalanceMetric::kIdle) return fmt::format("{} of {}", static_cast<int>(value), stats.load.counts.size());
    if (metric == BalanceMetric::kEffective) return fmt::format("{} of {}", format_number(value), stats.load.counts.size());
    return format_number(value);
}

/// A thousandth of an idle expert is none.
std::string null_text(BalanceMetric metric, const LayerStats& stats) {
    const double null = null_of(metric, stats);
    return metric == BalanceMetric::kIdle && null < 0.005 ? "0" : format_number(null);
}

}  // namespace

void draw_balance_tiles(const LayerStats& stats, gs::Provenance provenance) {
    const int n = static_cast<int>(std::size(kBalanceMetrics)), per_row = metric_tiles_per_row(ImGui::GetContentRegionAvail().x, n);
    const float gap = ImGui::GetStyle().ItemSpacing.x;
    const float width = std::floor((ImGui::GetContentRegionAvail().x - gap * static_cast<float>(per_row - 1)) / static_cast<float>(per_row));
    for (int i = 0; i < n; ++i) {
        const BalanceMetric metric = kBalanceMetrics[i];
        const MetricFact fact = fact_of(metric);
        const std::string null = "uniform " + null_text(metric, stats);
        if (i % per_row != 0) ImGui::SameLine();
        if (!metric_tile(fmt::format("tile{}", i).c_str(), {fact.name, tile_value(metric, stats), null}, {width, metric_tile_height()})) continue;
        HoverCard card(fact.name);
        card.row("value", fmt::format("{:.6g}", value_of(metric, stats)));
        card.row("formula", fact.formula);
        card.row("range", fact.range);
        card.row("T", fmt::format("{} tokens, {} assignments", stats.load.n_tokens, stats.load.n_assignments));
        card.row("uniform router", fmt::format("about {} for this T, k and E", null_text(metric, stats)));
        card.note(gs::name_of(provenance));
    }
}

}  // namespace app
