#include "app/widgets/hover_card.h"

#include "app/widgets/ui_kit.h"
#include "imgui.h"

namespace app {

HoverCard::HoverCard(std::string_view title) : m_open(ImGui::BeginTooltip()) {
    if (!m_open) return;
    ImGui::PushTextWrapPos(ImGui::GetFontSize() * 28);
    ImGui::TextUnformatted(title.data(), title.data() + title.size());
    ImGui::Dummy({ImGui::GetFontSize() * 14, 1});
}

HoverCard::~HoverCard() {
    if (!m_open) return;
    ImGui::PopTextWrapPos();
    ImGui::EndTooltip();
}

void HoverCard::row(const char* label, std::string_view value) {
    if (!m_open) return;
    const float left = ImGui::GetCursorPosX();
    dim_text(label);
    ImGui::SameLine(0, 0);
    ImGui::SetCursorPosX(left + ImGui::GetFontSize() * 7.2f);
    ImGui::PushTextWrapPos(-1);  // the card grows with its values
    ImGui::TextUnformatted(value.data(), value.data() + value.size());
    ImGui::PopTextWrapPos();
}

void HoverCard::note(std::string_view text) {
    if (m_open) dim_text(text);
}

}  // namespace app
