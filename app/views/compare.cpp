// The run before beside the run now: both texts with the difference marked, and what the change of policy cost.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/views/policy_edit.h"
#include "app/views/route_data.h"
#include "app/views/views_b.h"
#include "app/widgets/bars.h"
#include "app/widgets/text_diff.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

class CompareView final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void draw_empty(ViewContext& context);
    void draw_text(const char* title, const gs::RunResult& run, const std::vector<DiffPiece>& pieces, ImU32 mark);
    void draw_numbers(ViewContext& context, const gs::RunResult& a, const gs::RunResult& b);
    void draw_agreement(ViewContext& context, const gs::RunResult& a, const gs::RunResult& b);
    void draw_routes(ViewContext& context, const gs::PolicyComparison& c);
    /// The comparison of these two runs, or null while there is none.
    const gs::PolicyComparison* measured(const ViewContext& context, const gs::RunResult& a, const gs::RunResult& b) const;

    TextDiff m_diff;
    uint64_t m_run_a = 0, m_run_b = 0;
    size_t m_length_b = 0;
};

void CompareView::draw_empty(ViewContext& context) {
    const gs::SessionState& state = context.state;
    const bool possible = can_rerun(state) && state.run->phase == gs::RunPhase::kFinished && state.run->trace.n_experts() > 1;
    const char* const why =
        possible ? "Drag k and let go: the prompt runs again, and both answers and their cost appear here side by side."
                 : "Two answers to one prompt appear here side by side, once a model is loaded, a run has finished and you change k.";
    if (empty_state("Nothing to compare yet", why, possible ? "Try k = 1" : nullptr))
        apply_policy(context, gs::Policy{.rule = gs::GateRule::kTopK, .k = 1});
}

std::string policy_of(const gs::RunResult& run) {
    return run.trace.empty() ? run.request.policy.to_text() : run.trace.policy(run.trace.n_tokens() - 1).to_text();
}

void CompareView::draw_text(const char* title, const gs::RunResult& run, const std::vector<DiffPiece>& pieces, ImU32 mark) {
    ImGui::TextUnformatted(title);
    ImGui::SameLine();
    badge(fit_text(policy_of(run), ImGui::GetContentRegionAvail().x - ImGui::GetFontSize()).c_str(), mark,
          ImGui::GetColorU32(ImGuiCol_Text));
    ImGui::Dummy({0, ImGui::GetFontSize() * 0.15f});
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
        ImGui::TableSetupColumn("before");
        ImGui::TableSetupColumn("now");
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
        const bool busy = context.state.activity == gs::Activity::kComparing || context.state.activity == gs::Activity::kRunning;
        return dim_text(busy ? "measuring KL and agreement…" : "KL and agreement were not measured");
    }
    const std::string scored = fmt::format("Mean over {} positions of the first run's text, before against now", c->b.n_scored);
    key_value("KL divergence", fmt::format("{} nats", format_number(c->b.kl)), scored.c_str());
    key_value("same top token", format_percent(c->b.top1_agreement), scored.c_str());
    key_value("first difference",
              c->first_difference < 0 ? "none: the texts are equal"
                                      : fmt::format("generated token {}", c->first_difference - a.n_prompt_tokens + 1));
    draw_routes(context, *c);
}

void CompareView::draw_routes(ViewContext& context, const gs::PolicyComparison& c) {
    if (c.b.route_agreement.empty()) return;
    double mean = 0;
    std::vector<float> values;
    for (const double v : c.b.route_agreement) values.push_back(static_cast<float>(v)), mean += v;
    mean /= static_cast<double>(values.size());
    key_value("same experts", fmt::format("{} (mean of {} layers)", format_percent(mean), values.size()),
              "Mean over tokens of |A ∩ B| / max(|A|, |B|), for each layer");
    BarsInput input;
    input.values = values;
    input.color = context.theme.accent;
    input.selected = context.selected.moe_layer, input.hovered = context.hovered.moe_layer;
    input.selection_color = context.theme.selection, input.hover_color = context.theme.hover, input.line_color = context.theme.grid;
    const BarsHit hit = bars("###routes", input, {ImGui::GetContentRegionAvail().x, ImGui::GetFontSize() * 3});
    if (!hit.hovered || hit.slot < 0) return;
    context.hovered_next.moe_layer = hit.slot;
    if (hit.clicked) context.selected.moe_layer = hit.slot;
    const int layer = context.state.run ? model_layer(context.state.run->trace.info(), hit.slot) : hit.slot;
    tooltip(fmt::format("layer {}: {} of the experts are the same", layer, format_percent(values[static_cast<size_t>(hit.slot)])).c_str());
}

void CompareView::draw(ViewContext& context) {
    const auto &a = context.state.previous, &b = context.state.run;
    if (!a || !b) return draw_empty(context);
    if (a->id != m_run_a || b->id != m_run_b || b->text.size() != m_length_b) {
        m_diff = diff_words(a->text, b->text);
        m_run_a = a->id, m_run_b = b->id, m_length_b = b->text.size();
    }
    const float unit = ImGui::GetFontSize(), width = ImGui::GetContentRegionAvail().x;
    const int n_columns = width > unit * 72 ? 4 : width > unit * 52 ? 3 : width > unit * 30 ? 2 : 1;
    if (!ImGui::BeginTable("###sides", n_columns,
                           ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_BordersInnerV | ImGuiTableFlags_SizingStretchSame))
        return;
    for (int i = 0; i < std::min(n_columns, 2); ++i) ImGui::TableSetupColumn("", ImGuiTableColumnFlags_WidthStretch);
    for (int i = 2; i < n_columns; ++i) ImGui::TableSetupColumn("", ImGuiTableColumnFlags_WidthFixed, unit * 18);
    ImGui::TableNextColumn();
    draw_text("Before", *a, m_diff.a, pinned_color(0));
    ImGui::TableNextColumn();
    draw_text("Now", *b, m_diff.b, pinned_color(1));
    ImGui::TableNextColumn();
    draw_numbers(context, *a, *b);
    if (n_columns == 4)
        ImGui::TableNextColumn();
    else
        ImGui::Spacing();
    draw_agreement(context, *a, *b);
    ImGui::EndTable();
}

}  // namespace

std::unique_ptr<View> make_compare_view() { return std::make_unique<CompareView>(); }

}  // namespace app
