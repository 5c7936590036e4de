#include "engine/routing/token_class.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/core/check.h"

namespace gs {
namespace {

struct ClassRow {
    const char* name;
    const char* rule;
};
constexpr std::array<ClassRow, kTokenClasses> kClasses = {{
    {"word", "The first piece of a word that no other rule names: nouns, most verbs, adjectives"},
    {"word part", "A later piece of a word: there is a letter or digit right before it"},
    {"name", "Begins with a capital and does not open a sentence; in German every noun"},
    {"-ing, -ed", "A word of five letters or more that ends in -ing or -ed: mostly forms of verbs"},
    {"-ly", "A word of five letters or more that ends in -ly: mostly adverbs"},
    {"article", "the, a, an, this, that, these, those; German der, die, das, ein and their forms"},
    {"preposition", "of, in, to, for, with, on, at, from, by and other listed ones; German in, von, mit, auf, zu and others"},
    {"conjunction", "and, or, but, if, because, while and other listed ones; German und, oder, aber, dass and others"},
    {"pronoun", "I, you, he, it, they, who, what, their and other listed ones; German ich, er, sie, es and others"},
    {"auxiliary", "is, are, was, has, do, will, can, not and other listed ones; German ist, war, hat, wird, nicht and others"},
    {"number", "Begins with a digit, also within a number or a word"},
    {"punctuation", "Full stop, comma, colon, quotes, dashes, question and exclamation mark"},
    {"symbol", "Any other mark: brackets, operators, underscores"},
    {"line break", "White space with a newline or tab, or four blanks and more"},
    {"space", "Other white space by itself"},
}};

struct WordList {
    TokenClass c;
    std::string_view words;                  ///< lower case, a blank before and after each
};
constexpr WordList kWords[] = {
    {TokenClass::kArticle, " the a an this that these those der die das den dem des ein eine einen einem einer eines dieser diese dieses diesen diesem kein keine "},
    {TokenClass::kPreposition, " of in to for with on at from by into over under about after before between through during against without within along across behind beyond near off onto "
                               "since toward towards upon until up down out von mit auf zu zum zur im an aus bei beim nach vor seit über unter zwischen durch für gegen ohne um bis vom "},
    {TokenClass::kConjunction, " and or but nor if because while when where than then so although though whether unless as else und oder aber denn wenn weil dass daß als ob sondern während "},
    {TokenClass::kPronoun, " i you he she it we they me him her us them my your his its our their mine who whom whose which what each every some any all both one self ich du er sie es wir ihr "
                           "mich dich sich uns euch ihm ihn ihnen mein dein sein seine seiner seinem seinen ihre ihrer ihrem ihren unser wer "},
    {TokenClass::kAuxiliary, " is are was were be been being am has have had having do does did will would can could shall should may might must not no don doesn didn isn wasn ist sind war "
                             "waren hat haben hatte hatten wird werden wurde wurden kann können konnte muss soll nicht "},
};

bool is_word_byte(char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u >= '0' && u <= '9') || (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// Bytes of a mark at the front that UTF-8 writes outside ASCII: General Punctuation (U+2010..U+205F), « ¡ § ¿ and other marks of Latin-1, CJK marks; else 0.
size_t wide_mark(std::string_view s) {
    const auto at = [&](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
    if (at(0) == 0xC2 && at(1) >= 0xA1 && at(1) <= 0xBF && at(1) != 0xAA && at(1) != 0xB5 && at(1) != 0xBA) return 2;
    if (at(0) == 0xE2 && (at(1) == 0x80 || at(1) == 0x81) && s.size() >= 3) return 3;
    if (at(0) == 0xE3 && at(1) == 0x80 && s.size() >= 3) return 3;
    return 0;
}

/// A word's bytes from the front: letters and digits up to the next mark or blank.
size_t word_length(std::string_view s) {
    size_t n = 0;
    while (n < s.size() && is_word_byte(s[n]) && wide_mark(s.substr(n)) == 0) ++n;
    return n;
}

std::string lowered(std::string_view word) {
    std::string out(word);
    for (size_t i = 0; i < out.size(); ++i) {
        if (out[i] >= 'A' && out[i] <= 'Z') out[i] = static_cast<char>(out[i] - 'A' + 'a');
        const bool is_umlaut = i > 0 && static_cast<unsigned char>(out[i - 1]) == 0xC3 && static_cast<unsigned char>(out[i]) >= 0x80 && static_cast<unsigned char>(out[i]) <= 0x9E;
        if (is_umlaut) out[i] = static_cast<char>(out[i] + 0x20);   // À..Þ to à..þ
    }
    return out;
}

bool begins_with_capital(std::string_view word) {
    if (word.empty()) return false;
    const unsigned a = static_cast<unsigned char>(word[0]), b = word.size() > 1 ? static_cast<unsigned char>(word[1]) : 0;
    return (a >= 'A' && a <= 'Z') || (a == 0xC3 && b >= 0x80 && b <= 0x9E);
}

TokenClass class_of_word(std::string_view word, bool opens_sentence) {
    if (is_digit(word[0])) return TokenClass::kNumber;
    const std::string small = lowered(word);
    const std::string wanted = ' ' + small + ' ';
    for (const WordList& list : kWords)
        if (list.words.find(wanted) != std::string_view::npos) return list.c;
    if (begins_with_capital(word) && !opens_sentence) return TokenClass::kName;
    constexpr size_t kShortest = 5;
    if (small.size() >= kShortest && (small.ends_with("ing") || small.ends_with("ed"))) return TokenClass::kVerbForm;
    if (small.size() >= kShortest && small.ends_with("ly")) return TokenClass::kAdverb;
    return TokenClass::kWord;
}

TokenClass class_of_mark(std::string_view s) {
    constexpr std::string_view kMarks = ".,;:!?'\"`-";
    return wide_mark(s) > 0 || kMarks.find(s[0]) != std::string_view::npos ? TokenClass::kPunctuation : TokenClass::kSymbol;
}

TokenClass class_of_blanks(std::string_view s) {
    constexpr size_t kIndentation = 4;
    return s.find_first_of("\n\t\r") != std::string_view::npos || s.size() >= kIndentation ? TokenClass::kLineBreak : TokenClass::kSpace;
}

/// What has been read so far, for the next piece.
struct Reader {
    bool in_word = false, opens_sentence = true;

    void pass(std::string_view piece) {
        for (size_t i = 0; i < piece.size();) {
            const size_t mark = wide_mark(piece.substr(i));
            const char c = piece[i];
            if (c == '.' || c == '!' || c == '?' || c == '\n') opens_sentence = true;
            else if (mark == 0 && is_word_byte(c)) opens_sentence = false;
            in_word = mark == 0 && is_word_byte(c);
            i += std::max<size_t>(mark, 1);
        }
    }
};

}  // namespace

const char* name_of(TokenClass c) { return c == TokenClass::kNone ? "special" : kClasses[static_cast<size_t>(c)].name; }
const char* rule_of(TokenClass c) { return c == TokenClass::kNone ? "Control tokens: not counted" : kClasses[static_cast<size_t>(c)].rule; }

std::vector<TokenClass> classify_tokens(std::span<const std::string> pieces, const std::vector<bool>& is_special) {
    GS_CHECK(pieces.size() == is_special.size(), "a flag for every piece");
    constexpr size_t kLongestWord = 64;
    std::vector<TokenClass> out;
    Reader reader;
    for (size_t t = 0; t < pieces.size(); ++t) {
        if (is_special[t]) {
            out.push_back(TokenClass::kNone);
            reader = {};
            continue;
        }
        const std::string_view piece = pieces[t];
        size_t start = 0;
        while (start < piece.size() && is_blank(piece[start])) ++start;
        const std::string_view body = piece.substr(start);
        const size_t length = word_length(body);
        const bool is_clitic = start == 0 && reader.in_word && body.size() > 1 && body[0] == '\'' && is_word_byte(body[1]);   // 's, 't
        if (body.empty()) {
            out.push_back(class_of_blanks(piece));
        } else if (is_clitic) {
            out.push_back(TokenClass::kWordPart);
        } else if (length == 0) {
            out.push_back(class_of_mark(body));
        } else if (start == 0 && reader.in_word && !is_digit(body[0])) {
            out.push_back(TokenClass::kWordPart);
        } else {
            std::string word(body.substr(0, length));
            for (size_t next = t + 1; length == body.size() && next < pieces.size() && !is_special[next] && word.size() < kLongestWord; ++next) {
                const size_t more = word_length(pieces[next]);
                word += pieces[next].substr(0, more);
                if (more < pieces[next].size() || more == 0) break;
            }
            const bool opens = reader.opens_sentence || piece.substr(0, start).find('\n') != std::string_view::npos;
            out.push_back(class_of_word(word, opens));
        }
        reader.pass(piece);
    }
    return out;
}

}  // namespace gs
