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
    if (m_open) key_value(label, value);
}

void HoverCard::note(std::string_view text) {
    if (m_open) dim_text(text);
}

}  // namespace app
