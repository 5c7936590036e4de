// Two texts as common and differing stretches, by words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gs {

struct DiffPiece {
    std::string text;
    bool differs = false;
    bool operator==(const DiffPiece&) const = default;
};
struct TextDiff {
    std::vector<DiffPiece> a, b;
    double equal_share = 1;  ///< words of the longer text that are in the common part
};
/// Longest common subsequence of words (runs of spaces belong to the word before). Of texts whose middles are too long only common beginning
/// and end (align.h).
TextDiff diff_words(std::string_view a, std::string_view b);
/// A word with the white space behind it, all of them together the text.
std::vector<std::string_view> split_words(std::string_view text);
/// The word without it.
std::string_view without_space(std::string_view word);

}  // namespace gs
