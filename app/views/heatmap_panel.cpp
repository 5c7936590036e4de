// The gating heatmap: token x expert at a layer, layer x expert over the run or for one token, token x layer. Live while a run generates.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>

#include "app/views/ablation_parts.h"
#include "app/views/chart_tables.h"
#include "app/views/choice_signs.h"
#include "app/views/heatmap_panel_card.h"
#include "app/views/heatmap_panel_picture.h"
#include "app/views/pick_card.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class HeatmapPanel final : public View {
public:
    void draw(ViewContext& context) override;
    std::string zoom() const override;
    void set_zoom(const std::string& text) override;

private:
    PictureSpec spec(const ViewContext& context, const Pick& pick) const;
    void toolbar(ViewContext& context, Pick& pick);
    void quantity_controls(ViewContext& context);
    void color_controls(ViewContext& context);
    void sign_controls(ViewContext& context);
    HeatmapInput signed_input(const ViewContext& context);
    std::optional<HeatmapOnDevice> on_device(const ViewContext& context) const;
    HeatmapInput input(const ViewContext& context) const;
    void react(ViewContext& context, const HeatmapHit& hit);
    void context_menu(ViewContext& context);
    void move_selection(ViewContext& context, const HeatmapHit& hit);
    void select_cell(ViewContext& context, int col, int row);
    std::string column_csv(int col) const;
    void mark_ablated(const Pick& of, std::vector<HeatmapMark>& marks, const ViewContext& context) const;

    HeatmapView& view() { return m_views[static_cast<size_t>(m_kind)]; }

    RoutePicture m_picture;
    ChoiceSigns m_signs;
    gs::ChoiceReader m_choices;
    std::unique_ptr<Heatmap> m_heatmap;
    std::array<HeatmapView, 3> m_views;    ///< where the user looks, per picture
    PictureKind m_kind = PictureKind::kTokenExpert;
    RouteScalar m_scalar = RouteScalar::kTopWeight;
    bool m_over_run = true;
    ValueRange m_range;
    int m_menu_col = -1, m_menu_row = -1;
    bool m_as_table = false;
};

constexpr const char* kIds[] = {"token_expert", "layer_expert", "token_layer"};
constexpr const char* kKinds[] = {"token × expert", "layer × expert", "token × layer"};
constexpr const char* kQuantities[] = {"preference", "selection score", "applied weight"};
constexpr const char* kScalars[] = {"top-1 weight", "router entropy", "selection margin"};
constexpr const char* kMaps[] = {"cividis", "viridis", "greys", "blue–orange"};

/// "token_expert", and "token_expert@12+40,0+16" when only some columns and rows are in sight: first + how many of each, 0 = all.
std::string HeatmapPanel::zoom() const {
    const HeatmapView& v = m_views[static_cast<size_t>(m_kind)];
    const bool all = v.n_cols_shown <= 0 && v.n_rows_shown <= 0;
    const std::string kind = kIds[static_cast<size_t>(m_kind)];
    return all ? kind : fmt::format("{}@{:.3f}+{:.3f},{:.3f}+{:.3f}", kind, v.first_col, v.n_cols_shown, v.first_row, v.n_rows_shown);
}

void HeatmapPanel::set_zoom(const std::string& text) {
    const std::string kind = text.substr(0, text.find('@'));
    for (size_t i = 0; i < std::size(kIds); ++i)
        if (kind == kIds[i]) m_kind = static_cast<PictureKind>(i);
    HeatmapView wanted;
    double part[4] = {};
    if (text.size() > kind.size() && std::sscanf(text.c_str() + kind.size(), "@%lf+%lf,%lf+%lf", &part[0], &part[1], &part[2], &part[3]) == 4 &&
        std::all_of(std::begin(part), std::end(part), [](double p) { return p >= 0 && p < 1e9; }))
        wanted = {.first_col = part[0], .n_cols_shown = part[1], .first_row = part[2], .n_rows_shown = part[3], .follow = part[1] == 0};
    view() = wanted;
}

PictureSpec HeatmapPanel::spec(const ViewContext& context, const Pick& pick) const {
    PictureSpec spec;
    spec.kind = m_kind;
    spec.quantity = context.settings.quantity;
    spec.scalar = m_scalar;
    spec.over_run = m_over_run;
    spec.moe_layer = pick.moe_layer;
    spec.token = pick.token;
    spec.phase = context.settings.phase;
    return spec;
}

void HeatmapPanel::quantity_controls(ViewContext& context) {
    if (m_kind == PictureKind::kTokenLayer) {
        int scalar = static_cast<int>(m_scalar);
        same_line_if_fits(name_combo_width(kScalars));
        if (name_combo("###scalar", kScalars, scalar, "top-1 weight: the largest applied weight. Router entropy: −Σ p ln p of the preference, in nats. Selection margin: "
                                                      "worst chosen minus best rejected logit; small = a fragile choice."))
            m_scalar = static_cast<RouteScalar>(scalar);
        return;
    }
    if (m_kind == PictureKind::kLayerExpert) {
        static constexpr const char* kScopes[] = {"share over run", "one token"};
        static constexpr const char* kExplained[] = {"Share of the run's tokens that used the expert", "The selected token, or the newest when none is selected"};
        int scope = m_over_run ? 0 : 1;
        same_line_if_fits(button_width(kScopes[0]) + button_width(kScopes[1]));
        if (segmented("scope", kScopes, scope, kExplained)) m_over_run = scope == 0;
        if (m_over_run) {
            same_line_if_fits(phase_buttons_width());
            phase_buttons(context);
            return;
        }
    }
    int quantity = static_cast<int>(context.settings.quantity);
    same_line_if_fits(name_combo_width(kQuantities));
    if (name_combo("###quantity", kQuantities, quantity, "Preference: what the router would like, over all experts. Selection score: what the top-k is taken over (bias and "
                                                         "masks included). Applied weight: what multiplies the chosen experts' outputs."))
        context.settings.quantity = static_cast<Quantity>(quantity);
}

void HeatmapPanel::color_controls(ViewContext& context) {
    same_line_if_fits(name_combo_width(kMaps));
    int map = static_cast<int>(context.settings.map);
    if (name_combo("###map", kMaps, map, "Colour map. Cividis looks nearly the same with and without red–green deficiency.")) context.settings.map = static_cast<ColorMap>(map);
    same_line_if_fits(button_width("auto range") + ImGui::GetFrameHeight());
    ImGui::Checkbox("auto range###auto", &context.settings.auto_range);
    tooltip("Off: fixed limits, so that runs compare. On: from the smallest to the largest value shown; the limits stand at the colour bar.");
    sign_controls(context);
    if (m_kind == PictureKind::kLayerExpert) return;
    same_line_if_fits(button_width("follow newest") + ImGui::GetFrameHeight());
    ImGui::Checkbox("follow newest###follow", &view().follow);
    tooltip("Keep the newest token in sight. Panning or zooming lets go of it.");
}

/// What the signs are, and how well logits are taken to be known.
void HeatmapPanel::sign_controls(ViewContext& context) {
    if (m_kind == PictureKind::kLayerExpert && m_over_run) return;
    ViewSettings& settings = context.settings;
    same_line_if_fits(button_width("signs") + ImGui::GetFrameHeight());
    ImGui::Checkbox("signs###signs", &settings.choice_signs);
    tooltip(("Zoom in until cells are a few pixels wide. A corner: a fragile choice, on the worst expert chosen and the best one rejected. Two bars: a tie, "
             "equal selection scores there, the lower index wins. A cross: chosen, but dropped by a capacity.\n" +
             fragile_explained({settings.logit_error}))
                .c_str());
    if (!settings.choice_signs) return;
    same_line_if_fits(ImGui::GetFontSize() * 7);
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 7);
    ImGui::DragFloat("###logit_error", &settings.logit_error, 0.002f, 0, 2, settings.logit_error > 0 ? "error %.3f" : "error: bf16", ImGuiSliderFlags_AlwaysClamp);
    tooltip("How well router logits are known. 0: to bf16. Above: their rms error, as gatescope precision measures it between two precisions, or as two traces of two "
            "quantizations of one model differ. Drag to change.");
}

void HeatmapPanel::toolbar(ViewContext& context, Pick& pick) {
    static constexpr const char* kExplained[] = {"Every token (across) and every expert of one layer (down)", "Every layer (down) and its experts (across)",
                                                 "Every token (across) and every layer (down), one number each"};
    int kind = static_cast<int>(m_kind);
    if (segmented("kind", kKinds, kind, kExplained)) m_kind = static_cast<PictureKind>(kind);
    const gs::TraceInfo& info = context.what_if.trace().info();
    if (m_kind == PictureKind::kTokenExpert) {
        same_line_if_fits(layer_stepper_width());
        if (layer_stepper("layer", info, pick.moe_layer)) context.selected.moe_layer = pick.moe_layer;
    }
    quantity_controls(context);
    same_line_if_fits(button_width("Table"));
    table_button(m_as_table);
    if (ImGui::GetWindowHeight() > ImGui::GetFontSize() * 24) {
        color_controls(context);
    } else {                                               // a low panel keeps its height for the picture (ux.md R8)
        same_line_if_fits(button_width("More"));
        if (ImGui::Button("More###more")) ImGui::OpenPopup("more");
        tooltip("Colour map, range, following the newest token");
        if (ImGui::BeginPopup("more")) {
            color_controls(context);
            ImGui::EndPopup();
        }
    }
    badge_on_line(context, info.provenance);
}

/// Where an engine on the window's device wrote the same values: of the run itself, and without a temperature.
std::optional<HeatmapOnDevice> HeatmapPanel::on_device(const ViewContext& context) const {
    const PictureSpec& shown = m_picture.spec();
    const gs::TraceSnapshot& trace = context.what_if.trace();
    const std::shared_ptr<const gs::RunResult>& run = context.state.run;
    if (shown.kind != PictureKind::kTokenExpert || context.what_if.active() || !run || run->trace.revision() != trace.revision()) return std::nullopt;
    if (shown.quantity == Quantity::kAppliedWeight) return HeatmapOnDevice{run->id, gs::SharedLayout::kWeights, shown.moe_layer};
    if (shown.quantity != Quantity::kPreference || !gs::has_shared_preference(trace.info().router.score) || !m_picture.has_plain_preference()) return std::nullopt;
    return HeatmapOnDevice{run->id, gs::SharedLayout::kPreference, shown.moe_layer};
}

HeatmapInput HeatmapPanel::input(const ViewContext& context) const {
    HeatmapInput in;
    in.n_cols = m_picture.n_cols();
    in.n_rows = m_picture.n_rows();
    in.revision = m_picture.revision();
    in.low = m_range.low;
    in.high = m_range.high;
    in.map = context.settings.map;
    in.on_device = on_device(context);
    in.fill_column = [this](int col, std::span<float> out) { std::copy_n(m_picture.column(col).begin(), out.size(), out.begin()); };
    const gs::TraceSnapshot trace = context.what_if.trace();
    const auto number = [](int index) { return std::to_string(index); };
    const auto token = [trace](int col) { return token_label(trace, col, 10); };
    if (m_kind == PictureKind::kLayerExpert) {
        in.col_label = number;
        in.col_title = "expert";
    } else {
        in.col_label = token;
        in.col_title = "token";
    }
    in.row_label = number;
    in.row_title = m_kind == PictureKind::kTokenExpert ? "expert" : "layer";
    return in;
}

HeatmapInput HeatmapPanel::signed_input(const ViewContext& context) {
    HeatmapInput in = input(context);
    const gs::LogitError error{context.settings.logit_error};
    if (context.settings.choice_signs && context.what_if.trace().has_logits() && !(m_kind == PictureKind::kLayerExpert && m_over_run))
        in.fill_signs = [this, error, trace = context.what_if.trace()](int col, std::span<uint8_t> out) {
            m_signs.column(trace, m_picture, error, col, out);
        };
    in.sign_color = context.theme.dark ? IM_COL32(255, 140, 60, 255) : IM_COL32(255, 160, 90, 255);
    return in;
}

void HeatmapPanel::move_selection(ViewContext& context, const HeatmapHit& hit) {
    const Pick now = effective_pick(context.what_if.trace(), context.selected);
    const int col = std::clamp(std::max(0, m_picture.col_of(now)) + hit.move_cols, 0, m_picture.n_cols() - 1);
    const int row = std::clamp(std::max(0, m_picture.row_of(now)) + hit.move_rows, 0, m_picture.n_rows() - 1);
    select_cell(context, col, row);
}

void HeatmapPanel::select_cell(ViewContext& context, int col, int row) {
    const Pick pick = m_picture.pick_of(col, row);
    if (pick.token >= 0) context.selected.token = pick.token;
    if (pick.moe_layer >= 0) context.selected.moe_layer = pick.moe_layer;
    if (pick.expert >= 0) context.selected.expert = pick.expert;
}

std::string HeatmapPanel::column_csv(int col) const {
    std::string csv = fmt::format("{},{}\n", m_kind == PictureKind::kTokenExpert ? "expert" : "layer", value_title(m_picture.spec()));
    for (int row = 0; row < m_picture.n_rows(); ++row) csv += fmt::format("{},{:.9g}\n", row, m_picture.value(col, row));
    return csv;
}

void HeatmapPanel::context_menu(ViewContext& context) {
    if (!ImGui::BeginPopup("cell_menu")) return;
    const bool valid = m_menu_col >= 0 && m_menu_col < m_picture.n_cols() && m_menu_row >= 0 && m_menu_row < m_picture.n_rows();
    if (valid && ImGui::MenuItem("Copy value")) ImGui::SetClipboardText(format_exact(m_picture.value(m_menu_col, m_menu_row)).c_str());
    if (valid && ImGui::MenuItem("Copy column as CSV")) ImGui::SetClipboardText(column_csv(m_menu_col).c_str());
    if (ImGui::MenuItem("Clear selection")) context.selected = {};
    ImGui::EndPopup();
}

void HeatmapPanel::react(ViewContext& context, const HeatmapHit& hit) {
    const bool on_cell = hit.col >= 0 && hit.row >= 0 && hit.col < m_picture.n_cols() && hit.row < m_picture.n_rows();
    if (hit.move_cols != 0 || hit.move_rows != 0) move_selection(context, hit);
    if (on_cell && hit.hovered) {
        context.hovered_next = m_picture.pick_of(hit.col, hit.row);
        draw_cell_card(context, m_picture, m_choices, hit.col, hit.row);
    }
    if (on_cell && hit.clicked) select_cell(context, hit.col, hit.row);
    if (on_cell && hit.context_menu) {
        m_menu_col = hit.col, m_menu_row = hit.row;
        ImGui::OpenPopup("cell_menu");
    }
    context_menu(context);
}

/// The expert's whole row, or its cell where layers are shown; another layer's expert of that number is another one.
void HeatmapPanel::mark_ablated(const Pick& of, std::vector<HeatmapMark>& marks, const ViewContext& context) const {
    if (m_kind == PictureKind::kTokenLayer) return;
    const int col = m_kind == PictureKind::kLayerExpert ? m_picture.col_of(of) : -1, row = m_picture.row_of(of);
    if (row >= 0) marks.push_back({col, row, context.theme.warning, 1.5f * context.scale});
}

void HeatmapPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace)) return;
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    Pick pick = effective_pick(trace, context.selected);
    toolbar(context, pick);
    m_picture.update(trace, spec(context, pick));
    m_range = color_range(m_picture, trace.info().router, context.settings.auto_range);
    caption_on_line(picture_legend(context, m_picture));

    if (m_as_table) {
        const int clicked = table_view("table", picture_table(m_picture, trace, pick), ImGui::GetContentRegionAvail());
        if (clicked >= 0) select_cell(context, clicked, -1);
        return;
    }
    const float unit = ImGui::GetFontSize();
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const float bar_width = unit * 5.4f, gap = ImGui::GetStyle().ItemSpacing.x;
    const bool bar_beside = room.x > unit * 24;
    const ImVec2 size{std::max(unit * 4, bar_beside ? room.x - bar_width - gap : room.x), std::max(unit * 4, bar_beside ? room.y : room.y - unit * 3)};
    std::vector<HeatmapMark> marks;
    const auto mark = [&](const Pick& of, ImU32 color, float thickness) {
        const int col = m_picture.col_of(of), row = m_picture.row_of(of);
        if (col >= 0 || row >= 0) marks.push_back({col, row, color, thickness * context.scale});
    };
    for (const Pick& of : ablated_picks(context)) mark_ablated(of, marks, context);
    mark(context.hovered, context.theme.hover, 1.0f);
    mark(context.selected, context.theme.selection, 2.0f);
    const HeatmapHit hit = m_heatmap->draw(kIds[static_cast<size_t>(m_kind)], signed_input(context), view(), size, marks);
    react(context, hit);
    if (bar_beside) ImGui::SameLine(0, gap);
    color_bar("bar", context.settings.map, m_range.low, m_range.high, value_title(m_picture.spec()), bar_beside ? ImVec2(bar_width, room.y) : ImVec2(room.x, unit * 2.5f));
}

}  // namespace

std::unique_ptr<View> make_heatmap_view() { return std::make_unique<HeatmapPanel>(); }

}  // namespace app
