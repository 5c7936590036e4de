// Which layers can do with fewer experts: a map of layers × k on a text of the user's, and the cheapest k for every layer under a budget, checked by
// real runs and shown beside one k for all.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/sensitivity_parts.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/tune_export.h"
#include "imgui_stdlib.h"

namespace app {
namespace {

constexpr const char* kQuantities[] = {"KL to native", "perplexity", "same top token"};     // order of SensitivityQuantity
constexpr const char* kBudgets[] = {"KL at most", "perplexity at most", "bytes at most"};    // order of gs::BudgetKind
constexpr const char* kShapes[] = {"map", "table"};
constexpr const char* kLengths[] = {"128 tokens", "256 tokens", "512 tokens", "1024 tokens", "2048 tokens"};
constexpr int kLengthValues[] = {128, 256, 512, 1024, 2048};
constexpr const char* kGrids[] = {"some k", "all k"};

class SensitivityPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void text_controls(ViewContext& context);
    std::string text_of(const ViewContext& context) const;
    std::string name_of_text() const;
    bool is_own_text() const { return m_text + 1 == static_cast<int>(m_text_names.size()); }   ///< the last of the list
    void measure(ViewContext& context);
    void show_controls(const gs::SensitivityMap& map);
    void picture(ViewContext& context, const gs::SensitivityMap& map, ImVec2 size);
    void schedule(ViewContext& context, ImVec2 room);
    void budget_controls();
    void actions(ViewContext& context);
    void copy_menu(ViewContext& context);
    void start_from(const SchedulePlans& plans, const gs::ScheduleResult* checked);
    ScheduleShown shown(const ViewContext& context) const;
    gs::Budget budget() const { return {static_cast<gs::BudgetKind>(m_kind), m_limits[static_cast<size_t>(m_kind)]}; }

    std::vector<std::string> m_text_names;                 ///< bundled samples, then "text of the run", "own text"
    int m_text = 0, m_length = 1, m_grid = 0;
    std::string m_own_text, m_problem;
    SensitivityQuantity m_quantity = SensitivityQuantity::kKl;
    bool m_log = true, m_table = false;
    int m_kind = 0;
    std::array<double, 3> m_limits{};                      ///< per kind of budget
    SchedulePlans m_plans;
    ScheduleShown m_shown;
    std::unique_ptr<Heatmap> m_heatmap;
    HeatmapView m_view;
    std::shared_ptr<const gs::SensitivityMap> m_drawn;     ///< of the last frame
    uint64_t m_revision = 0;
};

std::string SensitivityPanel::text_of(const ViewContext& context) const {
    if (is_own_text()) return m_own_text;
    if (m_text + 2 == static_cast<int>(m_text_names.size())) {   // of the run
        const gs::TraceSnapshot& trace = context.what_if.run_trace();
        std::string text;
        for (int t = 0; t < trace.n_tokens(); ++t)
            if (!trace.token(t).special) text += trace.token(t).text;
        return text;
    }
    const gs::Result<std::string> text = bundled_text(m_text_names[static_cast<size_t>(m_text)]);
    return text ? *text : "";
}

/// As the list has it, without the dots that ask to open something.
std::string SensitivityPanel::name_of_text() const {
    return is_own_text() ? "own text" : m_text_names[static_cast<size_t>(m_text)];
}

void SensitivityPanel::measure(ViewContext& context) {
    const std::string text = text_of(context);
    m_problem = text.empty() ? "There is no text: choose a sample, or write your own." : "";
    if (!m_problem.empty()) return;
    const gs::RouterSpec& router = context.state.model->spec.router;
    std::vector<int> ks = gs::default_k_grid(router);
    if (m_grid == 1) {
        ks.clear();
        for (int k = 1; k <= router.n_experts; ++k) ks.push_back(k);
    }
    context.session.request_sensitivity({.text = text, .text_name = name_of_text(), .ks = ks, .max_tokens = kLengthValues[m_length]});
}

void SensitivityPanel::text_controls(ViewContext& context) {
    if (m_text_names.empty()) {
        m_text_names = bundled_text_names();
        const auto prose = std::find(m_text_names.begin(), m_text_names.end(), "prose");
        m_text = prose == m_text_names.end() ? 0 : static_cast<int>(prose - m_text_names.begin());
        m_text_names.insert(m_text_names.end(), {"text of the run", "own text…"});
    }
    std::vector<const char*> names;
    for (const std::string& name : m_text_names) names.push_back(name.c_str());
    label("Text");
    if (name_combo("###text", names, m_text, "What the map is measured on: a bundled sample, the text of the run on screen, or your own") && is_own_text())
        ImGui::OpenPopup("own_text");
    if (is_own_text()) {
        same_line_if_fits(button_width("Edit…"));
        if (ImGui::Button("Edit…###edit")) ImGui::OpenPopup("own_text");
        tooltip("Write or paste the text");
    }
    if (ImGui::BeginPopup("own_text")) {
        if (ImGui::IsWindowAppearing()) ImGui::SetKeyboardFocusHere();
        ImGui::InputTextMultiline("###own", &m_own_text, {ImGui::GetFontSize() * 36, ImGui::GetFontSize() * 14}, ImGuiInputTextFlags_WordWrap);
        if (ImGui::Button("Done###done")) ImGui::CloseCurrentPopup();
        ImGui::EndPopup();
    }
    same_line_if_fits(name_combo_width(kLengths));
    name_combo("###length", kLengths, m_length, "At most so many tokens from the beginning of the text. More tokens: steadier figures, longer work.");
    same_line_if_fits(name_combo_width(kGrids));
    name_combo("###grid", kGrids, m_grid, "Some k: every k of up to 8 experts, else up to the native k, and 1.5, 2 and 4 times it. All k: from 1 to all experts.");
    const bool mapping = context.state.activity == gs::Activity::kMapping;
    same_line_if_fits(icon_button_width("Measure"));
    ImGui::BeginDisabled(!context.state.can_run());
    if (icon_button("###measure", mapping ? Icon::kStop : Icon::kPlay, mapping ? "Stop" : "Measure", !mapping)) {
        if (mapping)
            context.session.cancel();
        else
            measure(context);
    }
    ImGui::EndDisabled();
    tooltip(context.state.can_run() ? "Changes k in one layer at a time and measures what the text loses against native routing" : "Needs a loaded model");
    if (mapping) {
        same_line_if_fits(ImGui::GetFontSize() * 12);
        ImGui::ProgressBar(static_cast<float>(std::max(context.state.progress, 0.0)), {ImGui::GetFontSize() * 12, 0}, context.state.progress_text.c_str());
    }
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
    caption_on_line(fmt::format("{}{} tokens scored; outlined: the layer's own k{}{}", map.text_name.empty() ? "" : map.text_name + ": ", map.unchanged.n_scored, hatched ? " (hatched: KL 0)" : "", map.complete ? "" : "; not complete"));
}

void SensitivityPanel::picture(ViewContext& context, const gs::SensitivityMap& map, ImVec2 size) {
    const gs::LayerSchedule* schedule = m_plans.ready() ? m_shown.schedule() : nullptr;
    if (m_table) {
        const int clicked = draw_sensitivity_table(context, map, m_quantity, schedule, size);
        if (clicked >= 0) context.selected.moe_layer = clicked;
        return;
    }
    if (!m_heatmap) m_heatmap = std::make_unique<Heatmap>(context.heatmaps);
    const ValueRange range = sensitivity_range(map, m_quantity, m_log);
    HeatmapInput in;
    in.n_cols = map.n_layers();
    in.n_rows = map.n_ks();
    in.revision = m_revision * 8 + static_cast<uint64_t>(m_quantity) * 2 + (m_log ? 1 : 0);
    in.low = range.low;
    in.high = range.high;
    in.map = context.settings.map;
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
        paths.push_back({steps, m_shown.checked ? context.theme.ok : context.theme.what_if, m_shown.checked ? 3.0f : 2.0f});
    }
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x, bar_width = unit * 6;
    const bool beside = size.x > unit * 24;
    const ImVec2 map_size = beside ? ImVec2(size.x - bar_width - gap, size.y) : ImVec2(size.x, std::max(unit * 4, size.y - unit * 3));
    const HeatmapHit hit = m_heatmap->draw("sensitivity", in, m_view, map_size, marks, paths);
    if (hit.hovered) {
        context.hovered_next.moe_layer = hit.col;
        sensitivity_card(map, hit.col, map.n_ks() - 1 - hit.row, schedule);
    }
    if (hit.clicked) context.selected.moe_layer = hit.col;
    if (hit.move_cols != 0) context.selected.moe_layer = std::clamp(std::max(context.selected.moe_layer, 0) + hit.move_cols, 0, map.n_layers() - 1);
    if (beside) ImGui::SameLine(0, gap);
    color_bar("bar", context.settings.map, range.low, range.high, title_of(m_quantity, m_log), beside ? ImVec2(bar_width, size.y) : ImVec2(size.x, unit * 2.5f));
}

/// A budget that every kind can begin with: what the largest k below the native one costs. A schedule that is there already brings its own.
void SensitivityPanel::start_from(const SchedulePlans& plans, const gs::ScheduleResult* checked) {
    for (int kind = 0; kind < 3; ++kind) m_limits[static_cast<size_t>(kind)] = plans.limits(static_cast<gs::BudgetKind>(kind)).start;
    if (!checked) return;
    m_kind = static_cast<int>(checked->budget.kind);
    m_limits[static_cast<size_t>(m_kind)] = checked->budget.limit;
}

ScheduleShown SensitivityPanel::shown(const ViewContext& context) const {
    ScheduleShown out{.budget = budget(), .planned = m_plans.plan(budget()), .uniform = gs::best_uniform(m_plans.map(), budget())};
    const gs::ScheduleResult* newest = context.state.schedule.get();
    if (newest && newest->budget == out.budget) out.checked = newest;
    return out;
}

void SensitivityPanel::budget_controls() {
    name_combo("###budget_kind", kBudgets, m_kind,
               "KL or perplexity at most: the schedule that reads the fewest weights. Bytes at most: the one with the smallest KL.");
    const auto kind = static_cast<gs::BudgetKind>(m_kind);
    const SchedulePlans::Limits limits = m_plans.limits(kind);
    const double scale = kind == gs::BudgetKind::kBytes ? 1e6 : 1;
    double value = m_limits[static_cast<size_t>(m_kind)] / scale, low = limits.low / scale, high = limits.high / scale;
    same_line_if_fits(ImGui::GetFontSize() * 10);
    ImGui::SetNextItemWidth(std::max(ImGui::GetFontSize() * 6, ImGui::GetContentRegionAvail().x));
    const char* const format = kind == gs::BudgetKind::kKl ? "%.4f nats" : kind == gs::BudgetKind::kBytes ? "%.2f MB" : "%.3f";
    const ImGuiSliderFlags flags = kind == gs::BudgetKind::kKl ? ImGuiSliderFlags_Logarithmic | ImGuiSliderFlags_NoRoundToFormat : ImGuiSliderFlags_NoRoundToFormat;
    if (ImGui::SliderScalar("###budget", ImGuiDataType_Double, &value, &low, &high, format, flags)) m_limits[static_cast<size_t>(m_kind)] = value * scale;
    tooltip("The budget. Drag it: the line on the map follows, from predictions. Ctrl+click to type a number.");
}

void SensitivityPanel::copy_menu(ViewContext& context) {
    const gs::LayerSchedule* schedule = m_shown.schedule();
    const gs::ModelSpec& spec = context.state.model->spec;
    const gs::SensitivityMap& map = m_plans.map();
    const auto item = [](const char* name, const char* explanation, bool enabled) {
        const bool chosen = ImGui::MenuItem(name, nullptr, false, enabled);
        tooltip(explanation);
        return chosen;
    };
    if (item("Policy###policy", "For --policy and the Layers panel", schedule != nullptr))
        ImGui::SetClipboardText(gs::policy_of(map, spec.router, *schedule).to_text().c_str());
    const std::string line = m_shown.uniform < 0 ? "" : gs::override_kv_line(spec, map.ks[static_cast<size_t>(m_shown.uniform)]);
    if (item("Option for llama.cpp###llama_cpp", m_shown.uniform < 0 ? "No single k keeps the budget" : (line + "\nThe best single k: llama.cpp knows no k of single layers.").c_str(),
             m_shown.uniform >= 0))
        ImGui::SetClipboardText(line.c_str());
    const char* const needs_run = m_shown.checked ? "What the runs gave" : "Check it by runs first";
    if (item("Schedule as CSV###schedule_csv", needs_run, m_shown.checked != nullptr)) ImGui::SetClipboardText(gs::schedule_csv(map, *m_shown.checked).c_str());
    if (item("Schedule as JSON###schedule_json", needs_run, m_shown.checked != nullptr))
        ImGui::SetClipboardText(gs::schedule_json(map, *m_shown.checked, spec).dump(1).c_str());
}

void SensitivityPanel::actions(ViewContext& context) {
    const bool checking = context.state.activity == gs::Activity::kScheduling;
    ImGui::BeginDisabled(!m_shown.planned && !checking);
    if (icon_button("###check", checking ? Icon::kStop : Icon::kPlay, checking ? "Stop" : "Check by runs", !checking && !m_shown.checked)) {
        if (checking)
            context.session.cancel();
        else
            context.session.request_schedule(m_shown.budget);
    }
    ImGui::EndDisabled();
    tooltip("Runs the schedule on the map's text, and its neighbours until the cheapest is found that keeps the budget as measured");
    const gs::LayerSchedule* schedule = m_shown.schedule();
    const gs::RouterSpec& router = context.state.model->spec.router;
    const gs::SensitivityMap& map = m_plans.map();
    ImGui::BeginDisabled(schedule == nullptr);
    same_line_if_fits(button_width("Apply"));
    if (ImGui::Button("Apply###apply") && schedule) apply_policy(context, gs::policy_of(map, router, *schedule));
    tooltip("Makes it the policy in force and runs the prompt again; Ctrl+Z goes back. The Layers panel changes single layers of it.");
    ImGui::EndDisabled();
    same_line_if_fits(button_width("Copy…"));
    if (ImGui::Button("Copy…###copy")) ImGui::OpenPopup("copy_menu");
    tooltip("The policy as text, the option for llama.cpp, the schedule as CSV or JSON");
    if (ImGui::BeginPopup("copy_menu")) {
        copy_menu(context);
        ImGui::EndPopup();
    }
    if (checking) ImGui::ProgressBar(static_cast<float>(std::max(context.state.progress, 0.0)), {-1, 0}, context.state.progress_text.c_str());
}

void SensitivityPanel::schedule(ViewContext& context, ImVec2 room) {
    budget_controls();
    actions(context);
    draw_schedule_figures(context, m_plans.map(), m_shown);
    const float unit = ImGui::GetFontSize(), left = room.y - (ImGui::GetCursorPosY() - ImGui::GetCursorStartPos().y);
    if (left > unit * 9 && room.x > unit * 14) draw_schedule_curve(context, m_plans, m_shown, {-1, left});
}

void SensitivityPanel::draw(ViewContext& context) {
    const gs::SessionState& state = context.state;
    const auto& map = state.sensitivity;
    if (state.model && !state.model->spec.is_moe()) {
        empty_state("A dense model", "It has no routed experts, so there is no k to change.", nullptr);
        return;
    }
    text_controls(context);
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
    m_plans.set_map(map);
    if (m_plans.take_new()) start_from(m_plans, state.schedule.get());
    if (m_plans.ready()) m_shown = shown(context);
    show_controls(*map);
    const float unit = ImGui::GetFontSize(), gap = ImGui::GetStyle().ItemSpacing.x;
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const bool planned = m_plans.ready() && state.model;
    if (!planned) return picture(context, *map, {room.x, std::max(unit * 6, room.y)});
    if (room.x > unit * 46 && room.y > unit * 12) {
        const float side = std::clamp(room.x * 0.38f, unit * 22, unit * 34);
        picture(context, *map, {room.x - side - 2 * gap, room.y});
        ImGui::SameLine(0, gap);
        if (ImGui::BeginChild("###schedule", {side + gap, room.y})) schedule(context, ImGui::GetContentRegionAvail());
        ImGui::EndChild();
        return;
    }
    picture(context, *map, {room.x, std::max(unit * 8, room.y * 0.45f)});
    if (ImGui::BeginChild("###schedule", {0, std::max(unit * 6, ImGui::GetContentRegionAvail().y)})) schedule(context, ImGui::GetContentRegionAvail());
    ImGui::EndChild();
}

}  // namespace

std::unique_ptr<View> make_sensitivity_view() { return std::make_unique<SensitivityPanel>(); }

}  // namespace app
