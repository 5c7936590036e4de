// What panels say: token text, numbers, differences, kinds of files.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "app/shell/app_ui.h"
#include "app/widgets/text_diff.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

TEST(TokenText, ShowsWhatCannotBeSeen) {
    EXPECT_EQ(visible_token(" llama"), "·llama");
    EXPECT_EQ(visible_token("a\n"), "a↵");
    EXPECT_EQ(visible_token("\t"), "→");
    EXPECT_EQ(visible_token("\x01"), "<0x01>");
    EXPECT_EQ(visible_token(""), "(empty)");
    EXPECT_EQ(visible_token("é€😀"), "é€😀");
}

TEST(TokenText, WritesBrokenAndDeceivingCharactersOut) {
    EXPECT_EQ(visible_token("\xe2\x80"), "<0xE2><0x80>");            // a character cut off between two tokens
    EXPECT_EQ(visible_token("\xc0\xaf"), "<0xC0><0xAF>");            // overlong
    EXPECT_EQ(visible_token("\xed\xa0\x80"), "<0xED><0xA0><0x80>");  // half of a surrogate pair
    EXPECT_EQ(visible_token("\u202e"), "<U+202E>");                  // turns the direction of the text after it
    EXPECT_EQ(visible_token("\u00a0"), "<U+00A0>");
}

TEST(TokenText, IsCutInTheMiddleAtCharacters) {
    EXPECT_EQ(short_token("abcdefghij", 7), "abc…hij");
    EXPECT_EQ(short_token("äöüÄÖÜß", 5), "äö…Üß");
    EXPECT_EQ(short_token("abc", 7), "abc");
}

TEST(TokenText, NamesBytesAndCodePoints) {
    EXPECT_EQ(hex_bytes("é "), "C3 A9 20");
    EXPECT_EQ(code_points("é \xff"), "U+00E9 U+0020 ?");
    EXPECT_EQ(visible_name("my model\n.gguf"), "my model↵.gguf");
}

TEST(Numbers, HaveThreeSignificantDigits) {
    EXPECT_EQ(format_number(0.12345), "0.123");
    EXPECT_EQ(format_number(12.345), "12.3");
    EXPECT_EQ(format_number(1.0), "1.00");
    EXPECT_EQ(format_number(0.99999), "1.00");
    EXPECT_EQ(format_number(0), "0");
    EXPECT_EQ(format_number(std::nan("")), "–");
    EXPECT_EQ(format_number(-INFINITY), "−∞");
    EXPECT_EQ(format_percent(0.1234), "12.3 %");
    EXPECT_EQ(format_percent(1), "100 %");
    EXPECT_EQ(format_bytes(84.4e6), "84.4 MB");
    EXPECT_EQ(format_bytes(999), "999 B");
    EXPECT_EQ(format_bytes(999.7e6), "1.00 GB");
    EXPECT_EQ(format_count(135'000'000), "135 M");
}

TEST(Numbers, ExactOnesReadBackAsTheSameFloat) {
    for (const float v : {0.1f, 1.0f / 3, 16777217.0f, 1e-38f}) EXPECT_EQ(std::strtof(format_exact(v).c_str(), nullptr), v);
}

std::string joined(const std::vector<DiffPiece>& pieces) {
    std::string all;
    for (const DiffPiece& p : pieces) all += p.text;
    return all;
}

TEST(TextDiff, MarksTheWordsThatDifferAndKeepsEveryByte) {
    const std::string a = "A llama is a large animal.\nIt eats  grass.", b = "A llama is an animal.\nIt eats  green grass.";
    const TextDiff diff = diff_words(a, b);
    EXPECT_EQ(joined(diff.a), a);
    EXPECT_EQ(joined(diff.b), b);
    const std::vector<DiffPiece> expected = {{"A llama is ", false}, {"a large ", true}, {"animal.\nIt eats  grass.", false}};
    EXPECT_EQ(diff.a, expected);
    EXPECT_EQ(diff.b[1], (DiffPiece{"an ", true}));
    EXPECT_EQ(diff.b[3], (DiffPiece{"green ", true}));
    EXPECT_DOUBLE_EQ(diff.equal_share, 7.0 / 9);
}

TEST(TextDiff, HandlesEqualEmptyAndUnrelatedTexts) {
    EXPECT_DOUBLE_EQ(diff_words("one two", "one two").equal_share, 1);
    EXPECT_DOUBLE_EQ(diff_words("", "").equal_share, 1);
    EXPECT_TRUE(diff_words("", "x").a.empty());
    const TextDiff other = diff_words("one two", "three four");
    EXPECT_DOUBLE_EQ(other.equal_share, 0);
    EXPECT_TRUE(other.a[0].differs && other.b[0].differs);
}

TEST(TextDiff, OfVeryLongTextsStillFindsCommonEnds) {
    std::string a = "start ", b = "start ";
    for (int i = 0; i < 9000; ++i) a += fmt::format("x{} ", i), b += fmt::format("y{} ", i);
    const TextDiff diff = diff_words(a + "end", b + "end");
    EXPECT_EQ(diff.a.front(), (DiffPiece{"start ", false}));
    EXPECT_EQ(diff.a.back(), (DiffPiece{"end", false}));
}

class KindOfFile : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(folder); }
    void TearDown() override { std::filesystem::remove_all(folder); }
    std::filesystem::path write(const char* name, std::string_view bytes) const {
        std::ofstream(folder / name, std::ios::binary) << bytes;
        return folder / name;
    }
    const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / ("kinds-" + std::to_string(::getpid()));
};

TEST_F(KindOfFile, IsToldByNameThenByContent) {
    using namespace std::string_view_literals;
    EXPECT_EQ(kind_of_file(write("a.gguf", "")), ".gguf");
    EXPECT_EQ(kind_of_file(write("b.bin", "GGUF\x03\0\0\0more"sv)), ".gguf");
    EXPECT_EQ(kind_of_file(write("c", "\x10\0\0\0\0\0\0\0{\"a\":1}"sv)), ".safetensors");
    EXPECT_EQ(kind_of_file(write("d.md", "What is a llama?")), ".txt");
    EXPECT_EQ(kind_of_file(write("e", "")), "");
    EXPECT_EQ(kind_of_file(folder / "missing"), "");
}

}  // namespace
}  // namespace app
