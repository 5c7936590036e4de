#include "engine/core/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gs {
namespace {

/// Lengths of the pieces that reading cuts a text into; below 0 where one is broken.
std::vector<int> pieces(std::string_view text) {
    std::vector<int> out;
    while (!text.empty()) {
        const Character c = next_character(text);
        out.push_back(c.valid ? static_cast<int>(c.n_bytes) : -static_cast<int>(c.n_bytes));
        text.remove_prefix(c.n_bytes);
    }
    return out;
}

TEST(Utf8, ReadsTheFirstAndTheLastCharacterOfEveryLength) {
    const struct {
        const char* text;
        uint32_t code;
    } rows[] = {{"\x01", 0x1}, {"\x7f", 0x7f}, {"\xc2\x80", 0x80}, {"\xdf\xbf", 0x7ff}, {"\xe0\xa0\x80", 0x800}, {"\xed\x9f\xbf", 0xd7ff},
                {"\xee\x80\x80", 0xe000}, {"\xef\xbf\xbf", 0xffff}, {"\xf0\x90\x80\x80", 0x10000}, {"\xf4\x8f\xbf\xbf", 0x10ffff}};
    for (const auto& row : rows) {
        const Character c = next_character(row.text);
        EXPECT_TRUE(c.valid) << row.code;
        EXPECT_EQ(c.code, row.code);
        EXPECT_EQ(c.n_bytes, std::string_view(row.text).size()) << row.code;
    }
}

TEST(Utf8, TakesTheLongestBrokenPrefixAndGoesOnBehindIt) {
    using Pieces = std::vector<int>;
    EXPECT_EQ(pieces("a\xe2\x82"), (Pieces{1, -2}));                    // ends within a character
    EXPECT_EQ(pieces("\xe2\x82z"), (Pieces{-2, 1}));
    EXPECT_EQ(pieces("\xf0\x9f\x98z"), (Pieces{-3, 1}));
    EXPECT_EQ(pieces("\x80\xbf"), (Pieces{-1, -1}));                    // later bytes without a first one
    EXPECT_EQ(pieces("\xc0\xaf"), (Pieces{-1, -1}));                    // overlong
    EXPECT_EQ(pieces("\xe0\x9f\x80"), (Pieces{-1, -1, -1}));
    EXPECT_EQ(pieces("\xf0\x8f\x80\x80"), (Pieces{-1, -1, -1, -1}));
    EXPECT_EQ(pieces("\xed\xa0\x80"), (Pieces{-1, -1, -1}));            // half of a surrogate pair
    EXPECT_EQ(pieces("\xf4\x90\x80\x80"), (Pieces{-1, -1, -1, -1}));    // above U+10FFFF
    EXPECT_EQ(pieces("\xf5\xff"), (Pieces{-1, -1}));
}

}  // namespace
}  // namespace gs
