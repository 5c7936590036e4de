// Pre-tokenizers alone: the golden splits of tokenizers.md section 11, and time on hostile text.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "engine/model/pre_tokenizer.h"

namespace gs {
namespace {

using Pieces = std::vector<std::string>;

Pieces split(std::string_view name, std::string_view text) {
    const PreTokenizerRow* row = find_pre_tokenizer(name);
    Pieces pieces;
    if (row == nullptr) return pieces;
    PreTokenizer(*row).split(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
    return pieces;
}

const std::string kText1 = "Hello World's 12345 a_b  c\n\n  d!!";
const std::string kText2 = "I'LL pay £3.50, ok?\r\n\tXmlHTTPRequest";
const std::string kText3 = "日本語とEnglish café e\u0301  ";

struct SplitCase {
    const char* name;
    Pieces first, second, third;
};

const std::vector<SplitCase>& split_cases() {
    static const std::vector<SplitCase> cases = {
        {"gpt-2",
         {"Hello", " World", "'s", " 12345", " a", "_", "b", " ", " c", "\n\n ", " d", "!!"},
         {"I", "'", "LL", " pay", " £", "3", ".", "50", ",", " ok", "?", "\r\n", "\t", "XmlHTTPRequest"},
         {"日本語とEnglish", " café", " e", "\u0301", "  "}},
        {"llama-bpe",
         {"Hello", " World", "'s", " ", "123", "45", " a", "_b", " ", " c", "\n\n", " ", " d", "!!"},
         {"I", "'LL", " pay", " £", "3", ".", "50", ",", " ok", "?\r\n", "\tXmlHTTPRequest"},
         {"日本語とEnglish", " café", " e", "\u0301", "  "}},
        {"qwen2",
         {"Hello", " World", "'s", " ", "1", "2", "3", "4", "5", " a", "_b", " ", " c", "\n\n", " ", " d", "!!"},
         {"I", "'LL", " pay", " £", "3", ".", "5", "0", ",", " ok", "?\r\n", "\tXmlHTTPRequest"},
         {"日本語とEnglish", " café", " e", "\u0301", "  "}},
        {"refact",
         {"Hello", " World", "'s", " ", "1", "2", "3", "4", "5", " a", "_", "b", " ", " c", "\n\n ", " d", "!!"},
         {"I", "'", "LL", " pay", " £", "3", ".", "5", "0", ",", " ok", "?", "\r\n", "\t", "XmlHTTPRequest"},
         {"日本語とEnglish", " café", " e", "\u0301", "  "}},
        {"deepseek-llm",
         {"Hello", " World", "'", "s", " ", "12345", " a", "_", "b", " ", " c", "\n", "\n", " ", " d", "!!"},
         {"I", "'", "LL", " pay", " £", "3", ".", "50", ",", " ok", "?", "\r", "\n", "\tXmlHTTPRequest"},
         {"日本語と", "English", " caf", "é", " e", "\u0301", "  "}},
        {"deepseek-v3",
         {"Hello", " World", "'s", " ", "123", "45", " a", "_b", " ", " c", "\n\n", " ", " d", "!!"},
         {"I", "'LL", " pay", " £", "3", ".", "50", ",", " ok", "?\r\n", "\tXmlHTTPRequest"},
         {"日本語と", "English", " café", " e\u0301", "  "}},
        {"gpt-4o",
         {"Hello", " World's", " ", "123", "45", " a", "_b", " ", " c", "\n\n", " ", " d", "!!"},
         {"I'LL", " pay", " £", "3", ".", "50", ",", " ok", "?\r\n", "\tXml", "HTTPRequest"},
         {"日本語とEnglish", " café", " e\u0301", "  "}},
        {"default",
         {"Hello", " World", "'", "s", " ", "123", "45", " a", "_", "b", " ", " c", "\n\n ", " d", "!!"},
         {"I", "'", "LL", " pay", " £", "3", ".", "50", ",", " ok", "?", "\r\n", "\t", "XmlHTTPRequest"},
         {"日本語とEnglish", " café", " e", "\u0301", "  "}},
    };
    return cases;
}

TEST(TokenizerSplit, MatchesTheGoldenSplits) {
    for (const SplitCase& one : split_cases()) {
        EXPECT_EQ(split(one.name, kText1), one.first) << one.name;
        EXPECT_EQ(split(one.name, kText2), one.second) << one.name;
        EXPECT_EQ(split(one.name, kText3), one.third) << one.name;
    }
}

TEST(TokenizerSplit, WhiteSpaceIsTheUnicodePropertyAndNothingMore) {
    // U+180E lost the property in Unicode 6.3, PCRE2's \s still has it. As white space, the two would be one piece.
    EXPECT_EQ(split("gpt-2", "\u180E \u180E"), (Pieces{"\u180E", " \u180E"}));
    EXPECT_EQ(split("gpt-2", "\u0085\u00A0"), (Pieces{"\u0085\u00A0"}));
    EXPECT_EQ(split("gpt-2", "\u200B "), (Pieces{"\u200B", " "}));
}

TEST(TokenizerSplit, LongSAndKelvinAreNotContractions) {
    EXPECT_EQ(split("llama-bpe", "it'\u017F"), (Pieces{"it", "'\u017F"}));   // a letter run with its one leading character
    EXPECT_EQ(split("llama-bpe", "it'sa"), (Pieces{"it", "'s", "a"}));
}

TEST(TokenizerSplit, EveryPreTokenizerKeepsEveryByteOfHostileText) {
    std::vector<std::string> texts;
    constexpr const char* kSurrogate = "\xED\xA0\x80";
    for (const char* unit : {" ", "a", "'", "1", "\n", "!", "A", "中", "e\u0301", " \n", "'s ", "\u3000", "\u2028", "aA", kSurrogate}) {
        std::string text;
        for (int i = 0; i < 100'000; ++i) text += unit;
        texts.push_back(text);
        texts.push_back(text + "1");   // a run that does not reach the end is where backtracking hurts
        texts.push_back(text + "中x");
    }
    double worst_seconds = 0;
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        PreTokenizer pre(row);
        for (const std::string& text : texts) {
            auto start = std::chrono::steady_clock::now();
            std::string joined;
            size_t n_empty = 0;
            pre.split(text, [&](std::string_view piece) {
                joined += piece;
                n_empty += piece.empty();
            });
            worst_seconds = std::max(worst_seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
            EXPECT_TRUE(joined == text) << row.name << " on " << text.substr(0, 8);
            EXPECT_EQ(n_empty, 0u) << row.name;
        }
    }
    std::printf("slowest of %zu texts: %.1f ms\n", texts.size() * pre_tokenizer_rows().size(), worst_seconds * 1e3);
}

}  // namespace
}  // namespace gs
