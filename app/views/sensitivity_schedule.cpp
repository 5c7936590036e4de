#include "app/views/sensitivity_schedule.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/job_controls.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/tune_export.h"
#include "imgui_internal.h"

namespace app {
namespace {

constexpr const char* kBudgets[] = {"KL at most", "perplexity at most", "bytes at most"};    // order of gs::BudgetKind
constexpr const char* kHalves[] = {"figures", "curve"};

}  // namespace

/// Where nothing was asked for: what the largest k below the native one costs.
double SchedulePane::limit(const TuneChoice& tune) const {
    const double asked = tune.limits[static_cast<size_t>(tune.budget)];
    return asked > 0 ? asked : m_plans.limits(tune.budget).start;
}

void SchedulePane::follow(ViewContext& context) {
    m_plans.set_map(context.state.sensitivity);
    const auto& newest = context.state.schedule;
    if (m_plans.take_new()) {
        m_edits.clear();
        m_checked.clear();
        context.settings.tune.limits = {};
        if (newest) {   // a schedule that is there already brings its budget
            context.settings.tune.budget = newest->budget.kind;
            context.settings.tune.limits[static_cast<size_t>(newest->budget.kind)] = newest->budget.limit;
        }
    }
    if (!ready()) return;
    m_budget = {context.settings.tune.budget, limit(context.settings.tune)};
    if (newest && (m_checked.empty() || m_checked.back() != newest)) m_checked.push_back(newest);
    m_shown = shown();
    m_saver.draw(context);
}

/// What was run for this budget: the schedule made by hand, or what the search found.
const gs::ScheduleResult* SchedulePane::checked_of(const gs::Budget& budget) const {
    const std::optional<ScheduleEdits::Ks>& by_hand = m_edits.now();
    for (auto it = m_checked.rbegin(); it != m_checked.rend(); ++it) {
        const gs::ScheduleResult& r = **it;
        if (r.budget == budget && (by_hand ? r.schedule.ks == *by_hand : !r.given)) return &r;
    }
    return nullptr;
}

ScheduleShown SchedulePane::shown() const {
    const gs::Budget& limit = m_budget;
    ScheduleShown out{.budget = limit, .checked = checked_of(limit), .uniform = gs::best_uniform(m_plans.map(), limit)};
    if (m_edits.now()) {
        out.by_hand = true;
        out.planned = gs::LayerSchedule{.ks = *m_edits.now(), .predicted = m_plans.predict(limit.kind, *m_edits.now())};
    } else {
        out.planned = m_plans.plan(limit);
    }
    return out;
}

void SchedulePane::paint(int moe_layer, int k) {
    const gs::LayerSchedule* from = schedule();
    if (!from) return;
    m_edits.paint(from->ks, static_cast<size_t>(moe_layer), k);
    m_edited_last = true;
    m_shown = shown();
}

void SchedulePane::step(int moe_layer, int by) {
    const gs::LayerSchedule* from = schedule();
    if (!from || moe_layer < 0 || moe_layer >= static_cast<int>(from->ks.size())) return;
    const gs::SensitivityMap& map = m_plans.map();
    const int column = std::clamp(map.column_of(from->ks[static_cast<size_t>(moe_layer)]) + by, 0, map.n_ks() - 1);
    paint(moe_layer, map.ks[static_cast<size_t>(column)]);
    end_stroke();
}

void SchedulePane::use_keys() {
    if (!m_edited_last || !ImGui::IsWindowFocused(ImGuiFocusedFlags_RootAndChildWindows) || ImGui::GetIO().WantTextInput || !ImGui::GetIO().KeyCtrl) return;
    const bool shift = ImGui::GetIO().KeyShift;
    const auto take = [](ImGuiKey key) {
        ImGui::SetKeyOwner(key, ImGui::GetID("###edits"));           // else the policy would go back as well
        return ImGui::IsKeyPressed(key, ImGuiInputFlags_Repeat, ImGui::GetID("###edits"));
    };
    if (m_edits.can_undo() && !shift && take(ImGuiKey_Z)) m_edits.undo();
    else if (m_edits.can_redo() && shift && take(ImGuiKey_Z)) m_edits.redo();
    if (m_edits.can_redo() && take(ImGuiKey_Y)) m_edits.redo();
}

void SchedulePane::budget_controls(TuneChoice& tune) {
    int index = static_cast<int>(tune.budget);
    name_combo("###budget_kind", kBudgets, index,
               "KL or perplexity at most: the schedule that reads the fewest weights. Bytes at most: the one with the smallest KL.");
    const auto kind = tune.budget = static_cast<gs::BudgetKind>(index);
    const SchedulePlans::Limits limits = m_plans.limits(kind);
    const double scale = kind == gs::BudgetKind::kBytes ? 1e6 : 1;
    double value = limit(tune) / scale, low = limits.low / scale, high = limits.high / scale;
    same_line_if_fits(ImGui::GetFontSize() * 10);
    ImGui::SetNextItemWidth(std::max(ImGui::GetFontSize() * 6, ImGui::GetContentRegionAvail().x));
    const char* const format = kind == gs::BudgetKind::kKl ? "%.4f nats" : kind == gs::BudgetKind::kBytes ? "%.2f MB" : "%.3f";
    const ImGuiSliderFlags flags = kind == gs::BudgetKind::kKl ? ImGuiSliderFlags_Logarithmic | ImGuiSliderFlags_NoRoundToFormat : ImGuiSliderFlags_NoRoundToFormat;
    if (ImGui::SliderScalar("###budget", ImGuiDataType_Double, &value, &low, &high, format, flags)) tune.limits[static_cast<size_t>(index)] = value * scale;
    tooltip("The budget. Drag it: the line on the map follows, from predictions. Ctrl+click to type a number.");
}

void SchedulePane::copy_menu(ViewContext& context) {
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
    if (item("Save policy…###save_policy", "The same line to a text file", schedule != nullptr))
        m_saver.ask(gs::policy_of(map, spec.router, *schedule).to_text() + "\n", "schedule.txt");
    const std::string line = m_shown.uniform < 0 ? "" : gs::override_kv_line(spec, map.ks[static_cast<size_t>(m_shown.uniform)]);
    if (item("Option for llama.cpp###llama_cpp", m_shown.uniform < 0 ? "No single k keeps the budget" : (line + "\nThe best single k: llama.cpp knows no k of single layers.").c_str(),
             m_shown.uniform >= 0))
        ImGui::SetClipboardText(line.c_str());
    const char* const needs_run = m_shown.checked ? "What the runs gave" : "Check it by runs first";
    if (item("Schedule as CSV###schedule_csv", needs_run, m_shown.checked != nullptr)) ImGui::SetClipboardText(gs::schedule_csv(map, *m_shown.checked).c_str());
    if (item("Schedule as JSON###schedule_json", needs_run, m_shown.checked != nullptr))
        ImGui::SetClipboardText(gs::schedule_json(map, *m_shown.checked, spec).dump(1).c_str());
}

/// Only where something was changed by hand: what the budget asks for needs none of it.
void SchedulePane::edit_buttons() {
    const auto button = [](const char* name, const char* explanation, bool enabled) {
        ImGui::BeginDisabled(!enabled);
        same_line_if_fits(button_width(name));
        const bool pressed = ImGui::Button(name);
        ImGui::EndDisabled();
        tooltip(explanation);
        return pressed;
    };
    if (button("Undo###undo", "The change by hand before (Ctrl+Z in this panel)", m_edits.can_undo())) m_edits.undo();
    if (button("Redo###redo", "The change that was undone (Ctrl+Y in this panel)", m_edits.can_redo())) m_edits.redo();
    if (button("Reset###reset", "Back to the schedule found for the budget; Undo brings the changes back", m_edits.now().has_value())) m_edits.reset();
}

void SchedulePane::actions(ViewContext& context) {
    const char* const explanation = m_shown.by_hand ? "Runs the schedule as you made it on the map's text, beside the best single k for the budget"
                                                    : "Runs the schedule on the map's text, and its neighbours until the cheapest is found that keeps the budget as measured";
    if (job_button(context, {gs::Activity::kScheduling, "###check", "Check by runs", explanation, m_shown.planned.has_value(), !m_shown.checked}))
        context.session.request_schedule(m_shown.budget, m_edits.now() ? *m_edits.now() : std::vector<int>{});
    const gs::LayerSchedule* schedule = m_shown.schedule();
    const gs::RouterSpec& router = context.state.model->spec.router;
    const gs::SensitivityMap& map = m_plans.map();
    ImGui::BeginDisabled(schedule == nullptr);
    same_line_if_fits(button_width("Apply"));
    if (ImGui::Button("Apply###apply") && schedule) {
        apply_policy(context, gs::policy_of(map, router, *schedule));
        m_edited_last = false;
    }
    tooltip("Makes it the policy in force and runs the prompt again; Ctrl+Z goes back. The Layers panel changes single layers of it.");
    ImGui::EndDisabled();
    same_line_if_fits(button_width("Copy…"));
    if (ImGui::Button("Copy…###copy")) ImGui::OpenPopup("copy_menu");
    tooltip("The policy as text or to a file, the option for llama.cpp, the schedule as CSV or JSON");
    if (ImGui::BeginPopup("copy_menu")) {
        copy_menu(context);
        ImGui::EndPopup();
    }
    if (m_edits.can_undo() || m_edits.can_redo()) edit_buttons();
    if (context.state.activity == gs::Activity::kScheduling)
        ImGui::ProgressBar(static_cast<float>(std::max(context.state.progress, 0.0)), {-1, 0}, context.state.progress_text.c_str());
}

void SchedulePane::draw(ViewContext& context, ImVec2 room) {
    budget_controls(context.settings.tune);
    actions(context);
    const float unit = ImGui::GetFontSize(), line = ImGui::GetTextLineHeightWithSpacing();
    const auto left = [&] { return room.y - (ImGui::GetCursorPosY() - ImGui::GetCursorStartPos().y); };
    const bool compact = left() < figures_height(m_shown) && room.x > unit * 23;
    const bool both = left() > figures_height(m_shown) + unit * 9 || room.x <= unit * 14;
    if (!both) {
        int half = m_curve ? 1 : 0;
        static constexpr const char* kExplained[] = {"What the schedule costs, beside native routing and one k for all", "What bytes buy: the cheapest schedules, one k for all, what was run"};
        same_line_if_fits(button_width(kHalves[0]) + button_width(kHalves[1]));
        if (segmented("half", kHalves, half, kExplained)) m_curve = half == 1;
    }
    if (both || !m_curve) draw_schedule_figures(context, m_plans.map(), m_shown, compact);
    if (room.x > unit * 14 && (both ? left() > unit * 9 : m_curve)) draw_schedule_curve(context, m_plans, m_shown, {-1, std::max(left(), line * 5)});
}

}  // namespace app
