// What every k costs on a text of the user's: perplexity, KL, agreement, output error, speed and bytes as linked curves over k that fill in as they are
// computed. A click on a k makes it the policy.
#include <algorithm>

#include <fmt/format.h>

#include "app/views/job_controls.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/sweep_parts.h"
#include "app/views/text_chooser.h"
#include "app/views/text_saver.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/k_grid.h"
#include "engine/run/tune_export.h"

namespace app {
namespace {

constexpr const char* kShapes[] = {"curves", "table", "by layer"};
constexpr const char* kGrids[] = {"all k", "some k"};
constexpr const char* kBases[] = {"native", "policy in force"};

class SweepPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void measure_controls(ViewContext& context);
    void measure(ViewContext& context);
    void take(const std::shared_ptr<const gs::SweepResult>& sweep);
    void show_controls(ViewContext& context, const gs::SweepResult& sweep);
    void copy_menu(const gs::SweepResult& sweep);
    void k_controls(ViewContext& context, const gs::SweepResult& sweep);
    void facts(ViewContext& context, const gs::SweepResult& sweep);
    void use(ViewContext& context, const gs::SweepResult& sweep, int row);
    int lit_row(const gs::SweepResult& sweep) const;
    const gs::SweepResult* ghost(const ViewContext& context) const { return context.settings.ghosts ? m_ghost.get() : nullptr; }

    TextChooser m_text;
    TextSaver m_saver;
    int m_shape = 0;
    std::string m_problem;
    bool m_log = false, m_log_chosen = false;              ///< chosen: by the user; until then the figures decide
    int m_k = 0;                                           ///< of the stepper
    int m_hovered = -1;                                    ///< row under the pointer in the last frame
    std::shared_ptr<const gs::SweepResult> m_shown, m_ghost;
};

void SweepPanel::measure(ViewContext& context) {
    const std::string text = m_text.text(context);
    m_problem = text.empty() ? TextChooser::kNoText : "";
    if (!m_problem.empty()) return;
    const gs::RouterSpec& router = context.state.model->spec.router;
    gs::SweepRequest request{.text = text, .text_name = m_text.name(context), .max_tokens = context.settings.measured_text.max_tokens};
    if (!context.settings.tune.sweep_every_k) request.plan.ks = gs::default_k_grid(router);
    if (context.settings.tune.sweep_on_policy) request.plan.base = gs::with_uniform_k(context.state.policy, router.n_used);
    context.session.request_sweep(request);
}

void SweepPanel::measure_controls(ViewContext& context) {
    m_text.draw(context, "What k is swept on: a bundled sample, the text of the run on screen, your own, or a file");
    TuneChoice& tune = context.settings.tune;
    int grid = tune.sweep_every_k ? 0 : 1, base = tune.sweep_on_policy ? 1 : 0;
    same_line_if_fits(name_combo_width(kGrids));
    if (name_combo("###grid", kGrids, grid, "All k: from 1 to all experts. Some k: every k of up to 8 experts, else up to the native k, and 1.5, 2 and 4 times it."))
        tune.sweep_every_k = grid == 0;
    same_line_if_fits(name_combo_width(kBases) + ImGui::CalcTextSize("on top of").x);
    label("on top of");
    if (name_combo("###base", kBases, base, "What else routes: the model as trained, or the policy in force with its weight rule, temperatures, masks and forces. k replaces its k in every layer."))
        tune.sweep_on_policy = base == 1;
    same_line_if_fits(icon_button_width("Sweep"));
    if (job_button(context, {gs::Activity::kSweeping, "###sweep", "Sweep", "Runs the text under every k and measures it against native routing"})) measure(context);
    job_progress(context, gs::Activity::kSweeping);
    if (!m_problem.empty()) caption(m_problem);
}

/// The sweep before stays as a ghost where it is of the same text.
void SweepPanel::take(const std::shared_ptr<const gs::SweepResult>& sweep) {
    if (sweep == m_shown) return;
    if (!m_shown || sweep->id != m_shown->id) {
        const bool before = m_shown && comparable(*sweep, *m_shown);
        if (before || !m_ghost || !comparable(*sweep, *m_ghost)) m_ghost = before ? m_shown : nullptr;
        m_log_chosen = false;
        if (std::find(sweep->plan.ks.begin(), sweep->plan.ks.end(), m_k) == sweep->plan.ks.end()) m_k = 0;
    }
    m_shown = sweep;
    if (!m_log_chosen) m_log = wants_log(sweep_curve(*sweep, SweepFigure::kPerplexity, false));
}

int SweepPanel::lit_row(const gs::SweepResult& sweep) const {
    if (m_hovered >= 0 && m_hovered < static_cast<int>(sweep.rows.size())) return m_hovered;
    const int row = nearest_row(sweep, m_k > 0 ? m_k : sweep.native_k);
    return row >= 0 && (m_k <= 0 || sweep.rows[static_cast<size_t>(row)].policy.k == m_k) ? row : -1;
}

void SweepPanel::use(ViewContext& context, const gs::SweepResult& sweep, int row) {
    const gs::PolicyScore& s = sweep.rows[static_cast<size_t>(row)];
    m_k = s.policy.k;
    const bool is_native = s.policy.k == sweep.native_k && sweep.plan.base.is_native();
    const gs::Policy policy = is_native ? gs::Policy{} : s.policy;
    if (!(policy == context.state.policy)) apply_policy(context, policy);
}

/// The keyboard's way to what pointing at a curve does: choose a k, read its figures above the plots, use it.
void SweepPanel::k_controls(ViewContext& context, const gs::SweepResult& sweep) {
    const std::vector<int>& ks = sweep.plan.ks;
    const int shown = m_k > 0 ? m_k : sweep.native_k, row = nearest_row(sweep, shown);
    const auto at = std::lower_bound(ks.begin(), ks.end(), shown);
    int index = std::min(static_cast<int>(at - ks.begin()), static_cast<int>(ks.size()) - 1);
    const std::string text = fmt::format("k = {}", ks[static_cast<size_t>(index)]);
    const float width = ImGui::GetFontSize() * 7;
    const std::string use_label = fmt::format("Use {}###use", text);
    same_line_if_fits(width + button_width("Use k = 888"));
    ImGui::SetNextItemWidth(width);
    if (ImGui::SliderInt("###k", &index, 0, static_cast<int>(ks.size()) - 1, text.c_str(), ImGuiSliderFlags_NoInput)) m_k = ks[static_cast<size_t>(index)];
    tooltip("The k whose figures stand above the plots. Arrow keys change it when it is focused.");
    ImGui::SameLine();
    ImGui::BeginDisabled(row < 0 || sweep.rows[static_cast<size_t>(row)].policy.k != shown || !context.state.model);
    if (ImGui::Button(use_label.c_str())) use(context, sweep, row);
    ImGui::EndDisabled();
    tooltip("Makes it the policy in force and runs the prompt again; Ctrl+Z goes back. A click into a curve does the same.");
}

void SweepPanel::copy_menu(const gs::SweepResult& sweep) {
    const std::string name = fmt::format("sweep-{}", sweep.text_name.empty() ? "text" : sweep.text_name);
    const auto item = [](const char* label, const char* explanation) {
        const bool chosen = ImGui::MenuItem(label);
        tooltip(explanation);
        return chosen;
    };
    if (item("Copy CSV###csv", "A line per k, with standard errors and the error of every layer")) ImGui::SetClipboardText(gs::sweep_csv(sweep).c_str());
    if (item("Copy JSON###json", "The same and how it was measured")) ImGui::SetClipboardText(gs::sweep_json(sweep).dump(1).c_str());
    if (item("Save CSV…###save_csv", "To a file")) m_saver.ask(gs::sweep_csv(sweep), name + ".csv");
    if (item("Save JSON…###save_json", "To a file")) m_saver.ask(gs::sweep_json(sweep).dump(1), name + ".json");
}

void SweepPanel::show_controls(ViewContext& context, const gs::SweepResult& sweep) {
    static constexpr const char* kExplained[] = {"One curve a figure, k to the right in all", "The same figures as numbers", "Output error of every layer as numbers"};
    segmented("shape", kShapes, m_shape, kExplained);
    if (m_shape == 0) {
        same_line_if_fits(button_width("log") + ImGui::GetFrameHeight());
        if (ImGui::Checkbox("log###log", &m_log)) m_log_chosen = true;
        tooltip("Perplexity and KL on logarithmic axes; a KL of 0 has no place there");
    }
    if (m_ghost) {
        const std::string before = fit_text(fmt::format("previous: {}", base_text(*m_ghost)), ImGui::GetFontSize() * 14);
        same_line_if_fits(button_width(before.c_str()) + ImGui::GetFrameHeight());
        ImGui::Checkbox((before + "###ghosts").c_str(), &context.settings.ghosts);
        tooltip("The sweep before over the same text, as faint lines with squares");
    }
    same_line_if_fits(button_width("Export…"));
    if (ImGui::Button("Export…###export")) ImGui::OpenPopup("export_menu");
    tooltip("Every figure as CSV or JSON, to the clipboard or a file");
    if (ImGui::BeginPopup("export_menu")) {
        copy_menu(sweep);
        ImGui::EndPopup();
    }
    k_controls(context, sweep);
}

void SweepPanel::facts(ViewContext& context, const gs::SweepResult& sweep) {
    const bool sweeping = context.state.activity == gs::Activity::kSweeping;
    const int n_done = n_complete_rows(sweep), n = static_cast<int>(sweep.plan.ks.size());
    std::string text = sweep.text_name.empty() ? "" : sweep.text_name + ": ";
    text += fmt::format("{} tokens scored", sweep.n_to_score());
    if (sweep.n_text_tokens > sweep.n_tokens()) text += fmt::format(" (the text has {})", sweep.n_text_tokens);
    text += fmt::format("; band and ±: one standard error. On top of: {}.", base_text(sweep));
    if (!sweep.complete) text += fmt::format(" {} of {} k done{}; hollow points: part of the text.", n_done, n, sweeping ? "" : ", stopped");
    caption(text);
}

void SweepPanel::draw(ViewContext& context) {
    const gs::SessionState& state = context.state;
    m_saver.draw(context);
    if (state.model && !state.model->spec.is_moe()) {
        empty_state("A dense model", "It has no routed experts, so there is no k to sweep.", nullptr);
        return;
    }
    measure_controls(context);
    const auto& sweep = state.sweep;
    if (!sweep || sweep->plan.ks.empty() || sweep->model_hash != (state.model ? state.model->hash : sweep->model_hash)) {
        const bool busy = state.activity == gs::Activity::kSweeping;
        empty_state(busy ? "Measuring…" : "No sweep yet",
                    state.can_run() ? "Choose a text and press Sweep: it runs under every k, and the curves show what it loses and what it saves: perplexity, KL, agreement, output error, speed, bytes."
                                    : "The sweep needs a loaded model.", nullptr);
        return;
    }
    take(sweep);
    show_controls(context, *sweep);
    facts(context, *sweep);
    const SweepShown shown{*sweep, ghost(context), lit_row(*sweep), m_log};
    const ImVec2 room = ImGui::GetContentRegionAvail(), size = {room.x, std::max(room.y, ImGui::GetFontSize() * 6)};
    const SweepHit hit = m_shape == 0 ? draw_sweep_curves(context, shown, size) : m_shape == 1 ? draw_sweep_table(shown, size) : draw_sweep_layers(context, shown, size);
    if (hit.hovered != m_hovered) context.keep_awake(0.02);
    m_hovered = hit.hovered;
    if (hit.clicked >= 0 && state.model) use(context, *sweep, hit.clicked);
}

}  // namespace

std::unique_ptr<View> make_sweep_view() { return std::make_unique<SweepPanel>(); }

}  // namespace app
