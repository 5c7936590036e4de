#include "app/views/histogram_panel_charts.h"

#include <algorithm>

#include "app/widgets/ui_kit.h"

namespace app {
namespace {

/// From a to b; opaque, so that what lies behind does not change it.
ImU32 mix(ImU32 a, ImU32 b, float share_of_b) {
    const ImVec4 from = ImGui::ColorConvertU32ToFloat4(a), to = ImGui::ColorConvertU32ToFloat4(b);
    const auto at = [&](float x, float y) { return x + (y - x) * share_of_b; };
    return ImGui::ColorConvertFloat4ToU32({at(from.x, to.x), at(from.y, to.y), at(from.z, to.z), 1});
}

/// Muted inside the band of a uniform router, full colour outside: what stands out is more than sampling noise.
ImU32 bar_color(const Theme& theme, const LayerStats& stats, double share) {
    const bool noise = share >= stats.null.band_low && share <= stats.null.band_high;
    return noise ? mix(theme.accent, theme.track, 0.55f) : theme.accent;
}

}  // namespace

float LoadChart::most() const {
    float most = 0;
    for (const std::vector<float>* values : {&shares, &ghosts})
        if (!values->empty()) most = std::max(most, *std::max_element(values->begin(), values->end()));
    return most;
}

int LoadChart::slot_of(int expert) const {
    const auto found = std::find(experts.begin(), experts.end(), expert);
    return found == experts.end() ? -1 : static_cast<int>(found - experts.begin());
}

double LoadCharts::most_of_all(const ViewContext& context) const { return std::max(m_stats.max_share(), context.settings.ghosts ? m_ghost.max_share() : 0.0); }

void LoadCharts::update(ViewContext& context, bool by_load) {
    m_stats.update(context.what_if.trace(), context.settings.phase);
    m_ghost.update(context);
    const uint64_t ghost = context.settings.ghosts ? m_ghost.revision() : 0;
    if (m_drawn_revision == m_stats.revision() && m_drawn_ghost == ghost && m_drawn_by_load == by_load && m_drawn_accent == context.theme.accent) return;
    m_drawn_revision = m_stats.revision();
    m_drawn_ghost = ghost;
    m_drawn_by_load = by_load;
    m_drawn_accent = context.theme.accent;
    m_charts.assign(static_cast<size_t>(m_stats.n_layers()), {});
    for (int m = 0; m < m_stats.n_layers(); ++m) {
        const LayerStats& stats = m_stats.layer(m);
        LoadChart& chart = m_charts[static_cast<size_t>(m)];
        chart.experts.resize(stats.load.counts.size());
        for (size_t e = 0; e < chart.experts.size(); ++e) chart.experts[e] = static_cast<int>(e);
        if (by_load) chart.experts = order_by_load(stats.load);
        for (int expert : chart.experts) {
            const double share = stats.share(expert);
            chart.shares.push_back(static_cast<float>(share));
            chart.colors.push_back(bar_color(context.theme, stats, share));
        }
        if (ghost) chart.ghosts = m_ghost.shares(m, chart.experts);
    }
}

BarsInput LoadCharts::bars(const ViewContext& context, int moe_layer, double high) const {
    const LoadChart& shown = chart(moe_layer);
    const LayerStats& stats = m_stats.layer(moe_layer);
    const Theme& theme = context.theme;
    BarsInput input;
    input.values = shown.shares;
    input.colors = shown.colors;
    input.ghosts = shown.ghosts;
    input.ghost_color = with_alpha(theme.text, 0.45f);
    input.high = high;
    input.line = static_cast<float>(stats.null.share);
    input.band_low = static_cast<float>(stats.null.band_low);
    input.band_high = static_cast<float>(stats.null.band_high);
    input.line_color = theme.text_dim;
    input.band_color = with_alpha(theme.text_dim, 0.2f);
    input.selection_color = theme.selection;
    input.hover_color = theme.hover;
    if (context.selected.moe_layer == moe_layer) input.selected = shown.slot_of(context.selected.expert);
    if (context.hovered.moe_layer == moe_layer) input.hovered = shown.slot_of(context.hovered.expert);
    return input;
}

}  // namespace app
