#include "engine/routing/token_class.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

using enum TokenClass;

std::vector<TokenClass> classes_of(const std::vector<std::string>& pieces, std::vector<size_t> special = {}) {
    std::vector<bool> is_special(pieces.size());
    for (const size_t i : special) is_special[i] = true;
    return classify_tokens(pieces, is_special);
}

TEST(TokenClass, WordsOfASentence) {
    const auto c = classes_of({"<s>", "The", " llama", " was", " walking", " slowly", " with", " Maria", ",", " and", " it", " ate", " 42", " apples", "."}, {0});
    EXPECT_EQ(c, (std::vector<TokenClass>{kNone, kArticle, kWord, kAuxiliary, kVerbForm, kAdverb, kPreposition, kName, kPunctuation, kConjunction, kPronoun, kWord, kNumber, kWord, kPunctuation}));
}

TEST(TokenClass, AWordInPiecesHasOneClassAndParts) {
    EXPECT_EQ(classes_of({" mis", "understand", "ing", " it"}), (std::vector<TokenClass>{kVerbForm, kWordPart, kWordPart, kPronoun}));
    EXPECT_EQ(classes_of({" tog", "ether", "-", "ness"}), (std::vector<TokenClass>{kWord, kWordPart, kPunctuation, kWord}));
    EXPECT_EQ(classes_of({" don", "'t", " its", "'", "s"}), (std::vector<TokenClass>{kAuxiliary, kWordPart, kPronoun, kPunctuation, kWord}));
    EXPECT_EQ(classes_of({" caf", "\xc3", "\xa9", " is"}), (std::vector<TokenClass>{kWord, kWordPart, kWordPart, kAuxiliary})) << "fragments of a character";
    EXPECT_EQ(classes_of({" 4", "2", "7"}), (std::vector<TokenClass>{kNumber, kNumber, kNumber}));
}

TEST(TokenClass, CapitalsOpenSentencesOrNameThings) {
    EXPECT_EQ(classes_of({"Apples", " from", " Peru", ".", " Apples", " are", "\n", "Apples"}),
              (std::vector<TokenClass>{kWord, kPreposition, kName, kPunctuation, kWord, kAuxiliary, kLineBreak, kWord}));
    EXPECT_EQ(classes_of({"<s>", "Apples", "<s>", "Apples"}, {0, 2})[3], kWord) << "a control token begins anew";
    EXPECT_EQ(classes_of({" the", " \xc3\x9c" "bung"})[1], kName) << "capitals with umlauts too";
}

TEST(TokenClass, CodeAndWhiteSpace) {
    EXPECT_EQ(classes_of({"def", " f", "(", "x", "):", "\n", "    ", " return", " x", " +", " 1"}),
              (std::vector<TokenClass>{kWord, kWord, kSymbol, kWord, kSymbol, kLineBreak, kLineBreak, kWord, kWord, kSymbol, kNumber}));
    EXPECT_EQ(classes_of({" ", "  ", "\t", "    ", "\n\n"}), (std::vector<TokenClass>{kSpace, kSpace, kLineBreak, kLineBreak, kLineBreak}));
    EXPECT_EQ(classes_of({"\xe2\x80\x94", "\xe2\x80\x9c" "Oh", ""}), (std::vector<TokenClass>{kPunctuation, kPunctuation, kSpace})) << "typographic marks";
}

TEST(TokenClass, German) {
    EXPECT_EQ(classes_of({"Der", " Hund", " ist", " nicht", " auf", " dem", " Berg", " und", " sie", " l", "\xc3\xa4uft"}),
              (std::vector<TokenClass>{kArticle, kName, kAuxiliary, kAuxiliary, kPreposition, kArticle, kName, kConjunction, kPronoun, kWord, kWordPart}));
    EXPECT_EQ(classes_of({" \xc3\x9c" "ber"})[0], kPreposition) << "capital of a listed word with an umlaut";
}

TEST(TokenClass, EveryClassHasANameAndARule) {
    for (int c = 0; c < kTokenClasses; ++c) {
        EXPECT_STRNE(name_of(static_cast<TokenClass>(c)), "");
        EXPECT_STRNE(rule_of(static_cast<TokenClass>(c)), "");
    }
    EXPECT_STREQ(name_of(kNone), "special");
}

}  // namespace
}  // namespace gs
