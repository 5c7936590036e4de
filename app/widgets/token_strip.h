// Tokens as a flowing text of coloured chips: wraps, clips, click selects, hover lights. Layout is kept until tokens, width or font change. Under one
// of its lines may stand another text, dim: how it went on before.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "imgui.h"

namespace app {

struct StripToken {
    ImU32 background = 0;          ///< 0 = none
    bool special = false;          ///< bordered chip
    bool boundary_before = false;  ///< a mark in front: prefill → decode
};

struct StripGhost {
    int at = -1;                     ///< the token that it is in place of, n_tokens: behind the last one; -1: there is none
    std::string_view name, text;     ///< "previous: k=4", and what it was; as much as fits on one line is drawn
    ImU32 color = 0;
};

struct StripInput {
    int n_tokens = 0;
    uint64_t revision = 0;                       ///< of the texts; appended tokens keep the earlier ones valid
    uint64_t identity = 0;                       ///< of the run: another one lays out anew
    std::function<std::string_view(int)> bytes;  ///< exact bytes of a token
    std::function<StripToken(int)> style;        ///< called for visible tokens only
    int selected = -1, hovered = -1;
    ImU32 text_color = 0, selection_color = 0, hover_color = 0, border_color = 0;
    bool follow = false;  ///< keep the newest token in sight
    StripGhost ghost{};
    int open_at = -1;     ///< otherwise the token that is in sight when a run comes, until the user scrolls
};

struct StripHit {
    int hovered = -1, clicked = -1, context_menu = -1;
    bool over_ghost = false;
};

class TokenStrip {
public:
    /// Draws into a child of `size` at the cursor.
    StripHit draw(const char* id, const StripInput& input, ImVec2 size);

private:
    struct Place {
        float x, width;
        int line;
        std::string text;
    };
    void layout(const StripInput& input, float width);
    void scroll(const StripInput& input);
    void change_run(uint64_t identity);
    void draw_ghost(const StripGhost& ghost, ImVec2 origin, float width) const;
    /// Where a line of tokens stands, in lines from the top: the ghost takes one of its own.
    int row_of(int line) const { return line + (m_ghost_line >= 0 && line > m_ghost_line ? 1 : 0); }
    int line_at(int row) const { return row - (m_ghost_line >= 0 && row > m_ghost_line ? 1 : 0); }
    std::vector<Place> m_places;
    std::vector<int> m_line_first;  ///< first token of each line
    int m_ghost_line = -1;          ///< the ghost is under this one
    uint64_t m_identity = 0;
    float m_width = 0, m_font_size = 0, m_x = 0;
    bool m_broken = false;   ///< the last token ends its line
    int m_scrolled_to = -1, m_last_selected = -1;
    std::pair<uint64_t, float> m_left;   ///< the run that was shown before this one, and how far it was scrolled
    uint64_t m_opened = 0;   ///< identity of the run that has been brought to its opening place and left there by the user
};

}  // namespace app
