#include "app/shell/command_palette.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/views/view.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {
namespace {

constexpr size_t kRecent = 8;
constexpr int kMaxRows = 12;

/// Up and Down move the choice while the text keeps the keyboard.
int move_choice(ImGuiInputTextCallbackData* data) {
    if (data->EventFlag == ImGuiInputTextFlags_CallbackHistory) *static_cast<int*>(data->UserData) += data->EventKey == ImGuiKey_DownArrow ? 1 : -1;
    return 0;
}

std::string searched(const Command& command) { return fmt::format("{}: {}", name_of(command.group), command.title); }

}  // namespace

std::vector<const Command*> CommandPalette::matches(const CommandTable& commands) const {
    std::vector<std::pair<int, const Command*>> scored;
    for (const Command& command : commands.all()) {
        int score = std::max(2 * fuzzy_score(m_query, command.title), fuzzy_score(m_query, searched(command)));
        if (m_query.empty()) {
            const auto recent = std::find(m_recent.begin(), m_recent.end(), command.id);
            score = recent == m_recent.end() ? 1 : 2 + static_cast<int>(m_recent.end() - recent);
        }
        if (score > 0) scored.emplace_back(score, &command);
    }
    std::stable_sort(scored.begin(), scored.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<const Command*> found;
    for (const auto& [score, command] : scored) found.push_back(command);
    return found;
}

void CommandPalette::remember(const std::string& id) {
    std::erase(m_recent, id);
    m_recent.insert(m_recent.begin(), id);
    if (m_recent.size() > kRecent) m_recent.pop_back();
}

std::string CommandPalette::draw_list(const std::vector<const Command*>& shown, const ViewContext& context) {
    const float unit = ImGui::GetFontSize();
    const int rows = std::clamp(static_cast<int>(shown.size()), 1, kMaxRows);
    const float room = ImGui::GetMainViewport()->WorkSize.y * 0.7f;
    std::string chosen;
    ImGui::BeginChild("###rows", {0, std::min(room, static_cast<float>(rows) * ImGui::GetFrameHeight())}, 0, ImGuiWindowFlags_NoNav);
    if (shown.empty()) dim_text("No command of that name");
    ImGui::PushStyleVar(ImGuiStyleVar_ItemSpacing, ImVec2(ImGui::GetStyle().ItemSpacing.x, 0));
    for (int i = 0; i < static_cast<int>(shown.size()); ++i) {
        const Command& command = *shown[static_cast<size_t>(i)];
        const bool enabled = command.is_enabled(context);
        ImGui::PushID(command.id.c_str());
        ImGui::BeginDisabled(!enabled);
        const ImVec2 at = ImGui::GetCursorScreenPos();
        if (ImGui::Selectable("###row", i == m_at, 0, {0, ImGui::GetFrameHeight()})) chosen = command.id;
        if (i == m_at && m_scroll) ImGui::SetScrollHereY();
        tooltip(command.note.c_str());
        const float y = at.y + (ImGui::GetFrameHeight() - unit) / 2, right = ImGui::GetItemRectMax().x;
        ImDrawList* draw = ImGui::GetWindowDrawList();
        const std::string keys = command.keys_text();
        const float keys_width = ImGui::CalcTextSize(keys.c_str()).x, names = unit * 6;
        draw->AddText({at.x + unit * 0.3f, y}, ImGui::GetColorU32(ImGuiCol_TextDisabled), name_of(command.group));
        const std::string title = (command.is_checked(context) ? "✓ " : "") + command.title;
        draw->AddText({at.x + names, y}, ImGui::GetColorU32(ImGuiCol_Text), fit_text(title, right - at.x - names - keys_width - unit).c_str());
        draw->AddText({right - keys_width - unit * 0.3f, y}, ImGui::GetColorU32(ImGuiCol_TextDisabled), keys.c_str());
        ImGui::EndDisabled();
        ImGui::PopID();
    }
    ImGui::PopStyleVar();
    ImGui::EndChild();
    m_scroll = false;
    return chosen;
}

std::string CommandPalette::draw(const CommandTable& commands, const ViewContext& context) {
    if (m_open_asked) {
        ImGui::OpenPopup("###palette");
        m_query.clear();
        m_at = 0;
        m_open_asked = false;
    }
    const ImGuiViewport* screen = ImGui::GetMainViewport();
    const float unit = ImGui::GetFontSize();
    ImGui::SetNextWindowPos({screen->GetCenter().x, screen->WorkPos.y + screen->WorkSize.y * 0.08f}, ImGuiCond_Always, {0.5f, 0});
    ImGui::SetNextWindowSize({std::min(unit * 38, screen->WorkSize.x * 0.95f), 0});
    m_is_open = ImGui::BeginPopup("###palette");
    if (!m_is_open) return "";
    if (ImGui::IsWindowAppearing()) ImGui::SetKeyboardFocusHere();
    ImGui::SetNextItemWidth(-1);
    const int before = m_at;
    const std::string query_before = m_query;
    const bool entered = ImGui::InputTextWithHint("###query", "Type a few letters of a command, a panel or a preset", &m_query,
                                                  ImGuiInputTextFlags_EnterReturnsTrue | ImGuiInputTextFlags_CallbackHistory, move_choice, &m_at);
    tooltip("Up and Down choose, Enter runs, Esc closes");
    const std::vector<const Command*> shown = matches(commands);
    if (m_query != query_before) m_at = 0;
    m_at = std::clamp(m_at, 0, std::max(0, static_cast<int>(shown.size()) - 1));
    m_scroll = m_at != before || m_query != query_before;
    std::string chosen = draw_list(shown, context);
    if (entered && !shown.empty() && shown[static_cast<size_t>(m_at)]->is_enabled(context)) chosen = shown[static_cast<size_t>(m_at)]->id;
    if (!chosen.empty()) remember(chosen);
    if (!chosen.empty() || ImGui::IsKeyPressed(ImGuiKey_Escape, false)) ImGui::CloseCurrentPopup();  // at once, not after leaving the field
    ImGui::EndPopup();
    return chosen;
}

}  // namespace app
