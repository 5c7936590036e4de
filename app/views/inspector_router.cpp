#include "app/views/inspector_router.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <numeric>

#include "app/views/pick_card.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/table_view.h"
#include "app/widgets/ui_kit.h"

namespace app {

void RouterTable::update(RouteReader& reader, const Pick& pick) {
    const gs::TraceSnapshot& trace = reader.trace();
    if (trace.revision() == m_revision && pick.token == m_pick.token && pick.moe_layer == m_pick.moe_layer && !m_facts.empty()) return;
    m_revision = trace.revision();
    m_pick = pick;
    m_facts.clear();
    m_score_differs = false;
    m_high = 0;
    for (int e = 0; e < trace.n_experts(); ++e) {
        const ExpertFacts facts = reader.facts(pick.moe_layer, pick.token, e);
        m_score_differs |= trace.has_logits() && facts.selection != facts.preference;
        m_high = std::max(m_high, facts.preference);
        m_facts.push_back(facts);
    }
    m_order.resize(m_facts.size());
    std::iota(m_order.begin(), m_order.end(), 0);
    // Chosen ones first in their slots (a forced expert may have a low score), then the rest by score.
    std::stable_sort(m_order.begin(), m_order.end(), [&](int a, int b) {
        const ExpertFacts &fa = m_facts[static_cast<size_t>(a)], &fb = m_facts[static_cast<size_t>(b)];
        const int sa = fa.slot < 0 ? INT_MAX : fa.slot, sb = fb.slot < 0 ? INT_MAX : fb.slot;
        return sa != sb ? sa < sb : fa.selection > fb.selection;
    });
    m_n_chosen = static_cast<int>(std::count_if(m_facts.begin(), m_facts.end(), [](const ExpertFacts& f) { return f.slot >= 0; }));
}

void RouterTable::draw_row(ViewContext& context, const Pick& pick, int place) {
    const Theme& theme = context.theme;
    const int expert = m_order[static_cast<size_t>(place)];
    const ExpertFacts& facts = m_facts[static_cast<size_t>(expert)];
    const bool chosen = facts.slot >= 0;
    const float unit = ImGui::GetFontSize();
    ImGui::PushID(expert);
    ImGui::TableNextRow();
    if (place == m_n_chosen - 1 && m_n_chosen < static_cast<int>(m_order.size())) {
        // The cut lies under this row; it is drawn once the row's place is known.
        const float y = ImGui::GetCursorScreenPos().y + ImGui::GetTextLineHeight() + ImGui::GetStyle().CellPadding.y * 2;
        ImGui::GetWindowDrawList()->AddLine({m_left_px, y}, {m_left_px + m_width_px, y}, theme.accent, std::max(2.0f, unit / 8));
    }
    ImGui::TableNextColumn();
    const std::string name = fmt::format("{}###row", expert);
    if (!chosen) ImGui::PushStyleColor(ImGuiCol_Text, theme.text_dim);
    const bool marked = context.selected.expert == expert;
    if (ImGui::Selectable(name.c_str(), marked, ImGuiSelectableFlags_SpanAllColumns)) {
        context.selected.expert = marked ? -1 : expert;
        context.selected.moe_layer = pick.moe_layer;
    }
    if (ImGui::IsItemHovered()) {
        context.hovered_next = {pick.token, pick.moe_layer, expert};
        pick_card(context, context.hovered_next, kExpertMenuHint);
        if (ImGui::IsMouseClicked(ImGuiMouseButton_Right)) m_menu.open(context.hovered_next);
    }
    ImGui::TableNextColumn();
    share_bar(m_high > 0 ? facts.preference / m_high : 0, with_alpha(chosen ? theme.accent : theme.text_dim, chosen ? 0.55f : 0.28f),
              format_number(facts.preference).c_str(), {ImGui::GetContentRegionAvail().x, ImGui::GetTextLineHeight()});
    if (m_score_differs) {
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(std::isinf(facts.selection) ? "masked" : format_number(facts.selection).c_str());
    }
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(format_number(facts.logit).c_str());
    ImGui::TableNextColumn();
    ImGui::TextUnformatted(chosen ? format_number(facts.weight).c_str() : "·");
    if (!chosen) ImGui::PopStyleColor();
    ImGui::PopID();
}

void RouterTable::draw(ViewContext& context, RouteReader& reader, const Pick& pick) {
    update(reader, pick);
    m_menu.draw(context);
    const float unit = ImGui::GetFontSize();
    const int n = static_cast<int>(m_order.size());
    const int n_few = std::max(m_n_chosen + 4, 16);
    const int n_shown = m_all ? n : std::min(n, n_few);
    const ImGuiTableFlags flags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingFixedFit | ImGuiTableFlags_PadOuterX;
    m_left_px = ImGui::GetCursorScreenPos().x;
    m_width_px = ImGui::GetContentRegionAvail().x;
    ImGui::PushStyleVar(ImGuiStyleVar_CellPadding, ImVec2(unit * 0.3f, unit * 0.1f));
    if (ImGui::BeginTable("###router", m_score_differs ? 5 : 4, flags)) {
        ImGui::TableSetupColumn("expert", ImGuiTableColumnFlags_WidthFixed, unit * 2.9f);
        ImGui::TableSetupColumn("preference", ImGuiTableColumnFlags_WidthStretch);
        if (m_score_differs) ImGui::TableSetupColumn("score", ImGuiTableColumnFlags_WidthFixed, unit * 3.4f);
        ImGui::TableSetupColumn("logit", ImGuiTableColumnFlags_WidthFixed, unit * 3.1f);
        ImGui::TableSetupColumn("weight", ImGuiTableColumnFlags_WidthFixed, unit * 3.1f);
        ImGui::PushStyleColor(ImGuiCol_Text, context.theme.text_dim);
        static constexpr const char* kNotes[] = {"Best selection score first", "Softmax of the router logits, over all experts", "What the top-k is taken over", "The router's own output, before any softmax",
                                                 "What multiplies the expert's output; · not chosen"};
        static constexpr const char* kShort[] = {kNotes[0], kNotes[1], kNotes[3], kNotes[4]};
        table_headers(m_score_differs ? std::span<const char* const>(kNotes) : std::span<const char* const>(kShort));
        ImGui::PopStyleColor();
        for (int place = 0; place < n_shown; ++place) draw_row(context, pick, place);
        ImGui::EndTable();
    }
    ImGui::PopStyleVar();
    dim_text(m_n_chosen < n ? fmt::format("the line is the cut: k = {} of {}", m_n_chosen, n) : fmt::format("all {} experts are used", n));
    if (!reader.trace().has_logits())
        caption("This recorded run holds no router logits: what the router preferred is not known.");
    else if (!m_score_differs)
        tooltip("Selection score = preference here: this policy has no bias, mask or group limit");
    if (n > n_few) {
        ImGui::SameLine();
        if (ImGui::SmallButton(m_all ? "fewer###all" : fmt::format("all {}###all", n).c_str())) m_all = !m_all;
        tooltip("How many experts the table lists");
    }
}

}  // namespace app
