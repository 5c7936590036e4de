// Utilization histograms: the selected layer large with its balance metrics, all MoE layers as small multiples on one scale.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/balance_tiles.h"
#include "app/views/chart_tables.h"
#include "app/views/expert_menu.h"
#include "app/views/histogram_panel_charts.h"
#include "app/views/histogram_panel_layout.h"
#include "app/views/pick_card.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class HistogramPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void toolbar(ViewContext& context, int& moe_layer);
    void large(ViewContext& context, int moe_layer, ImVec2 size);
    void multiples(ViewContext& context, int moe_layer, ImVec2 size);
    void cell(ViewContext& context, int moe_layer, bool selected, ImVec2 size);
    void expert_card(const ViewContext& context, int moe_layer, int expert) const;
    void pick(ViewContext& context, int moe_layer, const BarsHit& hit);

    LoadCharts m_charts;
    ExpertMenu m_menu;
    bool m_by_load = false, m_as_table = false;
};

void HistogramPanel::expert_card(const ViewContext& context, int moe_layer, int expert) const {
    const LayerStats& stats = m_charts.stats().layer(moe_layer);
    const gs::TraceInfo& info = context.what_if.trace().info();
    const auto count = stats.load.counts[static_cast<size_t>(expert)];
    static constexpr const char* kPhases[] = {"prefill and decode", "prefill", "decode"};
    HoverCard card(fmt::format("layer {} · expert {}", model_layer(info, moe_layer), expert));
    card.row("tokens", fmt::format("{} of {}  ({})", count, stats.load.n_tokens, format_percent(stats.share(expert))));
    if (stats.load.n_assignments > 0) {
        const double part = static_cast<double>(count) / static_cast<double>(stats.load.n_assignments);
        card.row("of assignments", fmt::format("{} of {}", format_percent(part), stats.load.n_assignments));
    }
    if (const std::vector<float> before = m_charts.ghost().shares(moe_layer, {expert}); !before.empty())
        card.row("before", fmt::format("{} ({})", format_percent(static_cast<double>(before.front())), m_charts.ghost().name()));
    card.row("rank by load", fmt::format("{} of {}", stats.rank(expert), stats.load.counts.size()));
    card.row("uniform", format_percent(stats.null.share));
    card.row("95 % of chance", fmt::format("{} to {}", format_percent(stats.null.band_low), format_percent(stats.null.band_high)));
    card.row("phase", kPhases[static_cast<size_t>(context.settings.phase)]);
    card.note(gs::name_of(info.provenance));
    card.note(kExpertMenuHint);
}

void HistogramPanel::pick(ViewContext& context, int moe_layer, const BarsHit& hit) {
    if (!hit.hovered && !hit.clicked) return;
    const int expert = hit.slot < 0 ? -1 : m_charts.chart(moe_layer).experts[static_cast<size_t>(hit.slot)];
    context.hovered_next.moe_layer = moe_layer;
    context.hovered_next.expert = expert;
    if (hit.hovered && expert >= 0) expert_card(context, moe_layer, expert);
    if (hit.context_menu && expert >= 0) m_menu.open({-1, moe_layer, expert});
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
    if (m_charts.ghost().ready()) {
        const std::string name = fit_text(m_charts.ghost().name(), ImGui::GetFontSize() * 14);
        same_line_if_fits(button_width(name.c_str()) + ImGui::GetFrameHeight());
        ImGui::Checkbox((name + "###ghosts").c_str(), &context.settings.ghosts);
        tooltip(("Thin outlines: the load before. " + m_charts.ghost().name()).c_str());
    }
    badge_on_line(context, info.provenance);
}

void HistogramPanel::large(ViewContext& context, int moe_layer, ImVec2 size) {
    const LayerStats& stats = m_charts.stats().layer(moe_layer);
    const LoadChart& chart = m_charts.chart(moe_layer);
    const float unit = ImGui::GetFontSize(), below = unit * 1.3f;
    ValueAxis axis;
    axis.high = std::min(1.0, round_up_axis(std::max<double>(chart.most(), stats.null.band_high)));
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
    const BarsHit hit = bars("large", m_charts.bars(context, moe_layer, axis.high), {axis.high_px.x - axis.low_px.x, axis.high_px.y - axis.low_px.y});
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
    const LayerStats& stats = m_charts.stats().layer(moe_layer);
    const std::string entropy = fmt::format("H {:.3f}", stats.balance.entropy);
    if (name_width + entropy_width + 7 * pad < size.x) draw->AddText({at.x + size.x - entropy_width - 2 * pad, at.y}, theme.text_dim, entropy.c_str());
    const ImVec2 low{at.x + 2 * pad, at.y + title}, high{at.x + size.x - 2 * pad, at.y + size.y - pad};
    draw_bars(draw, m_charts.bars(context, moe_layer, m_charts.most_of_all(context)), low, high);
    BarsHit hit;
    hit.hovered = hovered;
    hit.clicked = clicked;
    hit.context_menu = hovered && ImGui::IsMouseClicked(ImGuiMouseButton_Right);
    if (hovered || clicked) hit.slot = slot_at(ImGui::GetIO().MousePos.x, low.x, high.x, static_cast<int>(stats.load.counts.size()));
    pick(context, moe_layer, hit);
}

void HistogramPanel::multiples(ViewContext& context, int moe_layer, ImVec2 size) {
    const float unit = ImGui::GetFontSize(), gap = std::round(unit * 0.3f);
    if (!ImGui::BeginChild("multiples", size)) {
        ImGui::EndChild();
        return;
    }
    const int n = m_charts.stats().n_layers();
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
    m_charts.update(context, m_by_load);
    m_menu.draw(context);
    int moe_layer = effective_pick(trace, context.selected).moe_layer;
    toolbar(context, moe_layer);
    const LayerStats& stats = m_charts.stats().layer(moe_layer);
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
    if (wide) draw_balance_tiles(stats, trace.info().provenance);   // all six in one row: low panels keep room for the charts
    ImGui::BeginChild("one", {left, wide ? 0 : std::max(17 * unit, room.y * 0.56f)});
    if (!wide) draw_balance_tiles(stats, trace.info().provenance);
    caption(fmt::format("Share of {} tokens that used the expert. Dashed: uniform, {}. Grey band: 95 % of chance at this T; bars inside are muted.", stats.load.n_tokens,
                        format_percent(stats.null.share)));
    large(context, moe_layer, {ImGui::GetContentRegionAvail().x, std::max(7 * unit, ImGui::GetContentRegionAvail().y)});
    ImGui::EndChild();
    if (wide) ImGui::SameLine(0, gap * 2);
    ImGui::BeginChild("all", {0, wide ? 0 : std::max(9 * unit, ImGui::GetContentRegionAvail().y)});
    caption(fmt::format("Every MoE layer on one scale, 0 to {}. H: entropy, 1 = even.", format_percent(m_charts.most_of_all(context))));
    multiples(context, moe_layer, {0, 0});
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_histogram_view() { return std::make_unique<HistogramPanel>(); }

}  // namespace app
