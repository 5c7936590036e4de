#include "engine/routing/text_diff.h"

#include <algorithm>
#include <unordered_map>

#include "engine/routing/align.h"

namespace gs {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::vector<DiffPiece> join(const std::vector<std::string_view>& words, const std::vector<char>& common) {
    std::vector<DiffPiece> pieces;
    for (size_t i = 0; i < words.size(); ++i) {
        const bool differs = !common[i];
        if (pieces.empty() || pieces.back().differs != differs) pieces.push_back({{}, differs});
        pieces.back().text += words[i];
    }
    return pieces;
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text) {
    std::vector<std::string_view> words;
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

TextDiff diff_words(std::string_view text_a, std::string_view text_b) {
    const std::vector<std::string_view> a = split_words(text_a), b = split_words(text_b);
    std::unordered_map<std::string_view, int32_t> numbers;
    const auto numbered = [&](const std::vector<std::string_view>& words) {
        std::vector<int32_t> out;
        for (const std::string_view word : words) out.push_back(numbers.try_emplace(without_space(word), static_cast<int32_t>(numbers.size())).first->second);
        return out;
    };
    const std::vector<int32_t> of_a = numbered(a), of_b = numbered(b);
    const Alignment common = align(of_a, of_b, 40'000'000);   // within a frame or two: it is drawn while a run writes
    std::vector<char> in_a(a.size(), 0), in_b(b.size(), 0);
    for (const auto& [i, j] : common.pairs) in_a[static_cast<size_t>(i)] = in_b[static_cast<size_t>(j)] = 1;
    TextDiff diff{join(a, in_a), join(b, in_b), 1};
    const size_t longer = std::max(a.size(), b.size());
    if (longer > 0) diff.equal_share = static_cast<double>(common.pairs.size()) / static_cast<double>(longer);
    return diff;
}

}  // namespace gs
