// The gating heatmap: token x expert at a layer, layer x expert over the run or for one token, token x layer. Live while a run generates.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>

#include "app/views/ablation_parts.h"
#include "app/views/chart_tables.h"
#include "app/views/choice_signs.h"
#include "app/views/expert_menu.h"
#include "app/views/heatmap_panel_card.h"
#include "app/views/heatmap_panel_controls.h"
#include "app/views/heatmap_panel_picture.h"
#include "app/views/pick_card.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
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
    HeatmapInput signed_input(const ViewContext& context);
    std::optional<HeatmapOnDevice> on_device(const ViewContext& context) const;
    HeatmapInput input(const ViewContext& context) const;
    void react(ViewContext& context, const HeatmapHit& hit);
    void context_menu(ViewContext& context);
    void move_selection(ViewContext& context, const HeatmapHit& hit);
    void select_cell(ViewContext& context, int col, int row);
    std::string column_csv(int col) const;
    void mark_ablated(const Pick& of, std::vector<HeatmapMark>& marks, const ViewContext& context) const;

    HeatmapChoice m_choice;
    RoutePicture m_picture;
    ChoiceSigns m_signs;
    gs::ChoiceReader m_choices;
    std::unique_ptr<Heatmap> m_heatmap;
    ValueRange m_range;
    int m_menu_col = -1, m_menu_row = -1;
};

constexpr const char* kIds[] = {"token_expert", "layer_expert", "token_layer"};

/// "token_expert", and "token_expert@12+40,0+16" when only some columns and rows are in sight: first + how many of each, 0 = all.
std::string HeatmapPanel::zoom() const {
    const HeatmapView& v = m_choice.view();
    const bool all = v.n_cols_shown <= 0 && v.n_rows_shown <= 0;
    const std::string kind = kIds[static_cast<size_t>(m_choice.kind)];
    return all ? kind : fmt::format("{}@{:.3f}+{:.3f},{:.3f}+{:.3f}", kind, v.first_col, v.n_cols_shown, v.first_row, v.n_rows_shown);
}

void HeatmapPanel::set_zoom(const std::string& text) {
    const std::string kind = text.substr(0, text.find('@'));
    for (size_t i = 0; i < std::size(kIds); ++i)
        if (kind == kIds[i]) m_choice.kind = static_cast<PictureKind>(i);
    HeatmapView wanted;
    double part[4] = {};
    if (text.size() > kind.size() && std::sscanf(text.c_str() + kind.size(), "@%lf+%lf,%lf+%lf", &part[0], &part[1], &part[2], &part[3]) == 4 &&
        std::all_of(std::begin(part), std::end(part), [](double p) { return p >= 0 && p < 1e9; }))
        wanted = {.first_col = part[0], .n_cols_shown = part[1], .first_row = part[2], .n_rows_shown = part[3], .follow = part[1] == 0};
    m_choice.view() = wanted;
}

PictureSpec HeatmapPanel::spec(const ViewContext& context, const Pick& pick) const {
    PictureSpec spec;
    spec.kind = m_choice.kind;
    spec.quantity = context.settings.quantity;
    spec.scalar = m_choice.scalar;
    spec.over_run = m_choice.over_run;
    spec.moe_layer = pick.moe_layer;
    spec.token = pick.token;
    spec.phase = context.settings.phase;
    return spec;
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
    if (m_choice.kind == PictureKind::kLayerExpert) {
        in.col_label = number;
        in.col_title = "expert";
    } else {
        in.col_label = token;
        in.col_title = "token";
    }
    in.row_label = number;
    in.row_title = m_choice.kind == PictureKind::kTokenExpert ? "expert" : "layer";
    return in;
}

HeatmapInput HeatmapPanel::signed_input(const ViewContext& context) {
    HeatmapInput in = input(context);
    const gs::LogitError error{context.settings.logit_error};
    if (context.settings.choice_signs && context.what_if.trace().has_logits() && m_choice.can_have_signs())
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
    std::string csv = fmt::format("{},{}\n", m_choice.kind == PictureKind::kTokenExpert ? "expert" : "layer", value_title(m_picture.spec()));
    for (int row = 0; row < m_picture.n_rows(); ++row) csv += fmt::format("{},{:.9g}\n", row, m_picture.value(col, row));
    return csv;
}

void HeatmapPanel::context_menu(ViewContext& context) {
    if (!ImGui::BeginPopup("cell_menu")) return;
    const bool valid = m_menu_col >= 0 && m_menu_col < m_picture.n_cols() && m_menu_row >= 0 && m_menu_row < m_picture.n_rows();
    const auto item = [](const char* text, const char* explanation) {
        const bool chosen = ImGui::MenuItem(text);
        tooltip(explanation);
        return chosen;
    };
    if (valid) {
        expert_menu_items(context, m_picture.pick_of(m_menu_col, m_menu_row));
        ImGui::Separator();
        if (item("Copy value###value", "The stored value, with all its digits")) ImGui::SetClipboardText(format_exact(m_picture.value(m_menu_col, m_menu_row)).c_str());
        if (item("Copy column as CSV###column", "A line per cell of this column")) ImGui::SetClipboardText(column_csv(m_menu_col).c_str());
    }
    if (item("Clear selection###clear", "No token, layer or expert is selected then (Esc)")) context.selected = {};
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
    if (m_choice.kind == PictureKind::kTokenLayer) return;
    const int col = m_choice.kind == PictureKind::kLayerExpert ? m_picture.col_of(of) : -1, row = m_picture.row_of(of);
    if (row >= 0) marks.push_back({col, row, context.theme.warning, 1.5f * context.scale});
}

void HeatmapPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace)) return;
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    Pick pick = effective_pick(trace, context.selected);
    draw_heatmap_controls(context, m_choice, pick);
    m_picture.update(trace, spec(context, pick));
    m_range = color_range(m_picture, trace.info().router, context.settings.auto_range);
    caption_on_line(picture_legend(context, m_picture));

    if (m_choice.as_table) {
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
    const HeatmapHit hit = m_heatmap->draw(kIds[static_cast<size_t>(m_choice.kind)], signed_input(context), m_choice.view(), size, marks);
    react(context, hit);
    if (bar_beside) ImGui::SameLine(0, gap);
    color_bar("bar", context.settings.map, m_range.low, m_range.high, value_title(m_picture.spec()), bar_beside ? ImVec2(bar_width, room.y) : ImVec2(room.x, unit * 2.5f));
}

}  // namespace

std::unique_ptr<View> make_heatmap_view() { return std::make_unique<HeatmapPanel>(); }

}  // namespace app
