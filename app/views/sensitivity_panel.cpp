// Which layers can do with fewer experts: a map of layers × k on a text of the user's, and the cheapest k for every layer under a budget, checked by
// real runs and shown beside one k for all.
#include <algorithm>

#include <fmt/format.h>

#include "app/views/job_controls.h"
#include "app/views/route_data_ui.h"
#include "app/views/sensitivity_parts.h"
#include "app/views/sensitivity_schedule.h"
#include "app/views/text_chooser.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/k_grid.h"
#include "engine/run/tune_export.h"

namespace app {
namespace {

constexpr const char* kQuantities[] = {"KL to native", "perplexity", "same top token"};     // order of SensitivityQuantity
constexpr const char* kShapes[] = {"map", "table"};
constexpr const char* kGrids[] = {"some k", "all k"};

class SensitivityPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void measure_controls(ViewContext& context);
    void measure(ViewContext& context);
    void show_controls(const gs::SensitivityMap& map);
    void picture(ViewContext& context, const gs::SensitivityMap& map, ImVec2 size);
    void heatmap(ViewContext& context, const gs::SensitivityMap& map, ImVec2 size, ValueRange range);
    void react(ViewContext& context, const gs::SensitivityMap& map, const HeatmapHit& hit);

    TextChooser m_text;
    std::string m_problem;
    SensitivityQuantity m_quantity = SensitivityQuantity::kKl;
    bool m_log = true, m_table = false;
    SchedulePane m_schedule;
    std::unique_ptr<Heatmap> m_heatmap;
    HeatmapView m_view;
    std::shared_ptr<const gs::SensitivityMap> m_drawn;     ///< of the last frame
    uint64_t m_revision = 0;
};

void SensitivityPanel::measure(ViewContext& context) {
    const std::string text = m_text.text(context);
    m_problem = text.empty() ? TextChooser::kNoText : "";
    if (!m_problem.empty()) return;
    const gs::RouterSpec& router = context.state.model->spec.router;
    std::vector<int> ks = gs::default_k_grid(router);
    if (context.settings.tune.map_every_k) {
        ks.clear();
        for (int k = 1; k <= router.n_experts; ++k) ks.push_back(k);
    }
    context.session.request_sensitivity({.text = text, .text_name = m_text.name(context), .ks = ks, .max_tokens = context.settings.measured_text.max_tokens});
}

void SensitivityPanel::measure_controls(ViewContext& context) {
    m_text.draw(context, "What the map is measured on: a bundled sample, the text of the run on screen, your own, or a file");
    same_line_if_fits(name_combo_width(kGrids));
    int grid = context.settings.tune.map_every_k ? 1 : 0;
    if (name_combo("###grid", kGrids, grid, "Some k: every k of up to 8 experts, else up to the native k, and 1.5, 2 and 4 times it. All k: from 1 to all experts."))
        context.settings.tune.map_every_k = grid == 1;
    same_line_if_fits(icon_button_width("Measure"));
    if (job_button(context, {gs::Activity::kMapping, "###measure", "Measure", "Changes k in one layer at a time and measures what the text loses against native routing"}))
        measure(context);
    job_progress(context, gs::Activity::kMapping);
    if (!m_problem.empty()) caption(m_problem);
}

void SensitivityPanel::show_controls(const gs::SensitivityMap& map) {
    int shape = m_table ? 1 : 0;
    static constexpr const char* kExplained[] = {"Layers across, k upwards, colour for the value", "The same figures as numbers"};
    if (segmented("shape", kShapes, shape, kExplained)) m_table = shape == 1;
    int quantity = static_cast<int>(m_quantity);
    same_line_if_fits(name_combo_width(kQuantities));
    if (name_combo("###quantity", kQuantities, quantity, "KL to native: mean divergence of the next-token distribution. Perplexity: of the text. Same top token: positions where the most probable token stays."))
        m_quantity = static_cast<SensitivityQuantity>(quantity);
    if (m_quantity == SensitivityQuantity::kKl && !m_table) {
        same_line_if_fits(button_width("log") + ImGui::GetFrameHeight());
        ImGui::Checkbox("log###log", &m_log);
        tooltip("Colours by the logarithm of KL: layers differ by orders of magnitude");
    }
    same_line_if_fits(button_width("CSV"));
    if (ImGui::Button("CSV###csv")) ImGui::SetClipboardText(gs::sensitivity_csv(map).c_str());
    tooltip("Copies a line per layer and k: KL, perplexity, agreement, bytes");
    same_line_if_fits(button_width("JSON"));
    if (ImGui::Button("JSON###json")) ImGui::SetClipboardText(gs::sensitivity_json(map).dump(1).c_str());
    tooltip("Copies the whole map, one k for all layers included");
    const bool hatched = m_quantity == SensitivityQuantity::kKl && m_log;
    caption_on_line(fmt::format("{}{} tokens scored; outlined: the layer's own k{}{}{}", map.text_name.empty() ? "" : map.text_name + ": ", map.unchanged.n_scored, hatched ? " (hatched: KL 0)" : "", m_schedule.schedule() && !m_table ? "; click or drag: the schedule's k" : "", map.complete ? "" : "; not complete"));
}

/// A click or a stroke changes the schedule's k, arrows move the layer and change its k; without a schedule only the layer is picked.
void SensitivityPanel::react(ViewContext& context, const gs::SensitivityMap& map, const HeatmapHit& hit) {
    const int column = map.n_ks() - 1 - hit.row;
    if (hit.hovered) {
        context.hovered_next.moe_layer = hit.col;
        sensitivity_card(map, hit.col, column, m_schedule.schedule());
    }
    if (hit.clicked || hit.painting) {
        context.selected.moe_layer = hit.col;
        m_schedule.paint(hit.col, map.ks[static_cast<size_t>(column)]);
    }
    if (!hit.painting) m_schedule.end_stroke();
    if (hit.move_cols != 0) context.selected.moe_layer = std::clamp(std::max(context.selected.moe_layer, 0) + hit.move_cols, 0, map.n_layers() - 1);
    if (hit.move_rows != 0) m_schedule.step(context.selected.moe_layer, -hit.move_rows);
}

void SensitivityPanel::heatmap(ViewContext& context, const gs::SensitivityMap& map, ImVec2 size, ValueRange range) {
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    const gs::LayerSchedule* schedule = m_schedule.schedule();
    HeatmapInput in;
    in.n_cols = map.n_layers();
    in.n_rows = map.n_ks();
    in.revision = m_revision * 8 + static_cast<uint64_t>(m_quantity) * 2 + (m_log ? 1 : 0);
    in.low = range.low;
    in.high = range.high;
    in.map = context.settings.map;
    in.paints = schedule != nullptr;
    in.fill_column = [&](int m, std::span<float> out) {
        for (int column = 0; column < map.n_ks(); ++column)
            out[static_cast<size_t>(row_of_column(map, column))] = sensitivity_value(map.cell(m, column), m_quantity, m_log);
    };
    in.col_label = [&map](int m) { return std::to_string(map.moe_layers[static_cast<size_t>(m)]); };
    in.row_label = [&map](int row) { return std::to_string(map.ks[static_cast<size_t>(map.n_ks() - 1 - row)]); };
    in.col_title = "layer";
    in.row_title = "k";
    std::vector<HeatmapMark> marks;
    for (int m = 0; m < map.n_layers(); ++m)
        marks.push_back({m, row_of_column(map, map.column_of(map.base_k[static_cast<size_t>(m)])), context.theme.text_dim, 1});
    if (context.hovered.moe_layer >= 0) marks.push_back({context.hovered.moe_layer, -1, context.theme.hover, 1});
    if (context.selected.moe_layer >= 0) marks.push_back({context.selected.moe_layer, -1, context.theme.selection, 1.5f});
    std::vector<int> steps;
    std::vector<HeatmapPath> paths;
    if (schedule) {
        for (const int k : schedule->ks) steps.push_back(row_of_column(map, map.column_of(k)));
        paths.push_back({steps, m_schedule.is_checked() ? context.theme.ok : context.theme.what_if, m_schedule.is_checked() ? 3.0f : 2.0f});
    }
    react(context, map, m_heatmap->draw("sensitivity", in, m_view, size, marks, paths));
}

void SensitivityPanel::picture(ViewContext& context, const gs::SensitivityMap& map, ImVec2 size) {
    if (m_table) {
        const int clicked = draw_sensitivity_table(context, map, m_quantity, m_schedule.schedule(), size);
        if (clicked >= 0) context.selected.moe_layer = clicked;
        return;
    }
    const ValueRange range = sensitivity_range(map, m_quantity, m_log);
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x, bar_width = unit * 6;
    const bool beside = size.x > unit * 24;
    heatmap(context, map, beside ? ImVec2(size.x - bar_width - gap, size.y) : ImVec2(size.x, std::max(unit * 4, size.y - unit * 3)), range);
    if (beside) ImGui::SameLine(0, gap);
    color_bar("bar", context.settings.map, range.low, range.high, title_of(m_quantity, m_log), beside ? ImVec2(bar_width, size.y) : ImVec2(size.x, unit * 2.5f));
}

void SensitivityPanel::draw(ViewContext& context) {
    const gs::SessionState& state = context.state;
    const auto& map = state.sensitivity;
    if (state.model && !state.model->spec.is_moe()) {
        empty_state("A dense model", "It has no routed experts, so there is no k to change.", nullptr);
        return;
    }
    measure_controls(context);
    if (!map || map->model_hash != (state.model ? state.model->hash : map->model_hash)) {
        const bool busy = state.activity == gs::Activity::kMapping;
        empty_state(busy ? "Measuring…" : "No map yet",
                    state.can_run() ? "Choose a text and press Measure: k is changed in one layer at a time, and the map shows what the text loses by it. From the map comes the "
                                      "cheapest k for every layer under a budget."
                                    : "The map needs a loaded model.", nullptr);
        return;
    }
    if (map != m_drawn) ++m_revision;
    m_drawn = map;
    m_schedule.follow(context);
    m_schedule.use_keys();
    show_controls(*map);
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x;
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const bool planned = m_schedule.ready() && state.model;
    if (!planned) return picture(context, *map, {room.x, std::max(unit * 6, room.y)});
    if (room.x > unit * 46 && room.y > unit * 12) {
        const float side = std::clamp(room.x * 0.45f, unit * 22, unit * 34);
        picture(context, *map, {room.x - side - 2 * gap, room.y});
        ImGui::SameLine(0, gap);
        if (ImGui::BeginChild("###schedule", {side + gap, room.y})) m_schedule.draw(context, ImGui::GetContentRegionAvail());
        ImGui::EndChild();
        return;
    }
    picture(context, *map, {room.x, std::max(unit * 8, room.y * 0.45f)});
    if (ImGui::BeginChild("###schedule", {0, std::max(unit * 6, ImGui::GetContentRegionAvail().y)})) m_schedule.draw(context, ImGui::GetContentRegionAvail());
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_sensitivity_view() { return std::make_unique<SensitivityPanel>(); }

}  // namespace app
