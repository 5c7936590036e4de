// Utilization histograms: the selected layer large with its balance metrics, all MoE layers as small multiples on one scale.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/chart_tables.h"
#include "app/views/histogram_panel_layout.h"
#include "app/views/layer_stats.h"
#include "app/views/load_ghost.h"
#include "app/views/pick_card.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/bars.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/metric_tile.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class HistogramPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    /// One layer's bars in the order on screen.
    struct Chart {
        std::vector<float> shares;
        std::vector<int> experts;          ///< of each slot
        std::vector<ImU32> colors;
        std::vector<float> ghosts;         ///< shares before; empty: none
    };
    void refresh(ViewContext& context);
    void toolbar(ViewContext& context, int& moe_layer);
    void tiles(ViewContext& context, int moe_layer);
    void large(ViewContext& context, int moe_layer, ImVec2 size);
    void multiples(ViewContext& context, int moe_layer, ImVec2 size);
    void cell(ViewContext& context, int moe_layer, bool selected, ImVec2 size);
    BarsInput bars_of(const ViewContext& context, int moe_layer, double high) const;
    int slot_of(int moe_layer, int expert) const;
    /// Highest share that the small charts show.
    double scale_of_all(const ViewContext& context) const { return std::max(m_stats.max_share(), context.settings.ghosts ? m_ghost.max_share() : 0.0); }
    void expert_card(const ViewContext& context, int moe_layer, int expert) const;
    void pick(ViewContext& context, int moe_layer, const BarsHit& hit);

    RunStats m_stats;
    LoadGhost m_ghost;
    std::vector<Chart> m_charts;
    uint64_t m_drawn_revision = 0, m_drawn_ghost = 0;
    ImU32 m_drawn_accent = 0;
    bool m_by_load = false, m_drawn_by_load = false, m_as_table = false;
};

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

void HistogramPanel::refresh(ViewContext& context) {
    m_stats.update(context.what_if.trace(), context.settings.phase);
    m_ghost.update(context);
    const uint64_t ghost = context.settings.ghosts ? m_ghost.revision() : 0;
    if (m_drawn_revision == m_stats.revision() && m_drawn_ghost == ghost && m_drawn_by_load == m_by_load && m_drawn_accent == context.theme.accent) return;
    m_drawn_revision = m_stats.revision();
    m_drawn_ghost = ghost;
    m_drawn_by_load = m_by_load;
    m_drawn_accent = context.theme.accent;
    m_charts.assign(static_cast<size_t>(m_stats.n_layers()), {});
    for (int m = 0; m < m_stats.n_layers(); ++m) {
        const LayerStats& stats = m_stats.layer(m);
        Chart& chart = m_charts[static_cast<size_t>(m)];
        chart.experts.resize(stats.load.counts.size());
        for (size_t e = 0; e < chart.experts.size(); ++e) chart.experts[e] = static_cast<int>(e);
        if (m_by_load) chart.experts = order_by_load(stats.load);
        for (int expert : chart.experts) {
            const double share = stats.share(expert);
            chart.shares.push_back(static_cast<float>(share));
            chart.colors.push_back(bar_color(context.theme, stats, share));
        }
        if (ghost) chart.ghosts = m_ghost.shares(m, chart.experts);
    }
}

int HistogramPanel::slot_of(int moe_layer, int expert) const {
    const std::vector<int>& experts = m_charts[static_cast<size_t>(moe_layer)].experts;
    const auto found = std::find(experts.begin(), experts.end(), expert);
    return found == experts.end() ? -1 : static_cast<int>(found - experts.begin());
}

BarsInput HistogramPanel::bars_of(const ViewContext& context, int moe_layer, double high) const {
    const Chart& chart = m_charts[static_cast<size_t>(moe_layer)];
    const LayerStats& stats = m_stats.layer(moe_layer);
    const Theme& theme = context.theme;
    BarsInput input;
    input.values = chart.shares;
    input.colors = chart.colors;
    input.ghosts = chart.ghosts;
    input.ghost_color = with_alpha(theme.text, 0.45f);
    input.high = high;
    input.line = static_cast<float>(stats.null.share);
    input.band_low = static_cast<float>(stats.null.band_low);
    input.band_high = static_cast<float>(stats.null.band_high);
    input.line_color = theme.text_dim;
    input.band_color = with_alpha(theme.text_dim, 0.2f);
    input.selection_color = theme.selection;
    input.hover_color = theme.hover;
    if (context.selected.moe_layer == moe_layer) input.selected = slot_of(moe_layer, context.selected.expert);
    if (context.hovered.moe_layer == moe_layer) input.hovered = slot_of(moe_layer, context.hovered.expert);
    return input;
}

void HistogramPanel::expert_card(const ViewContext& context, int moe_layer, int expert) const {
    const LayerStats& stats = m_stats.layer(moe_layer);
    const gs::TraceInfo& info = context.what_if.trace().info();
    const auto count = stats.load.counts[static_cast<size_t>(expert)];
    static constexpr const char* kPhases[] = {"prefill and decode", "prefill", "decode"};
    HoverCard card(fmt::format("layer {} · expert {}", model_layer(info, moe_layer), expert));
    card.row("tokens", fmt::format("{} of {}  ({})", count, stats.load.n_tokens, format_percent(stats.share(expert))));
    if (stats.load.n_assignments > 0) {
        const double part = static_cast<double>(count) / static_cast<double>(stats.load.n_assignments);
        card.row("of assignments", fmt::format("{} of {}", format_percent(part), stats.load.n_assignments));
    }
    if (const std::vector<float> before = m_ghost.shares(moe_layer, {expert}); !before.empty())
        card.row("before", fmt::format("{} ({})", format_percent(static_cast<double>(before.front())), m_ghost.name()));
    card.row("rank by load", fmt::format("{} of {}", stats.rank(expert), stats.load.counts.size()));
    card.row("uniform", format_percent(stats.null.share));
    card.row("95 % of chance", fmt::format("{} to {}", format_percent(stats.null.band_low), format_percent(stats.null.band_high)));
    card.row("phase", kPhases[static_cast<size_t>(context.settings.phase)]);
    card.note(gs::name_of(info.provenance));
}

void HistogramPanel::pick(ViewContext& context, int moe_layer, const BarsHit& hit) {
    if (!hit.hovered && !hit.clicked) return;
    const int expert = hit.slot < 0 ? -1 : m_charts[static_cast<size_t>(moe_layer)].experts[static_cast<size_t>(hit.slot)];
    context.hovered_next.moe_layer = moe_layer;
    context.hovered_next.expert = expert;
    if (hit.hovered && expert >= 0) expert_card(context, moe_layer, expert);
    if (!hit.clicked) return;
    context.selected.moe_layer = moe_layer;
    if (expert >= 0) context.selected.expert = expert;
}

void HistogramPanel::toolbar(ViewContext& context, int& moe_layer) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    if (layer_stepper("layer", info, moe_layer)) context.selected.moe_layer = moe_layer;
    same_line_if_fits(phase_buttons_width());
    phase_buttons(context);
    static constexpr const char* kOrders[] = {"by expert", "by load"};
    static constexpr const char* kExplained[] = {"Experts in their own order", "Most loaded first, each layer in its own order"};
    same_line_if_fits(button_width("by expert") + button_width("by load") + 1);
    int order = m_by_load ? 1 : 0;
    if (segmented("order", kOrders, order, kExplained)) m_by_load = order == 1;
    same_line_if_fits(button_width("Table"));
    table_button(m_as_table);
    if (m_ghost.ready()) {
        const std::string name = fit_text(m_ghost.name(), ImGui::GetFontSize() * 14);
        same_line_if_fits(button_width(name.c_str()) + ImGui::GetFrameHeight());
        ImGui::Checkbox((name + "###ghosts").c_str(), &context.settings.ghosts);
        tooltip(("Thin outlines: the load before. " + m_ghost.name()).c_str());
    }
    badge_on_line(context, info.provenance);
}

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

void HistogramPanel::tiles(ViewContext& context, int moe_layer) {
    const LayerStats& stats = m_stats.layer(moe_layer);
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
        card.note(gs::name_of(context.what_if.trace().info().provenance));
    }
}

void HistogramPanel::large(ViewContext& context, int moe_layer, ImVec2 size) {
    const LayerStats& stats = m_stats.layer(moe_layer);
    const Chart& chart = m_charts[static_cast<size_t>(moe_layer)];
    const float unit = ImGui::GetFontSize(), below = unit * 1.3f;
    float most = chart.shares.empty() ? 0 : *std::max_element(chart.shares.begin(), chart.shares.end());
    if (!chart.ghosts.empty()) most = std::max(most, *std::max_element(chart.ghosts.begin(), chart.ghosts.end()));
    ValueAxis axis;
    axis.high = std::min(1.0, round_up_axis(std::max<double>(most, stats.null.band_high)));
    axis.percent = true;
    axis.text = context.theme.text_dim;
    axis.grid = context.theme.grid;
    const float left = value_axis_width(axis.high, size.y - below, true);
    const ImVec2 at = ImGui::GetCursorScreenPos();
    axis.low_px = {at.x + left, at.y + unit * 0.5f};
    axis.high_px = {at.x + size.x, at.y + size.y - below};
    ImDrawList* draw = ImGui::GetWindowDrawList();
    draw_value_axis(draw, axis);
    draw_slot_labels(draw, axis, static_cast<int>(chart.experts.size()), [&](int slot) { return std::to_string(chart.experts[static_cast<size_t>(slot)]); });
    ImGui::SetCursorScreenPos(axis.low_px);
    const BarsHit hit = bars("large", bars_of(context, moe_layer, axis.high), {axis.high_px.x - axis.low_px.x, axis.high_px.y - axis.low_px.y});
    // An idle expert has no bar: a hollow mark says that it was looked at and found at zero.
    const float pitch = (axis.high_px.x - axis.low_px.x) / static_cast<float>(std::max<size_t>(1, chart.shares.size())), mark = std::min(unit * 0.3f, pitch * 0.4f);
    for (size_t slot = 0; slot < chart.shares.size() && pitch >= 3; ++slot) {
        if (chart.shares[slot] > 0) continue;
        const float x = axis.low_px.x + pitch * (static_cast<float>(slot) + 0.5f);
        draw->AddCircle({x, axis.high_px.y - mark - 2}, mark, context.theme.warning, 8, std::max(1.0f, unit / 12));
    }
    pick(context, moe_layer, hit);
    ImGui::SetCursorScreenPos(at);
    ImGui::Dummy(size);
}

void HistogramPanel::cell(ViewContext& context, int moe_layer, bool selected, ImVec2 size) {
    const ImVec2 at = ImGui::GetCursorScreenPos();
    const float unit = ImGui::GetFontSize(), title = unit * 1.1f, pad = std::round(unit * 0.2f);
    ImGui::PushID(moe_layer);
    const bool clicked = ImGui::InvisibleButton("cell", size), hovered = ImGui::IsItemHovered();
    ImGui::PopID();
    if (!ImGui::IsItemVisible()) return;
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const Theme& theme = context.theme;
    const bool lit = hovered || context.hovered.moe_layer == moe_layer;
    draw->AddRectFilled(at, {at.x + size.x, at.y + size.y}, theme.track, unit * 0.2f);
    if (lit || selected) draw->AddRect(at, {at.x + size.x, at.y + size.y}, selected ? theme.selection : theme.hover, unit * 0.2f, selected ? 2.0f : 1.0f);
    const std::string name = fmt::format("layer {}", model_layer(context.what_if.trace().info(), moe_layer));
    // Widths of the widest texts, so that all cells of a grid show the same.
    const float name_width = ImGui::CalcTextSize("layer 88").x, entropy_width = ImGui::CalcTextSize("H 0.888").x;
    draw->AddText({at.x + pad * 2, at.y}, selected ? theme.text : theme.text_dim, name_width + 4 * pad < size.x ? name.c_str() : name.c_str() + 6);
    const LayerStats& stats = m_stats.layer(moe_layer);
    const std::string entropy = fmt::format("H {:.3f}", stats.balance.entropy);
    if (name_width + entropy_width + 7 * pad < size.x) draw->AddText({at.x + size.x - entropy_width - 2 * pad, at.y}, theme.text_dim, entropy.c_str());
    const ImVec2 low{at.x + 2 * pad, at.y + title}, high{at.x + size.x - 2 * pad, at.y + size.y - pad};
    draw_bars(draw, bars_of(context, moe_layer, scale_of_all(context)), low, high);
    BarsHit hit;
    hit.hovered = hovered;
    hit.clicked = clicked;
    if (hovered || clicked) hit.slot = slot_at(ImGui::GetIO().MousePos.x, low.x, high.x, static_cast<int>(stats.load.counts.size()));
    pick(context, moe_layer, hit);
}

void HistogramPanel::multiples(ViewContext& context, int moe_layer, ImVec2 size) {
    const float unit = ImGui::GetFontSize(), gap = std::round(unit * 0.3f);
    if (!ImGui::BeginChild("multiples", size)) {
        ImGui::EndChild();
        return;
    }
    const int n = m_stats.n_layers();
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const CellGrid grid = place_cells(n, room.x, room.y, unit * 5.2f, unit * 3.4f, gap);
    const ImVec2 start = ImGui::GetCursorScreenPos();
    for (int m = 0; m < n; ++m) {
        const auto column = static_cast<float>(m % grid.n_columns), row = static_cast<float>(m / grid.n_columns);
        ImGui::SetCursorScreenPos({std::floor(start.x + column * (grid.cell_width + gap)), std::floor(start.y + row * (grid.cell_height + gap))});
        cell(context, m, m == moe_layer, {std::floor(grid.cell_width), std::floor(grid.cell_height)});
    }
    ImGui::EndChild();
}

void HistogramPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace)) return;
    refresh(context);
    int moe_layer = effective_pick(trace, context.selected).moe_layer;
    toolbar(context, moe_layer);
    const LayerStats& stats = m_stats.layer(moe_layer);
    if (stats.load.n_tokens == 0) {
        empty_state("No tokens in this phase", "The run has none yet. Choose another phase above, or wait for the first generated token.", nullptr);
        return;
    }
    if (m_as_table) {
        const int expert = table_view("table", load_table(stats, context.selected.moe_layer == moe_layer ? context.selected.expert : -1), ImGui::GetContentRegionAvail());
        if (expert >= 0) context.selected.moe_layer = moe_layer, context.selected.expert = expert;
        return;
    }
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x;
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const bool wide = room.x > 46 * unit && room.x > 1.5f * room.y;
    const float left = wide ? std::floor(room.x * 0.5f) : room.x;
    if (wide) tiles(context, moe_layer);                   // all six in one row: low panels keep room for the charts
    ImGui::BeginChild("one", {left, wide ? 0 : std::max(17 * unit, room.y * 0.56f)});
    if (!wide) tiles(context, moe_layer);
    caption(fmt::format("Share of {} tokens that used the expert. Dashed: uniform, {}. Grey band: 95 % of chance at this T; bars inside are muted.", stats.load.n_tokens,
                        format_percent(stats.null.share)));
    large(context, moe_layer, {ImGui::GetContentRegionAvail().x, std::max(7 * unit, ImGui::GetContentRegionAvail().y)});
    ImGui::EndChild();
    if (wide) ImGui::SameLine(0, gap * 2);
    ImGui::BeginChild("all", {0, wide ? 0 : std::max(9 * unit, ImGui::GetContentRegionAvail().y)});
    caption(fmt::format("Every MoE layer on one scale, 0 to {}. H: entropy, 1 = even.", format_percent(scale_of_all(context))));
    multiples(context, moe_layer, {0, 0});
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_histogram_view() { return std::make_unique<HistogramPanel>(); }

}  // namespace app
