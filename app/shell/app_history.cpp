// Undo, redo and the list of changes (parameter_history.h).
#include <fmt/format.h>

#include "app/shell/app_ui.h"
#include "app/views/policy_edit.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {

/// Settings at once; another routing rule as any control applies it: the prompt is run with it.
void AppUi::go_in_history(ViewContext& context, size_t step) {
    const bool back = step < m_history.now();
    const size_t undone = back ? m_history.now() : step;   // the change that is taken back or made again; of a longer way the end nearest to now
    const Parameters* wanted = m_history.go_to(step, m_settings);
    if (!wanted) return;
    if (!(wanted->policy == shown_policy(context))) apply_policy(context, wanted->policy);
    say(context, fmt::format("{}: {}", back ? "Undone" : "Redone", m_history.changes(undone)));
}

/// Every change, newest first; a click goes to it, as undo and redo do step by step.
void AppUi::draw_history(ViewContext& context) {
    if (!m_history_open) return;
    if (begin_overlay("History###history", m_history_open, ImGui::GetFontSize() * 34)) {
        dim_text(fmt::format("Your changes, newest first. {} goes back, {} forward.", m_commands.keys_of("edit.undo"), m_commands.keys_of("edit.redo")));
        if (ImGui::BeginChild("###steps", {0, ImGui::GetFrameHeight() * 12}, ImGuiChildFlags_NavFlattened)) {
            ImGui::PushStyleVar(ImGuiStyleVar_SelectableTextAlign, {0, 0.5f});
            for (size_t i = m_history.n_steps(); i-- > 0;) {
                const bool in_force = i == m_history.now(), undone = i > m_history.now();
                const std::string what = i == 0 ? "what there was at the start" : visible_name(m_history.changes(i));
                if (undone) ImGui::PushStyleColor(ImGuiCol_Text, context.theme.text_dim);
                if (ImGui::Selectable(fmt::format("{}  {}###step{}", i, what, i).c_str(), in_force, 0, {0, ImGui::GetFrameHeight()}) && !in_force) go_in_history(context, i);
                if (undone) ImGui::PopStyleColor();
                tooltip((what + (in_force ? "\nThis is where you are" : undone ? "\nUndone; a click makes everything up to here again" : "\nA click goes back to here")).c_str());
            }
            ImGui::PopStyleVar();
        }
        ImGui::EndChild();
    }
    ImGui::End();
}

}  // namespace app
