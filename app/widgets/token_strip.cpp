#include "app/widgets/token_strip.h"

#include <algorithm>

#include "app/base/colormap.h"
#include "app/widgets/token_text.h"

namespace app {
namespace {

static_assert(rgb_color(1, 2, 3) == IM_COL32(1, 2, 3, 255), "colours of app/base are drawn as they are");

float gap() { return std::max(1.0f, ImGui::GetFontSize() * 0.09f); }
float padding_x() { return ImGui::GetFontSize() * 0.16f; }
float line_height() { return ImGui::GetFontSize() * 1.62f; }
float chip_height() { return ImGui::GetFontSize() * 1.36f; }

}  // namespace

void TokenStrip::layout(const StripInput& input, float width) {
    const bool anew = input.identity != m_identity || width != m_width || ImGui::GetFontSize() != m_font_size ||
                      input.n_tokens < static_cast<int>(m_places.size());
    if (anew) {
        m_places.clear();
        m_line_first.assign(1, 0);
        m_x = 0;
        m_broken = false;
        m_identity = input.identity;
        m_width = width;
        m_font_size = ImGui::GetFontSize();
    }
    for (int t = static_cast<int>(m_places.size()); t < input.n_tokens; ++t) {
        const std::string_view bytes = input.bytes(t);
        Place place{0, 0, 0, short_token(bytes, 32)};
        place.width = ImGui::CalcTextSize(place.text.c_str()).x + 2 * padding_x();
        if (m_broken || (m_x > 0 && m_x + place.width > width)) {
            m_line_first.push_back(t);
            m_x = 0;
        }
        place.x = m_x;
        place.line = static_cast<int>(m_line_first.size()) - 1;
        m_x += place.width + gap();
        m_places.push_back(std::move(place));
        m_broken = bytes.find('\n') != std::string_view::npos;   // what follows may not be there yet
    }
}

static void draw_chip(const StripInput& input, int token, const StripToken& style, const std::string& text, ImVec2 low, ImVec2 high) {
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const float round = ImGui::GetFontSize() * 0.2f;
    if (style.background) draw->AddRectFilled(low, high, style.background, round);
    if (style.special) draw->AddRect(low, high, input.border_color, round);
    const ImU32 ink = style.background ? text_color_on(style.background) : input.text_color;
    draw->AddText({low.x + padding_x(), low.y + (high.y - low.y - ImGui::GetFontSize()) / 2}, ink, text.c_str());
    const float thick = std::max(1.5f, ImGui::GetFontSize() * 0.13f);
    if (token == input.selected)
        draw->AddRect({low.x - 1, low.y - 1}, {high.x + 1, high.y + 1}, input.selection_color, round, thick);
    else if (token == input.hovered)
        draw->AddRect({low.x - 1, low.y - 1}, {high.x + 1, high.y + 1}, input.hover_color, round, thick * 0.7f);
    if (style.boundary_before) draw->AddRectFilled({low.x - gap() - 1, low.y - 2}, {low.x - gap() + 1, high.y + 2}, input.selection_color);
}

/// A run that comes back is where it was left, though one that is shorter stood there meanwhile; inside the child window.
void TokenStrip::change_run(uint64_t identity) {
    const auto [before, scrolled] = std::exchange(m_left, std::pair(m_identity, ImGui::GetScrollY()));
    if (before == identity) ImGui::SetScrollY(scrolled);
}

/// Brings the newest token, a selection made elsewhere, or the opening place of another run into sight; inside the child window.
void TokenStrip::scroll(const StripInput& input) {
    const ImGuiIO& io = ImGui::GetIO();
    const bool touched = ImGui::IsWindowHovered() && (io.MouseWheel != 0 || ImGui::IsMouseDown(ImGuiMouseButton_Left));
    if (touched || input.follow || input.selected >= 0) m_opened = input.identity;
    const auto row_of_token = [this](int token) { return row_of(m_places[static_cast<size_t>(token)].line); };
    const int n_tokens = static_cast<int>(m_places.size());
    if (m_opened != input.identity && input.open_at >= 0 && input.open_at < n_tokens) {
        const int n_before = input.ghost.at < 0 ? 2 : 1;   // lines of what came before it; the ghost under it is in sight in a low strip, too
        ImGui::SetScrollY(static_cast<float>(std::max(0, row_of_token(input.open_at) - n_before)) * line_height());
        return;
    }
    int show = -1;
    if (input.follow && input.n_tokens - 1 != m_scrolled_to) show = m_scrolled_to = input.n_tokens - 1;
    if (input.selected != m_last_selected) show = m_last_selected = input.selected;
    if (show < 0 || show >= n_tokens) return;
    const float y = static_cast<float>(row_of_token(show)) * line_height(), top = ImGui::GetScrollY(), height = ImGui::GetWindowHeight();
    if (y < top)
        ImGui::SetScrollY(y);
    else if (y + line_height() > top + height)
        ImGui::SetScrollY(y + line_height() + 4 - height);
}

/// A bar in front of the token at which the texts part, and under its line, from there on where half the width is left, how it went on.
void TokenStrip::draw_ghost(const StripGhost& ghost, ImVec2 origin, float width) const {
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const float unit = ImGui::GetFontSize(), thick = std::max(1.5f, unit * 0.13f);
    const bool behind = ghost.at >= static_cast<int>(m_places.size());
    const float mark = origin.x + (behind ? m_x : m_places[static_cast<size_t>(ghost.at)].x - gap() / 2);
    const float top = origin.y + static_cast<float>(row_of(m_ghost_line)) * line_height() - 1, row = top + line_height();
    draw->AddRectFilled({mark - thick / 2, top}, {mark + thick / 2, row + unit * 0.8f}, ghost.color);
    draw->AddTriangleFilled({mark, row + unit * 0.2f}, {mark + unit * 0.4f, row + unit * 0.5f}, {mark, row + unit * 0.8f}, ghost.color);
    const std::string text = std::string(ghost.name) + "  " + std::string(ghost.text);
    const float extent = ImGui::CalcTextSize(text.c_str()).x, left = mark - origin.x + unit * 0.5f;
    const float x = left + extent <= width || left < width / 2 ? left : std::max(0.0f, std::min(left, width - extent));
    const char* end = nullptr;
    const float dots = ImGui::CalcTextSize("…").x, shown = ImGui::GetFont()->CalcTextSizeA(unit, width - x - dots, 0, text.c_str(), nullptr, &end).x;
    const ImVec2 at = {origin.x + x, row + (line_height() - unit) / 2};
    const bool cut = x + extent > width;
    draw->AddText(at, ghost.color, text.c_str(), cut ? end : nullptr);
    if (cut) draw->AddText({at.x + shown, at.y}, ghost.color, "…");
}

StripHit TokenStrip::draw(const char* id, const StripInput& input, ImVec2 size) {
    StripHit hit;
    if (!ImGui::BeginChild(id, size, ImGuiChildFlags_NavFlattened)) {
        ImGui::EndChild();
        return hit;
    }
    if (input.identity != m_identity) change_run(input.identity);
    layout(input, ImGui::GetContentRegionAvail().x - 3);
    const ImVec2 origin = ImVec2(ImGui::GetCursorScreenPos().x + 2, ImGui::GetCursorScreenPos().y + 2);
    const int n_lines = static_cast<int>(m_line_first.size()), n_tokens = static_cast<int>(m_places.size());
    const StripGhost& ghost = input.ghost;
    m_ghost_line = ghost.at < 0 || n_tokens == 0 ? -1 : ghost.at < n_tokens ? m_places[static_cast<size_t>(ghost.at)].line : n_lines - 1;
    const int n_rows = row_of(n_lines - 1) + (m_ghost_line == n_lines - 1 ? 2 : 1);
    ImGui::InvisibleButton("###tokens", {std::max(1.0f, ImGui::GetContentRegionAvail().x), std::max(1.0f, n_rows * line_height() + 4)});
    const bool over = ImGui::IsItemHovered();
    const ImVec2 mouse = ImGui::GetIO().MousePos;
    const float top = ImGui::GetWindowPos().y, bottom = top + ImGui::GetWindowHeight();
    const int first_line = std::clamp(line_at(static_cast<int>((top - origin.y) / line_height())), 0, n_lines - 1);
    const int last_line = std::clamp(line_at(static_cast<int>((bottom - origin.y) / line_height()) + 1), 0, n_lines - 1);
    const int first = m_line_first[static_cast<size_t>(first_line)];
    const int last = last_line + 1 < n_lines ? m_line_first[static_cast<size_t>(last_line) + 1] : n_tokens;
    for (int t = first; t < last; ++t) {
        const Place& place = m_places[static_cast<size_t>(t)];
        const ImVec2 low = {origin.x + place.x, origin.y + static_cast<float>(row_of(place.line)) * line_height()};
        const ImVec2 high = {low.x + place.width, low.y + chip_height()};
        draw_chip(input, t, input.style(t), place.text, low, high);
        if (over && mouse.x >= low.x && mouse.x < high.x + gap() && mouse.y >= low.y && mouse.y < low.y + line_height()) hit.hovered = t;
    }
    if (m_ghost_line >= first_line && m_ghost_line <= last_line) draw_ghost(ghost, origin, ImGui::GetContentRegionAvail().x - 3);
    const float ghost_y = origin.y + static_cast<float>(row_of(m_ghost_line) + 1) * line_height();
    hit.over_ghost = over && m_ghost_line >= 0 && mouse.y >= ghost_y && mouse.y < ghost_y + line_height();
    if (over && ImGui::IsMouseClicked(ImGuiMouseButton_Left)) hit.clicked = hit.hovered;
    if (over && ImGui::IsMouseClicked(ImGuiMouseButton_Right)) hit.context_menu = hit.hovered;
    scroll(input);
    ImGui::EndChild();
    return hit;
}

}  // namespace app
