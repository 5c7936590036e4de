// One line at the bottom: what is going on, and by what means.
#include <fmt/format.h>

#include <cmath>

#include "app/views/pick_card.h"
#include "app/views/policy_edit.h"
#include "app/views/views_b.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "engine/io/import_trace.h"

namespace app {
namespace {

class StatusLine final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void item(const std::string& text, const char* note);
    void draw_activity(ViewContext& context);
    void draw_run(ViewContext& context);
    bool m_first = true;
    uint64_t m_what_if_revision = 0;
    double m_what_if_bytes = 0;  ///< per token, of that revision
};

/// Left out when the line is full: the earlier ones matter more.
void StatusLine::item(const std::string& text, const char* note) {
    const float gap = ImGui::GetFontSize();
    if (!m_first) {
        ImGui::SameLine(0, gap);
        if (ImGui::GetContentRegionAvail().x < ImGui::CalcTextSize(text.c_str()).x) {
            ImGui::NewLine();
            ImGui::SetCursorPosY(ImGui::GetCursorPosY() - ImGui::GetTextLineHeightWithSpacing());
            return;
        }
    }
    m_first = false;
    dim_text(text);
    tooltip(note);
}

void StatusLine::draw_activity(ViewContext& context) {
    const gs::SessionState& state = context.state;
    if (state.activity == gs::Activity::kIdle) {
        item("ready", "Nothing is being computed");
        return;
    }
    m_first = false;
    const float unit = ImGui::GetFontSize();
    const std::string what = state.progress_text.empty()
                                 ? gs::name_of(state.activity)
                                 : fmt::format("{}  {}", gs::name_of(state.activity), visible_name(state.progress_text));
    ImGui::TextUnformatted(what.c_str());
    ImGui::SameLine();
    const float part = state.progress >= 0 ? static_cast<float>(state.progress) : -static_cast<float>(context.time_seconds);
    ImGui::PushStyleVar(ImGuiStyleVar_FramePadding, ImVec2(ImGui::GetStyle().FramePadding.x, 0));  // on the text's baseline
    ImGui::ProgressBar(part, {unit * 8, ImGui::GetTextLineHeight()}, "");
    ImGui::PopStyleVar();
    context.keep_awake(0.1);
    if (state.activity_seconds > 1) {
        ImGui::SameLine();
        dim_text(fmt::format("{:.0f} s", state.activity_seconds));
    }
    ImGui::SameLine();
    if (ImGui::SmallButton("Cancel###cancel")) context.session.cancel();
    tooltip("Stop what is being computed; what is on screen stays");
}

void StatusLine::draw_run(ViewContext& context) {
    item(fmt::format("policy {}", shown_policy(context).to_text()),
         "Routing rule in force, in the text form that the command line takes (--policy)");
    if (!context.run || context.run->trace.empty()) return;
    const gs::RunResult& run = *context.run;
    const gs::TraceSnapshot& trace = context.what_if.trace();
    const gs::Provenance provenance = trace.info().provenance;
    item(gs::name_of(provenance), provenance == gs::Provenance::kReplayed ? "The run on screen was read from a file"
                                  : provenance == gs::Provenance::kWhatIf ? "Recorded router logits under another policy"
                                                                          : "The run on screen was computed here");
    if (!trace.info().source.empty()) {
        std::string note = gs::lacks_text(trace.info().lacks);
        for (const std::string& it : trace.info().notes) note += "\n" + it;
        item("from " + trace.info().source, note.c_str());
    }
    const bool what_if = provenance == gs::Provenance::kWhatIf;
    if (run.timings.decode_seconds > 0 && !what_if)
        item(fmt::format("{} tokens/s", format_number(run.timings.decode_tokens_per_s())), "Decoding speed of this run");
    if (what_if && trace.revision() != m_what_if_revision) {
        m_what_if_revision = trace.revision();
        m_what_if_bytes = gs::bytes_per_token(trace);
    }
    const double bytes = what_if ? m_what_if_bytes : run.bytes_per_token;
    if (bytes > 0)
        item(fmt::format("{} per token", format_bytes(bytes)),
             "Weight bytes that one decoded token reads, mean over the run");
    item(fmt::format("{} tokens", run.trace.n_tokens()), "Prompt and output of the run on screen");
}

void StatusLine::draw(ViewContext& context) {
    m_first = true;
    draw_activity(context);
    draw_run(context);
    const gs::SessionState& state = context.state;
    if (state.model) {
        // A model divided among two engines names both: the note has all of it.
        const std::string engine = state.model->engine + ", " + state.model->precision;
        const std::string& drawing = state.model->drawing;
        const std::string note = "What computes: engine, threads and precision\n" + engine + (drawing.empty() ? "" : "\nRouting for the heatmap: " + drawing);
        item(fit_text(engine, ImGui::GetFontSize() * 26), note.c_str());
        item(fmt::format("memory {}",
                         format_bytes(static_cast<double>(state.model->file_bytes + state.model->kv_bytes + state.model->work_bytes))),
             "Weights (mapped from the file), key/value cache and working space of the loaded model");
    } else if (state.run && !state.run->trace.empty()) {
        item("no model loaded", "Replaying needs none; running a prompt does");
    }
}

}  // namespace

std::unique_ptr<View> make_status_view() { return std::make_unique<StatusLine>(); }

}  // namespace app
