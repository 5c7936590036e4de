#include "app/views/compare_parts.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/route_data_ui.h"
#include "app/widgets/bars.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "engine/io/diff_export.h"

namespace app {

bool say_why_no_routes(const ComparedRuns& runs) {
    if (!runs.diff)
        dim_text("comparing…");
    else if (!runs.diff->not_comparable.empty())
        caption(runs.diff->not_comparable + " Their texts can be compared all the same.");
    else if (runs.diff->pairs.empty())
        caption("The runs have no token in common.");
    return !runs.diff || !runs.diff->comparable();
}

static std::string with_null(const std::string& value, const std::string& null) { return fmt::format("{}  (uniform {})", value, null); }

static void draw_layer_bars(ViewContext& context, const ComparedRuns& runs) {
    const gs::RunDiff& diff = *runs.diff;
    std::vector<float> values;
    for (const gs::LayerDiff& layer : diff.layers) values.push_back(static_cast<float>(layer.agreement));
    BarsInput input;
    input.values = values;
    input.line = static_cast<float>(diff.agreement_null);
    input.color = context.theme.accent;
    input.selected = context.selected.moe_layer, input.hovered = context.hovered.moe_layer;
    input.selection_color = context.theme.selection, input.hover_color = context.theme.hover, input.line_color = context.theme.text_dim;
    dim_text("same experts by layer; line: uniform");
    const BarsHit hit = bars("###layers", input, {ImGui::GetContentRegionAvail().x, ImGui::GetFontSize() * 3});
    if (!hit.hovered || hit.slot < 0) return;
    context.hovered_next.moe_layer = hit.slot;
    if (hit.clicked) context.selected.moe_layer = hit.slot;
    const gs::LayerDiff& layer = diff.layers[static_cast<size_t>(hit.slot)];
    HoverCard card(fmt::format("layer {}", model_layer(runs.b.trace.info(), hit.slot)));
    card.row("same experts", with_null(format_percent(layer.agreement), format_percent(layer.agreement_null)));
    card.row("changed", fmt::format("{} of {} decisions", layer.n_flips, layer.n_decisions));
    if (!std::isnan(layer.kl)) card.row("KL(A‖B) of preference", fmt::format("{} nats", format_number(layer.kl)));
}

void draw_route_figures(ViewContext& context, const ComparedRuns& runs) {
    if (say_why_no_routes(runs)) return;
    const gs::RunDiff& diff = *runs.diff;
    const std::string over = fmt::format("{} paired tokens × {} layers", diff.pairs.size(), diff.layers.size());
    key_value("same experts", with_null(format_percent(diff.agreement), format_percent(diff.agreement_null)),
              ("Route agreement: mean of |A ∩ B| / max(|A|, |B|), over " + over + ". Uniform: two routers that choose at random").c_str());
    key_value("tokens changed", with_null(format_percent(diff.any_layer_flip_rate), format_percent(diff.any_layer_flip_null)),
              ("Paired tokens with another set of experts in one layer or more, over " + over).c_str());
    key_value("layers changed", with_null(fmt::format("{} of {}", format_number(diff.mean_flipped_layers), diff.layers.size()), format_number(diff.mean_flipped_null)),
              ("Mean per paired token, over " + over).c_str());
    key_value("KL(A‖B)", std::isnan(diff.kl) ? "unknown: a run has no router logits" : fmt::format("{} nats", format_number(diff.kl)),
              ("Kullback-Leibler divergence of the preference, mean over " + over).c_str());
    if (diff.first_divergence) {
        const gs::RouteFlip& flip = *diff.first_divergence;
        const gs::TokenPair pair = diff.pairs[static_cast<size_t>(flip.pair)];
        key_value("first change", fmt::format("token {}, layer {}", pair.b + 1, model_layer(runs.b.trace.info(), flip.moe_layer)), "First paired token with another set of experts, and its first layer");
        ImGui::SameLine();
        if (ImGui::SmallButton("show###first")) context.selected = {pair.b, flip.moe_layer, flip.entered};
        tooltip("Select this token, layer and the expert that came in");
    }
    dim_text(fmt::format("{} of {} and {} tokens paired by {}{}", diff.pairs.size(), diff.n_tokens_a, diff.n_tokens_b, gs::name_of(diff.paired_by), diff.exact ? "" : ", ends only"));
    tooltip("Longest common subsequence of the two runs. Too long ones are paired at their common beginning and end only. What comes after a difference in the text has seen another context.");
    draw_layer_bars(context, runs);
}

void FlipTable::row(ViewContext& context, const ComparedRuns& runs, const gs::RouteFlip& flip, int place) {
    const gs::TokenPair pair = runs.diff->pairs[static_cast<size_t>(flip.pair)];
    ImGui::PushID(place);
    ImGui::TableNextRow();
    ImGui::TableNextColumn();
    const Pick pick{pair.b, flip.moe_layer, flip.entered >= 0 ? flip.entered : flip.left};
    const bool marked = context.selected.token == pick.token && context.selected.moe_layer == pick.moe_layer;
    const std::string name = fmt::format("{}###flip", std::isnan(flip.margin) ? "–" : std::isinf(flip.margin) ? "all" : format_number(flip.margin));
    if (ImGui::Selectable(name.c_str(), marked, ImGuiSelectableFlags_SpanAllColumns)) context.selected = pick;
    if (ImGui::IsItemHovered()) context.hovered_next = pick;
    ImGui::TableNextColumn();
    const std::string text = runs.b.trace.info().lacks.text ? "" : "  " + short_token(runs.b.trace.token(pair.b).text, 12);
    ImGui::TextUnformatted(fmt::format("{}{}", pair.b + 1, text).c_str());
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(fmt::format("{}", model_layer(runs.b.trace.info(), flip.moe_layer)).c_str());
    ImGui::TableNextColumn();
    const auto expert = [](int e) { return e < 0 ? std::string("–") : std::to_string(e); };
    ImGui::TextUnformatted(fmt::format("{} → {}", expert(flip.left), expert(flip.entered)).c_str());
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(fmt::format("{} of {}", flip.n_shared, std::max(flip.k_a, flip.k_b)).c_str());
    ImGui::PopID();
}

void FlipTable::draw(ViewContext& context, const ComparedRuns& runs) {
    if (say_why_no_routes(runs)) return;
    const std::vector<gs::RouteFlip>& flips = runs.diff->flips;
    if (flips.empty()) return caption("No decision changed: every paired token uses the same experts in every layer.");
    static constexpr const char* kOrders[] = {"clearest first", "closest first"};
    static constexpr const char* kExplained[] = {"Decisions that A had made with the largest margin: changes that matter most", "Decisions that were nearly ties in A"};
    int order = m_reversed;
    if (segmented("order", kOrders, order, kExplained)) m_reversed = order == 1;
    same_line_if_fits(button_width("CSV"));
    if (ImGui::Button("CSV###flips_csv")) ImGui::SetClipboardText(gs::flips_csv(*runs.diff, runs.a.trace).c_str());
    tooltip("Copies a line per changed decision");
    caption_on_line(fmt::format("{} changed of {} decisions", flips.size(), runs.diff->pairs.size() * runs.diff->layers.size()));
    const float unit = ImGui::GetFontSize();
    if (!ImGui::BeginTable("###flips", 5, ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_ScrollY | ImGuiTableFlags_RowBg | ImGuiTableFlags_SizingFixedFit | ImGuiTableFlags_PadOuterX)) return;
    ImGui::TableSetupScrollFreeze(0, 1);
    ImGui::TableSetupColumn("margin in A", ImGuiTableColumnFlags_WidthFixed, unit * 5.4f);
    ImGui::TableSetupColumn("token of B", ImGuiTableColumnFlags_WidthStretch);
    ImGui::TableSetupColumn("layer", ImGuiTableColumnFlags_WidthFixed, unit * 2.4f);
    ImGui::TableSetupColumn("expert", ImGuiTableColumnFlags_WidthFixed, unit * 4);
    ImGui::TableSetupColumn("kept", ImGuiTableColumnFlags_WidthFixed, unit * 3.2f);
    ImGui::TableHeadersRow();
    ImGuiListClipper clipper;
    clipper.Begin(static_cast<int>(flips.size()));
    while (clipper.Step())
        for (int i = clipper.DisplayStart; i < clipper.DisplayEnd; ++i) {
            const size_t place = m_reversed ? flips.size() - 1 - static_cast<size_t>(i) : static_cast<size_t>(i);
            row(context, runs, flips[place], i);
        }
    ImGui::EndTable();
}

void DifferenceMap::controls(ViewContext& context, const ComparedRuns& runs, int& moe_layer) {
    if (layer_stepper("layer", runs.b.trace.info(), moe_layer)) context.selected.moe_layer = moe_layer;
    static constexpr DifferenceOf kAll[] = {DifferenceOf::kAppliedWeight, DifferenceOf::kPreference, DifferenceOf::kChosen};
    if (!can_subtract(m_what, runs.a.trace, runs.b.trace)) m_what = DifferenceOf::kChosen;
    std::vector<const char*> names;
    std::vector<DifferenceOf> possible;
    for (const DifferenceOf what : kAll)
        if (can_subtract(what, runs.a.trace, runs.b.trace)) names.push_back(name_of(what)), possible.push_back(what);
    int index = static_cast<int>(std::find(possible.begin(), possible.end(), m_what) - possible.begin());
    same_line_if_fits(name_combo_width(names));
    if (name_combo("###difference_of", names, index, "What is subtracted, B − A. What a recorded run does not hold is not offered.")) m_what = possible[static_cast<size_t>(index)];
    caption_on_line("B − A: orange more in B, blue more in A, grey no change");
}

void DifferenceMap::card(ViewContext& context, const ComparedRuns& runs, int pair, int expert) {
    const gs::TokenPair tokens = runs.diff->pairs[static_cast<size_t>(pair)];
    context.hovered_next = {tokens.b, m_picture.moe_layer(), expert};
    HoverCard card(fmt::format("\"{}\" · layer {} · expert {}", token_label(runs.b.trace, tokens.b, 24), model_layer(runs.b.trace.info(), m_picture.moe_layer()), expert));
    card.row("token", fmt::format("{} in A, {} in B", tokens.a + 1, tokens.b + 1));
    card.row("A", format_exact(m_picture.of_a(pair, expert)));
    card.row("B", format_exact(m_picture.of_b(pair, expert)));
    card.row("B − A", format_exact(m_picture.value(pair, expert)));
    card.note(fmt::format("{}; not chosen counts as 0", name_of(m_picture.what())));
}

void DifferenceMap::draw(ViewContext& context, const ComparedRuns& runs) {
    if (say_why_no_routes(runs)) return;
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    int moe_layer = effective_pick(runs.b.trace, context.selected).moe_layer;
    controls(context, runs, moe_layer);
    m_picture.update(runs.diff, runs.a.trace, runs.b.trace, moe_layer, m_what);
    const float unit = ImGui::GetFontSize(), bar_width = unit * 5, gap = ImGui::GetStyle().ItemSpacing.x;
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const ImVec2 size{std::max(unit * 4, room.x - bar_width - gap), std::max(unit * 4, room.y)};
    HeatmapInput in;
    in.n_cols = m_picture.n_pairs(), in.n_rows = m_picture.n_experts();
    in.revision = m_picture.revision();
    in.low = -m_picture.range(), in.high = m_picture.range();
    in.map = ColorMap::kBlueOrange;
    in.fill_column = [this](int col, std::span<float> out) { std::copy_n(m_picture.column(col).begin(), out.size(), out.begin()); };
    const gs::TraceSnapshot trace = runs.b.trace;
    in.col_label = [trace, diff = runs.diff](int col) { return token_label(trace, diff->pairs[static_cast<size_t>(col)].b, 10); };
    in.row_label = [](int row) { return std::to_string(row); };
    in.col_title = "paired token", in.row_title = "expert";
    std::vector<HeatmapMark> marks;
    const auto mark = [&](const Pick& of, ImU32 color, float thickness) {
        const int col = of.token < 0 ? -1 : pair_of_b(*runs.diff, of.token), row = of.moe_layer < 0 || of.moe_layer == moe_layer ? of.expert : -1;
        if (col >= 0 || row >= 0) marks.push_back({col, row, color, thickness * context.scale});
    };
    mark(context.hovered, context.theme.hover, 1);
    mark(context.selected, context.theme.selection, 2);
    const HeatmapHit hit = m_heatmap->draw("difference", in, m_view, size, marks);
    const bool on_cell = hit.col >= 0 && hit.row >= 0 && hit.col < in.n_cols && hit.row < in.n_rows;
    if (on_cell && hit.hovered) card(context, runs, hit.col, hit.row);
    if (on_cell && hit.clicked) context.selected = {runs.diff->pairs[static_cast<size_t>(hit.col)].b, moe_layer, hit.row};
    ImGui::SameLine(0, gap);
    color_bar("difference_bar", ColorMap::kBlueOrange, -m_picture.range(), m_picture.range(), "B − A", {bar_width, room.y});
}

}  // namespace app
