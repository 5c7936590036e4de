#include "app/widgets/text_diff.h"

#include <algorithm>

namespace app {

using gs::split_words;
using gs::without_space;

namespace {

/// Where the flowing text goes on.
struct Pen {
    ImVec2 origin;
    float x = 0, y = 0, width, line;
    void new_line() { x = 0, y += line; }
};

void draw_word(Pen& pen, std::string_view word, bool differs, ImU32 mark) {
    const std::string_view ink = without_space(word);
    const float extent = ImGui::CalcTextSize(ink.data(), ink.data() + ink.size()).x;
    if (pen.x > 0 && pen.x + extent > pen.width) pen.new_line();
    const ImVec2 at = {pen.origin.x + pen.x, pen.origin.y + pen.y};
    ImDrawList* draw = ImGui::GetWindowDrawList();
    if (differs && !ink.empty()) {
        const float bottom = at.y + ImGui::GetFontSize() + 1;
        draw->AddRectFilled({at.x - 1, at.y}, {at.x + extent + 1, bottom}, (mark & ~IM_COL32_A_MASK) | (0x38u << IM_COL32_A_SHIFT), 2);
        draw->AddLine({at.x - 1, bottom}, {at.x + extent + 1, bottom}, mark, std::max(1.0f, ImGui::GetFontSize() / 12));
    }
    draw->AddText(at, ImGui::GetColorU32(ImGuiCol_Text), ink.data(), ink.data() + ink.size());
    pen.x += extent;
    for (const char c : word.substr(ink.size())) {
        if (c == '\n')
            pen.new_line();
        else
            pen.x += ImGui::CalcTextSize(" ").x;
    }
}

}  // namespace

void draw_diff(const std::vector<DiffPiece>& pieces, ImU32 mark, float width) {
    Pen pen{ImGui::GetCursorScreenPos(), 0, 0, width, ImGui::GetFontSize() * 1.35f};
    for (const DiffPiece& piece : pieces)
        for (const std::string_view word : split_words(piece.text)) draw_word(pen, word, piece.differs, mark);
    ImGui::Dummy({width, pen.y + pen.line});
}

}  // namespace app
