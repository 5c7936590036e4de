// Which experts go together: pairs within a layer, flow from one layer to another, repetition from token to token; of the studied texts or of the run on screen.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "app/views/coactivation_data.h"
#include "app/views/job_controls.h"
#include "app/views/layer_plot.h"
#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/views/study_controls.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/expert_export.h"

namespace app {
namespace {

constexpr const char* kWhats[] = {"pairs", "flow", "token to token"};
constexpr const char* kModes[] = {"all pairs", "rank-adjacent pairs"};        // order of gs::PairMode
constexpr const char* kQuantities[] = {"share", "over the loads"};
constexpr const char* kShapes[] = {"chart", "table"};
constexpr const char* kShapesExplained[] = {"Colours or curves, with the figures where there is room", "The same figures as rows"};

class CoActivationPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    enum What { kPairs, kFlow, kTokens };
    bool choose_source(ViewContext& context);
    void controls(ViewContext& context, const Pick& pick);
    void copy_csv(int moe_layer);
    void matrix(ViewContext& context, const Pick& pick, ImVec2 size);
    void repetition(ViewContext& context, const Pick& pick, ImVec2 size);

    RoutedSource m_source;
    int m_what = kPairs, m_mode = 0, m_quantity = 0, m_to = -1;
    bool m_table = false, m_run_wanted = false;
    std::unique_ptr<Heatmap> m_heatmap;
    HeatmapView m_view;
};

/// False when there is nothing to draw, and something else was drawn instead.
bool CoActivationPanel::choose_source(ViewContext& context) {
    const auto study = study_of(context.state);
    const gs::TraceSnapshot& run = context.what_if.trace();
    const bool has_run = !run.empty() && run.n_moe_layers() > 0 && run.n_experts() > 0;
    if (!study && !has_run) return !draw_if_no_study(context, nullptr, "Shows which experts are chosen together, from layer to layer and from token to token, for a run or for texts that are studied.");
    if (study && !(m_run_wanted && has_run)) m_source.set_study(study);
    else m_source.set_run(run);
    static constexpr const char* kSources[] = {"texts studied", "run on screen"};
    if (study && has_run) {
        int source = m_source.is_study() ? 0 : 1;
        static constexpr const char* kExplained[] = {"The texts of the study: many tokens, steady figures", "The tokens of the run on screen, or of its what-if"};
        if (segmented("source", kSources, source, kExplained)) m_run_wanted = source == 1;
    } else if (!study) {
        if (job_button(context, {gs::Activity::kStudying, "###study", "Study texts", "The run on screen has few tokens: routes the sample texts too, for steadier figures", true, false}))
            start_study(context);
    } else {
        dim_text("texts studied");
    }
    return true;
}

void CoActivationPanel::copy_csv(int moe_layer) {
    const std::string csv = m_what == kPairs ? gs::co_activation_csv(m_source.pairs(moe_layer, static_cast<gs::PairMode>(m_mode)))
                            : m_what == kFlow ? gs::flow_csv(m_source.flow(moe_layer, m_to))
                                              : m_source.repetition_csv();
    ImGui::SetClipboardText(csv.c_str());
}

void CoActivationPanel::controls(ViewContext& context, const Pick& pick) {
    static constexpr const char* kExplained[] = {"Experts that one token uses together, in one layer", "From the experts of one layer to those of another", "Does a token use the experts of the token before? Does the same token id use the same ones?"};
    same_line_if_fits(button_width(kWhats[0]) + button_width(kWhats[1]) + button_width(kWhats[2]));
    segmented("what", kWhats, m_what, kExplained);
    const gs::TraceInfo& info = m_source.trace().info();
    int moe_layer = pick.moe_layer;
    same_line_if_fits(layer_stepper_width());
    if (layer_stepper("layer", info, moe_layer)) context.selected.moe_layer = moe_layer;
    if (m_what == kPairs) {
        same_line_if_fits(name_combo_width(kModes));
        name_combo("###mode", kModes, m_mode, "All pairs of a token's experts, or only neighbours in its ranking as OLMoE's script counts: its null is much smaller, so the two do not compare");
    }
    if (m_what == kFlow) {
        same_line_if_fits(layer_stepper_width() + ImGui::CalcTextSize("to").x);
        label("to");
        layer_stepper("to", info, m_to);
    }
    if (m_what != kTokens) {
        same_line_if_fits(name_combo_width(kQuantities));
        name_combo("###quantity", kQuantities, m_quantity, "Share: of the tokens of the expert in the column, those that also use the one in the row. Over the loads: that share over what the loads alone would give, as log2.");
    }
    int shape = m_table ? 1 : 0;
    same_line_if_fits(button_width(kShapes[0]) + button_width(kShapes[1]));
    if (segmented("shape", kShapes, shape, kShapesExplained)) m_table = shape == 1;
    same_line_if_fits(button_width("CSV"));
    if (ImGui::Button("CSV###csv")) copy_csv(pick.moe_layer);
    tooltip("Copies the figures with what chance gives");
}

void CoActivationPanel::matrix(ViewContext& context, const Pick& pick, ImVec2 size) {
    const PairTable& table = m_what == kPairs ? m_source.pair_table(pick.moe_layer, static_cast<gs::PairMode>(m_mode)) : m_source.flow_table(pick.moe_layer, m_to);
    caption(table.caption);
    size.y = std::max(ImGui::GetFontSize() * 6, size.y - 2 * ImGui::GetTextLineHeightWithSpacing());
    if (m_table) {
        const int clicked = draw_pair_table(context, table, pick, size);
        if (clicked >= 0) context.selected.moe_layer = pick.moe_layer, context.selected.expert = clicked;
        return;
    }
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    const bool ratio = m_quantity == 1;
    const float high = table.most(ratio);
    HeatmapInput in;
    in.n_cols = in.n_rows = table.n_experts;
    in.revision = (table.revision * 2 + static_cast<uint64_t>(m_quantity)) * 2 + (m_what == kFlow ? 1 : 0);
    in.low = ratio ? -high : 0;
    in.high = high;
    in.map = ratio ? ColorMap::kBlueOrange : context.settings.map;
    in.fill_column = [&](int e, std::span<float> out) {
        for (int other = 0; other < static_cast<int>(out.size()); ++other) out[static_cast<size_t>(other)] = table.value(e, other, ratio);
    };
    in.col_label = in.row_label = [](int e) { return std::to_string(e); };
    in.col_title = "expert";
    in.row_title = m_what == kPairs ? "partner" : "expert there";
    std::vector<HeatmapMark> marks;
    if (context.hovered.moe_layer == pick.moe_layer && context.hovered.expert >= 0) marks.push_back({context.hovered.expert, -1, context.theme.hover, 1});
    if (context.selected.expert >= 0 && context.selected.expert < table.n_experts) marks.push_back({context.selected.expert, -1, context.theme.selection, 1.5f});
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x, bar_width = unit * 5.4f;
    const HeatmapHit hit = m_heatmap->draw(m_what == kPairs ? "pairs" : "flow", in, m_view, {std::max(unit * 6, size.x - bar_width - gap), size.y}, marks);
    if (hit.hovered) {
        context.hovered_next.moe_layer = pick.moe_layer;
        context.hovered_next.expert = hit.col;
        pair_card(table, hit.col, hit.row);
    }
    if (hit.clicked) context.selected.moe_layer = pick.moe_layer, context.selected.expert = hit.col;
    if (hit.move_cols != 0) context.selected.expert = std::clamp(std::max(context.selected.expert, 0) + hit.move_cols, 0, table.n_experts - 1);
    ImGui::SameLine(0, gap);
    color_bar("bar", in.map, in.low, in.high, ratio ? "log2 ratio" : "share", {bar_width, size.y});
}

void CoActivationPanel::repetition(ViewContext& context, const Pick& pick, ImVec2 size) {
    const RepetitionCurves& curves = m_source.repetition();
    caption(curves.caption);
    size.y = std::max(ImGui::GetFontSize() * 9, size.y - 3 * ImGui::GetTextLineHeightWithSpacing());
    const LayerPlotInput input{.layers = m_source.trace().info().moe_layers, .curves = curves.curves, .y_title = "%", .selected = pick.moe_layer, .hovered = context.hovered.moe_layer};
    const LayerPlotHit hit = m_table ? draw_layer_table("###repetition_table", input, size) : draw_layer_plot("###repetition", context, input, size);
    if (hit.hovered >= 0) {
        context.hovered_next.moe_layer = hit.hovered;
        repetition_card(m_source, hit.hovered);
    }
    if (hit.clicked >= 0) context.selected.moe_layer = hit.clicked;
}

void CoActivationPanel::draw(ViewContext& context) {
    if (!choose_source(context)) return;
    const int n = m_source.trace().n_moe_layers();
    Pick pick = effective_pick(m_source.trace(), context.selected);
    pick.moe_layer = std::clamp(pick.moe_layer, 0, n - 1);
    if (m_to < 0 || m_to >= n) m_to = std::min(pick.moe_layer + 1, n - 1);
    controls(context, pick);
    if (m_what == kTokens) repetition(context, pick, ImGui::GetContentRegionAvail());
    else matrix(context, pick, ImGui::GetContentRegionAvail());
}

}  // namespace

std::unique_ptr<View> make_coactivation_view() { return std::make_unique<CoActivationPanel>(); }

}  // namespace app
