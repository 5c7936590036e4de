#include "app/widgets/text_diff.h"

#include <algorithm>
#include <span>

namespace app {
namespace {

using Words = std::vector<std::string_view>;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/// A word with the white space behind it.
Words split_words(std::string_view text) {
    Words words;
    size_t begin = 0;
    for (size_t i = 1; i <= text.size(); ++i)
        if (i == text.size() || (is_space(text[i - 1]) && !is_space(text[i]))) {
            words.push_back(text.substr(begin, i - begin));
            begin = i;
        }
    return words;
}

std::string_view without_space(std::string_view word) {
    while (!word.empty() && is_space(word.back())) word.remove_suffix(1);
    return word;
}
bool same(std::string_view a, std::string_view b) { return without_space(a) == without_space(b); }

/// Marks the words of a longest common subsequence of the two middles (dynamic programming over suffixes).
void mark_common(std::span<const std::string_view> a, std::span<const std::string_view> b, std::vector<char>& in_a, std::vector<char>& in_b,
                 size_t offset) {
    const size_t n = a.size(), m = b.size();
    if (n == 0 || m == 0 || n * m > 16'000'000) return;
    std::vector<uint16_t> best((n + 1) * (m + 1), 0);
    const auto at = [&](size_t i, size_t j) -> uint16_t& { return best[i * (m + 1) + j]; };
    for (size_t i = n; i-- > 0;)
        for (size_t j = m; j-- > 0;)
            at(i, j) = same(a[i], b[j]) ? static_cast<uint16_t>(at(i + 1, j + 1) + 1) : std::max(at(i + 1, j), at(i, j + 1));
    for (size_t i = 0, j = 0; i < n && j < m;) {
        if (same(a[i], b[j]))
            in_a[offset + i++] = in_b[offset + j++] = 1;
        else if (at(i + 1, j) >= at(i, j + 1))
            ++i;
        else
            ++j;
    }
}

std::vector<DiffPiece> join(const Words& words, const std::vector<char>& common) {
    std::vector<DiffPiece> pieces;
    for (size_t i = 0; i < words.size(); ++i) {
        const bool differs = !common[i];
        if (pieces.empty() || pieces.back().differs != differs) pieces.push_back({{}, differs});
        pieces.back().text += words[i];
    }
    return pieces;
}

}  // namespace

TextDiff diff_words(std::string_view text_a, std::string_view text_b) {
    const Words a = split_words(text_a), b = split_words(text_b);
    std::vector<char> in_a(a.size(), 0), in_b(b.size(), 0);
    const size_t n_short = std::min(a.size(), b.size());
    size_t head = 0, tail = 0;
    while (head < n_short && same(a[head], b[head])) in_a[head] = in_b[head] = 1, ++head;
    while (tail < n_short - head && same(a[a.size() - 1 - tail], b[b.size() - 1 - tail])) {
        in_a[a.size() - 1 - tail] = in_b[b.size() - 1 - tail] = 1;
        ++tail;
    }
    mark_common(std::span(a).subspan(head, a.size() - head - tail), std::span(b).subspan(head, b.size() - head - tail), in_a, in_b, head);
    TextDiff diff{join(a, in_a), join(b, in_b), 1};
    const size_t longer = std::max(a.size(), b.size());
    if (longer > 0) diff.equal_share = static_cast<double>(std::count(in_a.begin(), in_a.end(), 1)) / static_cast<double>(longer);
    return diff;
}

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
