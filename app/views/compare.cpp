// Two runs side by side: A, pinned or the run before, and B, the one on screen. Texts with the difference marked, what the change cost, which routing
// decisions changed and how, and a map of the difference at one layer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/views/compare_parts.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/text_diff.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class CompareView final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void draw_empty(ViewContext& context);
    void toolbar(ViewContext& context, bool all_fit);
    void draw_text(const char* title, const gs::RunResult& run, const std::vector<DiffPiece>& pieces, ImU32 mark);
    void draw_sides(ViewContext& context, const ComparedRuns& runs);
    void draw_all(ViewContext& context, const ComparedRuns& runs);
    void draw_numbers(ViewContext& context, const gs::RunResult& a, const gs::RunResult& b);
    void draw_agreement(ViewContext& context, const gs::RunResult& a, const gs::RunResult& b);
    /// The comparison of these two runs, or null while there is none.
    const gs::PolicyComparison* measured(const ViewContext& context, const gs::RunResult& a, const gs::RunResult& b) const;

    FlipTable m_flips;
    DifferenceMap m_map;
    int m_shape = 0;                     ///< index into kShapes
    TextDiff m_diff;
    uint64_t m_run_a = 0, m_run_b = 0;
    size_t m_length_b = 0;
};

constexpr const char* kShapes[] = {"texts", "map", "changes"};

void CompareView::draw_empty(ViewContext& context) {
    const gs::SessionState& state = context.state;
    const bool have_run = state.run && !state.run->trace.empty();
    if (state.pinned) {
        const bool pressed = empty_state("This run is pinned as A", "Whatever comes on screen next is B and appears beside it: run another prompt, change k, or open another model or a recorded run.",
                                         "Open a model or a recorded run…");
        if (pressed) context.wants_open_file = true;
        return;
    }
    const bool possible = can_rerun(state) && state.run->phase == gs::RunPhase::kFinished && state.run->trace.n_experts() > 1;
    const char* const why = possible ? "Drag k and let go: the prompt runs again, and both answers and their cost appear here side by side. Or pin this run (P) and run or open another."
                            : have_run ? "Pin the run on screen (P): whatever is run or opened next appears beside it."
                                       : "Two runs appear here side by side: one that you pin, and the one on screen.";
    if (!empty_state("Nothing to compare yet", why, possible ? "Try k = 1" : have_run ? "Pin this run" : nullptr)) return;
    if (possible)
        apply_policy(context, gs::Policy{.rule = gs::GateRule::kTopK, .k = 1});
    else
        context.session.pin_run();
}

void CompareView::toolbar(ViewContext& context, bool all_fit) {
    const gs::SessionState& state = context.state;
    if (!all_fit) {
        static constexpr const char* kExplained[] = {"Both texts, and the figures", "Difference at one layer: paired tokens across, experts down", "Every changed decision"};
        segmented("shape", kShapes, m_shape, kExplained);
        ImGui::SameLine();
    }
    if (ImGui::Button("Pin this run###pin")) context.session.pin_run();
    tooltip("P: the run on screen becomes A and stays, whatever is run or opened next");
    if (!state.pinned) return;
    same_line_if_fits(button_width("Swap A and B"));
    if (ImGui::Button("Swap A and B###swap")) context.session.swap_pinned();
    tooltip("Shift+P: A comes on screen, and what is there is pinned");
    same_line_if_fits(button_width("Unpin"));
    if (ImGui::Button("Unpin###unpin")) context.session.unpin();
    tooltip("A is again the run before with the same prompt, where there is one");
}

std::string policy_of(const gs::RunResult& run) {
    return run.trace.empty() ? run.request.policy.to_text() : run.trace.policy(run.trace.n_tokens() - 1).to_text();
}

void CompareView::draw_text(const char* title, const gs::RunResult& run, const std::vector<DiffPiece>& pieces, ImU32 mark) {
    ImGui::TextUnformatted(title);
    ImGui::SameLine();
    const gs::TraceInfo& info = run.trace.info();
    const std::string what = info.source.empty() ? policy_of(run) : visible_name(info.source);
    badge(fit_text(what, ImGui::GetContentRegionAvail().x - ImGui::GetFontSize()).c_str(), mark,
          ImGui::GetColorU32(ImGuiCol_Text));
    ImGui::Dummy({0, ImGui::GetFontSize() * 0.15f});
    if (info.lacks.text) return caption("This recorded run holds no text.");
    if (pieces.empty()) return dim_text(run.phase == gs::RunPhase::kFinished ? "(no text)" : "(no text yet)");
    draw_diff(pieces, mark, ImGui::GetContentRegionAvail().x);
    if (run.phase != gs::RunPhase::kFinished)
        dim_text("still writing");
    else if (run.stop != gs::StopReason::kNone && run.stop != gs::StopReason::kEndOfText)
        dim_text(fmt::format("ended by: {}", gs::name_of(run.stop)));
}

void number_row(const char* name, const char* note, const std::string& a, const std::string& b) {
    ImGui::TableNextRow();
    ImGui::TableNextColumn();
    dim_text(name);
    tooltip(note);
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(a.c_str());
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(b.c_str());
}

std::string speed_of(const gs::RunResult& run) {
    return run.timings.decode_seconds > 0 ? format_number(run.timings.decode_tokens_per_s()) : "–";
}

const gs::PolicyComparison* CompareView::measured(const ViewContext& context, const gs::RunResult& a, const gs::RunResult& b) const {
    const gs::PolicyComparison* c = context.state.comparison.get();
    return c && c->run_a == a.id && c->run_b == b.id ? c : nullptr;
}

void CompareView::draw_numbers(ViewContext& context, const gs::RunResult& a, const gs::RunResult& b) {
    const gs::PolicyComparison* c = measured(context, a, b);
    if (ImGui::BeginTable("###numbers", 3, ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchProp)) {
        ImGui::TableSetupColumn("", 0, 1.5f);
        ImGui::TableSetupColumn("A");
        ImGui::TableSetupColumn("B");
        ImGui::TableHeadersRow();
        number_row("tokens/s", "Decoded tokens per second in these two runs; – for a recorded one", speed_of(a), speed_of(b));
        number_row("weights read", "Weight bytes that one decoded token reads, mean over the run", format_bytes(a.bytes_per_token),
                   format_bytes(b.bytes_per_token));
        if (c) {
            number_row("perplexity", "Of the first run's text under both policies, teacher-forced", format_number(c->a.perplexity),
                       format_number(c->b.perplexity));
            number_row("Σ weights", "Mean sum of the applied weights", format_number(c->a.mean_sum_weights),
                       format_number(c->b.mean_sum_weights));
        }
        ImGui::EndTable();
    }
}

void CompareView::draw_agreement(ViewContext& context, const gs::RunResult& a, const gs::RunResult& b) {
    const gs::PolicyComparison* c = measured(context, a, b);
    if (!c) {
        if (context.state.pinned) return;   // measured for a change of policy only
        const bool busy = context.state.activity == gs::Activity::kComparing || context.state.activity == gs::Activity::kRunning;
        return dim_text(busy ? "measuring KL and agreement…" : "KL and agreement were not measured");
    }
    const std::string scored = fmt::format("Mean over {} positions of the first run's text, before against now", c->b.n_scored);
    key_value("KL divergence", fmt::format("{} nats", format_number(c->b.kl)), scored.c_str());
    key_value("same top token", format_percent(c->b.top1_agreement), scored.c_str());
    key_value("first difference",
              c->first_difference < 0 ? "none: the texts are equal"
                                      : fmt::format("generated token {}", c->first_difference - a.n_prompt_tokens + 1));
    double mean = 0;
    for (const double v : c->b.route_agreement) mean += v / static_cast<double>(c->b.route_agreement.size());
    if (!c->b.route_agreement.empty())
        key_value("same experts, A's text", fmt::format("{} (mean of {} layers)", format_percent(mean), c->b.route_agreement.size()), "Mean over tokens of |A ∩ B| / max(|A|, |B|), both policies fed the first run's text");
}

void CompareView::draw_sides(ViewContext& context, const ComparedRuns& runs) {
    const float unit = ImGui::GetFontSize(), width = ImGui::GetContentRegionAvail().x;
    const int n_columns = width > unit * 72 ? 4 : width > unit * 52 ? 3 : width > unit * 30 ? 2 : 1;
    if (!ImGui::BeginTable("###sides", n_columns, ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingStretchSame)) return;
    for (int i = 0; i < std::min(n_columns, 2); ++i) ImGui::TableSetupColumn("", ImGuiTableColumnFlags_WidthStretch);
    for (int i = 2; i < n_columns; ++i) ImGui::TableSetupColumn("", ImGuiTableColumnFlags_WidthFixed, unit * 19);
    ImGui::TableNextColumn();
    draw_text(context.state.pinned ? "A, pinned" : "A, before", runs.a, m_diff.a, pinned_color(0));
    ImGui::TableNextColumn();
    draw_text("B, now", runs.b, m_diff.b, pinned_color(1));
    ImGui::TableNextColumn();
    draw_numbers(context, runs.a, runs.b);
    draw_agreement(context, runs.a, runs.b);
    if (n_columns == 4)
        ImGui::TableNextColumn();
    else
        ImGui::Spacing();
    draw_route_figures(context, runs);
    ImGui::EndTable();
}

void CompareView::draw_all(ViewContext& context, const ComparedRuns& runs) {
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const float gap = ImGui::GetStyle().ItemSpacing.x, flips_width = ImGui::GetFontSize() * 26;
    if (ImGui::BeginChild("###texts", {room.x, std::min(room.y * 0.42f, ImGui::GetFontSize() * 17)}, ImGuiChildFlags_None)) draw_sides(context, runs);
    ImGui::EndChild();
    ImGui::Separator();
    if (ImGui::BeginChild("###map", {room.x - flips_width - gap, 0}, ImGuiChildFlags_None)) m_map.draw(context, runs);
    ImGui::EndChild();
    ImGui::SameLine();
    if (ImGui::BeginChild("###changes", {flips_width, 0}, ImGuiChildFlags_None)) m_flips.draw(context, runs);
    ImGui::EndChild();
}

void CompareView::draw(ViewContext& context) {
    const auto &a = context.state.baseline(), &b = context.state.run;
    if (!a || !b || a->id == b->id) return draw_empty(context);
    if (a->id != m_run_a || b->id != m_run_b || b->text.size() != m_length_b) {
        m_diff = diff_words(a->text, b->text);
        m_run_a = a->id, m_run_b = b->id, m_length_b = b->text.size();
    }
    const std::shared_ptr<const gs::RunDiff>& diff = context.state.diff;
    const ComparedRuns runs{*a, *b, diff && diff->run_a == a->id && diff->run_b == b->id ? diff : nullptr};
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const float unit = ImGui::GetFontSize();
    const bool all_fit = room.x > unit * 62 && room.y > unit * 34;
    toolbar(context, all_fit);
    if (all_fit) return draw_all(context, runs);
    if (m_shape == 0) draw_sides(context, runs);
    if (m_shape == 1) m_map.draw(context, runs);
    if (m_shape == 2) m_flips.draw(context, runs);
}

}  // namespace

std::unique_ptr<View> make_compare_view() { return std::make_unique<CompareView>(); }

}  // namespace app
