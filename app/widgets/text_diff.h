// Two texts as common and differing stretches, by words; drawn side by side with the difference marked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "imgui.h"

namespace app {

struct DiffPiece {
    std::string text;
    bool differs = false;
    bool operator==(const DiffPiece&) const = default;
};
struct TextDiff {
    std::vector<DiffPiece> a, b;
    double equal_share = 1;  ///< words of the longer text that are in the common part
};
/// Longest common subsequence of words (runs of spaces belong to the word before). Texts over 4,000 words: common prefix and suffix only.
TextDiff diff_words(std::string_view a, std::string_view b);

/// Wrapped text with differing pieces on a tinted, underlined background (colour is never the only mark).
void draw_diff(const std::vector<DiffPiece>& pieces, ImU32 mark, float width);

}  // namespace app
