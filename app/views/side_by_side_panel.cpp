// The loaded model and a dense one on the same prompt and text: the bundled model's own parent, or any file.
#include <algorithm>

#include <fmt/format.h>

#include "app/base/dense_parent.h"
#include "app/base/texts.h"
#include "app/views/dense_fetch.h"
#include "app/views/figure_rows.h"
#include "app/views/job_controls.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/text_diff.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {
namespace {

constexpr int kScoredTokens = 256;

class SideBySidePanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void controls(ViewContext& context);
    void run(ViewContext& context);
    void figures(const gs::SideBySide& s) const;
    void answers(ViewContext& context, const gs::SideBySide& s);

    std::string m_other;                         ///< a file of the user's; empty: the dense parent
    std::vector<std::string> m_text_names;
    int m_text = 0;
    std::shared_ptr<const gs::SideBySide> m_diffed;
    TextDiff m_diff;
};

void SideBySidePanel::run(ViewContext& context) {
    gs::SideRequest request{.other = m_other.empty() ? dense_parent_path() : std::filesystem::path(m_other), .run = make_request(context), .max_tokens = kScoredTokens};
    request.text_name = m_text_names[static_cast<size_t>(m_text)];
    if (const auto text = bundled_text(request.text_name)) request.text = *text;
    context.session.request_side_by_side(request);
}

void SideBySidePanel::controls(ViewContext& context) {
    if (m_text_names.empty()) {
        m_text_names = bundled_text_names();
        const auto prose = std::find(m_text_names.begin(), m_text_names.end(), "prose");
        m_text = prose == m_text_names.end() ? 0 : static_cast<int>(prose - m_text_names.begin());
        if (m_text_names.empty()) m_text_names = {"none"};
    }
    bool has_other = !m_other.empty();
    if (!has_other) has_other = draw_dense_fetch(context);
    label("Other model");
    ImGui::SetNextItemWidth(std::max(ImGui::GetFontSize() * 8, std::min(ImGui::GetFontSize() * 22, ImGui::GetContentRegionAvail().x)));
    ImGui::InputTextWithHint("###other", has_dense_parent() ? "SmolLM2-135M-Instruct (downloaded), or a GGUF file" : "path of a GGUF file", &m_other);
    tooltip("Any model that loads; empty: the dense parent of the bundled model");
    std::vector<const char*> names;
    for (const std::string& name : m_text_names) names.push_back(name.c_str());
    same_line_if_fits(name_combo_width(names));
    name_combo("###text", names, m_text, "Sample whose perplexity is measured with both, 256 tokens at most");
    same_line_if_fits(icon_button_width("Run both"));
    if (job_button(context, {gs::Activity::kSideBySide, "###both", "Run both", has_other ? "Both answer the prompt at the top, one after the other, and score the sample" : "Download the dense parent, or name a file", has_other}))
        run(context);
    job_progress(context, gs::Activity::kSideBySide);
}

void SideBySidePanel::figures(const gs::SideBySide& s) const {
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchProp | ImGuiTableFlags_BordersInnerV;
    if (!ImGui::BeginTable("###figures", 3, kFlags)) return;
    const gs::SideModel* const models[] = {&s.a, &s.b};
    figure_row("model", "Name in the file", models, [](const gs::SideModel* m) { return m->card.spec.name; });
    figure_row("kind", "Experts a token uses, of how many", models, [](const gs::SideModel* m) {
        return m->card.total_params == 0 ? "–" : m->card.spec.is_moe() ? fmt::format("MoE, {} of {} experts", m->card.spec.router.n_used, m->card.spec.router.n_experts) : std::string("dense");
    });
    figure_row("parameters", "In all; active for one token", models, [](const gs::SideModel* m) { return fmt::format("{}; active {}", format_count(m->card.total_params), format_count(m->card.active_params)); });
    figure_row("weights read", "Bytes that one decoded token reads, mean over the answer", models, [](const gs::SideModel* m) { return m->bytes_per_token > 0 ? format_bytes(m->bytes_per_token) : "–"; });
    figure_row("tokens/s", "Decoded, measured here and now; one model at a time", models, [](const gs::SideModel* m) { return m->timings.decode_seconds > 0 ? format_number(m->timings.decode_tokens_per_s()) : "–"; });
    figure_row("perplexity", "Per token: compares only where both cut text into the same tokens", models, [](const gs::SideModel* m) { return m->n_scored > 0 ? format_number(m->perplexity) : "–"; });
    figure_row("bits per byte", "Of the text: compares models with any tokenizer", models, [](const gs::SideModel* m) { return m->n_scored > 0 ? format_number(m->bits_per_byte) : "–"; });
    ImGui::EndTable();
}

void SideBySidePanel::answers(ViewContext& context, const gs::SideBySide& s) {
    if (m_diffed != context.state.side_by_side) {
        m_diff = diff_words(s.a.answer, s.b.answer);
        m_diffed = context.state.side_by_side;
    }
    caption(fmt::format("\"{}\", {}", fit_text(s.prompt, ImGui::GetFontSize() * 24), s.sampler));
    if (!ImGui::BeginTable("###answers", 2, ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchSame | ImGuiTableFlags_BordersInnerV)) return;
    ImGui::TableSetupColumn(s.a.card.spec.is_moe() ? "MoE" : "loaded model");
    ImGui::TableSetupColumn(s.b.card.total_params > 0 && s.b.card.spec.is_moe() ? "other model" : "dense");
    ImGui::TableHeadersRow();
    ImGui::TableNextColumn();
    draw_diff(m_diff.a, context.theme.text_dim, ImGui::GetContentRegionAvail().x);
    ImGui::TableNextColumn();
    draw_diff(m_diff.b, context.theme.text_dim, ImGui::GetContentRegionAvail().x);
    ImGui::EndTable();
}

void SideBySidePanel::draw(ViewContext& context) {
    controls(context);
    const auto& s = context.state.side_by_side;
    if (!s) {
        const bool busy = context.state.activity == gs::Activity::kSideBySide;
        empty_state(busy ? "Loading…" : "MoE beside dense", "The loaded model and a dense one answer the same prompt here, with the perplexity of the same text, bytes per token and tokens/s.", nullptr);
        return;
    }
    ImGui::Separator();
    caption(fmt::format("{}: {} tokens scored; computed; {}{}", s->text_name, std::max(s->a.n_scored, s->b.n_scored),
                        s->same_tokens ? "both cut text into the same tokens" : "tokens differ (" + s->tokens_note + "), so perplexities do not compare", s->complete ? "" : "; not complete"));
    figures(*s);
    ImGui::Spacing();
    answers(context, *s);
}

}  // namespace

std::unique_ptr<View> make_side_by_side_view() { return std::make_unique<SideBySidePanel>(); }

}  // namespace app
