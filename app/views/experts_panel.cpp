// What experts are for: experts × domains and experts × word classes of one layer, how much each tells about routing in every layer beside chance, and which
// of the two claims about specialists holds for this model on these texts.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "app/views/experts_parts.h"
#include "app/views/layer_plot.h"
#include "app/views/route_data_ui.h"
#include "app/views/study_controls.h"
#include "app/views/views_b.h"
#include "app/widgets/table_view.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/expert_export.h"

namespace app {
namespace {

constexpr const char* kKinds[] = {"domains", "word classes"};                 // order of LabelKind
constexpr const char* kQuantities[] = {"lift, as log2", "share of tokens"};             // order of LabelQuantity
constexpr const char* kShapes[] = {"map", "table"};
constexpr const char* kGiven[] = {"alone", "given the other"};

class ExpertsPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void controls(ViewContext& context, const gs::ExpertStudy& study, int& moe_layer);
    void picture(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick, ImVec2 size);
    void heatmap(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick, const LabelTable& table, ImVec2 size);
    void side(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick);
    void curve(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick, ImVec2 size);

    LabelKind m_kind = LabelKind::kClass;
    LabelQuantity m_quantity = LabelQuantity::kLift;
    bool m_table = false, m_given = false, m_curve_table = false;
    std::unique_ptr<Heatmap> m_heatmap;
    HeatmapView m_view;
    std::shared_ptr<const gs::ExpertStudy> m_study;        ///< of the last frame
    uint64_t m_revision = 0;
    int m_beyond = 0;                                      ///< cells outside chance of the table shown, and which that is
    std::array<uint64_t, 2> m_beyond_of{};
};

void ExpertsPanel::controls(ViewContext& context, const gs::ExpertStudy& study, int& moe_layer) {
    if (layer_stepper("layer", study.trace.info(), moe_layer)) context.selected.moe_layer = moe_layer;
    int kind = static_cast<int>(m_kind), quantity = static_cast<int>(m_quantity), shape = m_table ? 1 : 0;
    static constexpr const char* kKindsExplained[] = {"Experts by the text's domain: are they subject specialists?", "Experts by the token's kind: are they specialists for verbs, punctuation, names …?"};
    same_line_if_fits(button_width(kKinds[0]) + button_width(kKinds[1]));
    if (segmented("kind", kKinds, kind, kKindsExplained)) m_kind = static_cast<LabelKind>(kind);
    same_line_if_fits(name_combo_width(kQuantities));
    if (name_combo("###quantity", kQuantities, quantity, "Lift: share of the label's tokens that use the expert, over its share of all tokens; 1 = as everywhere. Share: uniform is k/E."))
        m_quantity = static_cast<LabelQuantity>(quantity);
    static constexpr const char* kShapesExplained[] = {"Experts across, labels down, colour for the value", "The same figures as numbers, marked where they are outside chance"};
    same_line_if_fits(button_width(kShapes[0]) + button_width(kShapes[1]));
    if (segmented("shape", kShapes, shape, kShapesExplained)) m_table = shape == 1;
    same_line_if_fits(button_width("CSV"));
    if (ImGui::Button("CSV###csv")) ImGui::SetClipboardText(gs::specialization_csv(study).c_str());
    tooltip("Copies a line per layer, label and expert: tokens, share, lift, band of chance");
    same_line_if_fits(button_width("JSON"));
    if (ImGui::Button("JSON###json"))
        ImGui::SetClipboardText(gs::specialization_json(study).dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    tooltip("Copies information, nulls, divergence and the verdict of every layer");
}

void ExpertsPanel::heatmap(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick, const LabelTable& table, ImVec2 size) {
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    const ValueRange range = label_range(table, m_quantity);
    HeatmapInput in;
    in.n_cols = table.counts->n_experts;
    in.n_rows = static_cast<int>(table.labels.size());
    in.revision = ((m_revision * 1024 + static_cast<uint64_t>(pick.moe_layer)) * 2 + static_cast<uint64_t>(m_kind)) * 2 + static_cast<uint64_t>(m_quantity);
    in.low = range.low;
    in.high = range.high;
    // Lift has a middle, 1: a diverging map there, centred on log2 lift = 0.
    in.map = m_quantity == LabelQuantity::kLift ? ColorMap::kBlueOrange : context.settings.map;
    in.fill_column = [&](int e, std::span<float> out) {
        for (size_t row = 0; row < out.size(); ++row) out[row] = label_value(table, e, static_cast<int>(row), m_quantity);
    };
    in.col_label = [](int e) { return std::to_string(e); };
    in.row_label = [&](int row) { return table.name(row); };
    in.col_title = "expert";
    in.row_title = m_kind == LabelKind::kDomain ? "domain" : "word class";
    std::vector<HeatmapMark> marks;
    if (context.hovered.expert >= 0 && context.hovered.moe_layer == pick.moe_layer) marks.push_back({context.hovered.expert, -1, context.theme.hover, 1});
    marks.push_back({pick.expert, -1, context.theme.selection, 1.5f});
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x, bar_width = unit * 5.4f;
    const HeatmapHit hit = m_heatmap->draw(m_kind == LabelKind::kDomain ? "experts_domains" : "experts_classes", in, m_view, {size.x - bar_width - gap, size.y}, marks);
    if (hit.hovered) {
        context.hovered_next.moe_layer = pick.moe_layer;
        context.hovered_next.expert = hit.col;
        label_card(study, pick.moe_layer, table, hit.col, hit.row);
    }
    if (hit.clicked || hit.move_cols != 0) {
        context.selected.moe_layer = pick.moe_layer;
        context.selected.expert = hit.clicked ? hit.col : std::clamp(pick.expert + hit.move_cols, 0, in.n_cols - 1);
    }
    ImGui::SameLine(0, gap);
    color_bar("bar", in.map, range.low, range.high, m_quantity == LabelQuantity::kLift ? "log2 lift" : "share", {bar_width, size.y});
}

void ExpertsPanel::picture(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick, ImVec2 size) {
    const LabelTable table = label_table(study, pick.moe_layer, m_kind);
    const float unit = ImGui::GetFontSize();
    if (m_beyond_of[0] != m_revision || m_beyond_of[1] != static_cast<uint64_t>(pick.moe_layer * 2 + static_cast<int>(m_kind))) m_beyond = cells_beyond_chance(table);
    m_beyond_of = {m_revision, static_cast<uint64_t>(pick.moe_layer * 2 + static_cast<int>(m_kind))};
    const int all = static_cast<int>(table.labels.size()) * table.counts->n_experts;
    caption(fmt::format("{} tokens; uniform share {}; {} of {} cells outside the 95 % of chance (about {:.0f} by chance){}", study.tokens.n(),
                        format_percent(study.layers[static_cast<size_t>(pick.moe_layer)].routes.mean_k() / study.n_experts()), m_beyond, all, 0.05 * all,
                        m_quantity == LabelQuantity::kLift && !m_table ? "; hatched: never used" : ""));
    const ImVec2 left{size.x, std::max(unit * 5, size.y - ImGui::GetTextLineHeightWithSpacing() * 2)};
    if (!m_table) return heatmap(context, study, pick, table, left);
    const int clicked = draw_label_table(context, table, m_quantity, pick, left);
    if (clicked < 0) return;
    context.selected.moe_layer = pick.moe_layer;
    context.selected.expert = clicked;
}

void ExpertsPanel::curve(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick, ImVec2 size) {
    const std::array<LayerCurve, 2> curves = {information_curve(study, LabelKind::kClass, m_given, pinned_color(0)), information_curve(study, LabelKind::kDomain, m_given, pinned_color(1))};
    const LayerPlotInput input{.layers = study.trace.info().moe_layers, .curves = curves, .y_title = "% of the label's entropy", .selected = pick.moe_layer,
                               .hovered = context.hovered.moe_layer};
    const LayerPlotHit hit = m_curve_table ? draw_layer_table("###information_table", input, size) : draw_layer_plot("###information", context, input, size);
    if (hit.hovered >= 0) {
        context.hovered_next.moe_layer = hit.hovered;
        information_card(study, hit.hovered, m_given);
    }
    if (hit.clicked >= 0) context.selected.moe_layer = hit.clicked;
}

void ExpertsPanel::side(ViewContext& context, const gs::ExpertStudy& study, const Pick& pick) {
    draw_verdict(context, study);
    int given = m_given ? 1 : 0;
    static constexpr const char* kExplained[] = {"What the experts chosen tell about the label: mutual information over the label's entropy; shaded: what shuffled labels give",
                                                 "The same with the other label known: what domains tell beyond word classes, and the other way round"};
    if (segmented("given", kGiven, given, kExplained)) m_given = given == 1;
    same_line_if_fits(button_width("Table"));
    table_button(m_curve_table);
    if (!m_curve_table) caption_on_line("shaded: chance");
    curve(context, study, pick, {-1, std::max(ImGui::GetFontSize() * 14, ImGui::GetContentRegionAvail().y)});
}

void ExpertsPanel::draw(ViewContext& context) {
    const auto study = study_of(context.state);
    draw_study_controls(context);
    if (draw_if_no_study(context, study.get(), "Texts of several domains are routed by the model, and every expert is looked at: for which domains and kinds of word it is used, beside chance.")) return;
    if (study != m_study) ++m_revision;
    m_study = study;
    Pick pick = study_pick(*study, context.selected);
    controls(context, *study, pick.moe_layer);
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x;
    const ImVec2 room = ImGui::GetContentRegionAvail();
    if (room.x > unit * 48 && room.y > unit * 14) {
        const float side_width = std::clamp(room.x * 0.36f, unit * 20, unit * 34);
        if (ImGui::BeginChild("###picture", {room.x - side_width - 2 * gap, room.y})) picture(context, *study, pick, ImGui::GetContentRegionAvail());
        ImGui::EndChild();
        ImGui::SameLine(0, gap);
        if (ImGui::BeginChild("###side", {side_width + gap, room.y})) side(context, *study, pick);
        ImGui::EndChild();
        return;
    }
    if (ImGui::BeginChild("###all", room)) {
        const ImVec2 inner = ImGui::GetContentRegionAvail();
        const auto rows = static_cast<float>(label_table(*study, pick.moe_layer, m_kind).labels.size());
        picture(context, *study, pick, {inner.x, std::max(inner.y * 0.5f, unit * (5 + 1.3f * rows))});
        side(context, *study, pick);
    }
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_experts_view() { return std::make_unique<ExpertsPanel>(); }

}  // namespace app
