// Word class of a token, from the text around it: a small set of rules, so that anybody can check what a label means. No model, no dictionary.
//
// A piece that goes on with a word (a letter or digit right before it; 's and 't after one) is "word part". The first piece of a word has the class of the whole word,
// its later pieces included. Rules in order, first one wins:
//   line break    only white space with a newline or a tab in it, or four blanks and more (indentation); "space": other white space alone
//   number        begins with a digit, a later piece too
//   punctuation   . , ; : ! ? ' " … and typographic quotes and dashes       symbol   any other mark: = + ( ) { } _ < > / …
//   article, preposition, conjunction, pronoun, auxiliary: listed words of English and German, and Python's keywords among them where they are such words
//   name          begins with a capital and does not open a sentence (German capitalises all nouns: there it means noun)
//   -ing, -ed     other words of five letters and more that end so: mostly forms of English verbs
//   -ly           likewise: mostly adverbs
//   word          the rest: nouns, other verbs, adjectives
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gs {

enum class TokenClass : int8_t {
    kNone = -1,                              ///< control tokens: not counted
    kWord, kWordPart, kName, kVerbForm, kAdverb, kArticle, kPreposition, kConjunction, kPronoun, kAuxiliary, kNumber, kPunctuation, kSymbol, kLineBreak, kSpace
};
inline constexpr int kTokenClasses = 15;
const char* name_of(TokenClass c);           ///< "word", "word part", "name", "-ing, -ed", …
/// The rule in a sentence, for tooltips.
const char* rule_of(TokenClass c);

/// pieces: [T] exact bytes, one after another as in the text. is_special: [T] control tokens; they end words and sentences.
std::vector<TokenClass> classify_tokens(std::span<const std::string> pieces, const std::vector<bool>& is_special);

}  // namespace gs
