// Fuzz target: text through every pre-tokenizer and vocabulary of the goldens, and through vocabularies that are themselves made up.
//
// Input: a byte that chooses, then the text; from 128 on, a vocabulary comes first (see read_vocabulary).
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/gguf.h"
#include "engine/model/pre_tokenizer.h"
#include "engine/model/tokenizer.h"
#include "engine/model/tokenizer_utf8.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/model/gguf_builder.h"

namespace gs {
namespace {

constexpr char kNextEntry = '\x1e', kNextSection = '\x1d';

std::unique_ptr<Tokenizer> open_golden(const char* name, std::string_view pre) {
    const Result<GgufFile> file = GgufFile::open(std::string(GATESCOPE_GOLDENS "/tokenizer/") + name);
    GS_CHECK(file, "a golden vocabulary is missing");
    std::vector<std::string> warnings;
    Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, warnings, pre);
    GS_CHECK(tokenizer, "a golden vocabulary does not load");
    return std::move(*tokenizer);
}

/// One for every pre-tokenizer, then the two of SentencePiece. Kept: compiling the expressions takes long.
const Tokenizer& golden(size_t index) {
    const size_t n_rows = pre_tokenizer_rows().size();
    static std::vector<std::unique_ptr<Tokenizer>> kept(n_rows + 2);
    std::unique_ptr<Tokenizer>& tokenizer = kept[index % kept.size()];
    if (!tokenizer) {
        const size_t i = index % kept.size();
        tokenizer = i < n_rows ? open_golden("bpe.gguf", pre_tokenizer_rows()[i].name) : open_golden(i == n_rows ? "spm.gguf" : "spm-phi3.gguf", {});
    }
    return *tokenizer;
}

void check_ids(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) GS_CHECK(id >= 0 && id < tokenizer.n_tokens(), "a token outside the vocabulary");
    static_cast<void>(tokenizer.decode(ids, true));
    static_cast<void>(tokenizer.decode(ids, false));
}

/// What holds for any vocabulary.
std::vector<int32_t> check_text(const Tokenizer& tokenizer, std::string_view text) {
    const std::vector<int32_t> plain = tokenizer.encode(text, SpecialTokens::kAsText), parsed = tokenizer.encode(text, SpecialTokens::kParse);
    check_ids(tokenizer, plain);
    check_ids(tokenizer, parsed);
    const std::string_view half = text.substr(0, text.size() / 2);
    const TextPart parts[] = {{half, SpecialTokens::kParse}, {text.substr(half.size()), SpecialTokens::kAsText}, {half, SpecialTokens::kAsText}};
    check_ids(tokenizer, tokenizer.encode_parts(parts));
    std::vector<int32_t> with_marks = plain;
    tokenizer.add_special(with_marks);
    check_ids(tokenizer, with_marks);
    for (const int32_t id : {-1, 0, tokenizer.n_tokens() - 1, tokenizer.n_tokens(), INT32_MAX, INT32_MIN}) {
        static_cast<void>(tokenizer.piece(id, true));
        static_cast<void>(tokenizer.kind(id));
        static_cast<void>(tokenizer.is_end(id));
    }
    return plain;
}

/// U+2581 stands for a space in these vocabularies and comes back as one.
std::string with_plain_spaces(std::string text) {
    for (size_t at; (at = text.find("\u2581")) != std::string::npos;) text.replace(at, 3, 1, ' ');
    return text;
}

void read_text(size_t choice, std::string_view text) {
    const Tokenizer& tokenizer = golden(choice);
    const std::vector<int32_t> ids = check_text(tokenizer, text);
    for (const int32_t id : ids) GS_CHECK(tokenizer.kind(id) != TokenKind::kControl, "typed text became a control token");
    const std::string back = tokenizer.decode(ids, true);
    if (tokenizer.model() == "gpt2") {
        GS_CHECK(back == repaired_utf8(text), "a text comes back changed");
    } else if (text.find("<mask>") == text.npos) {   // the token that may be typed: a space follows it
        // Of a space behind half a character, U+2581 comes back: its bytes became the rest of the character (tokenizers.md section 3, step 3).
        GS_CHECK(with_plain_spaces(back) == with_plain_spaces(std::string(text)), "a text comes back changed");
    }
}

std::vector<std::string> entries_of(std::string_view section) {
    std::vector<std::string> entries;
    while (!section.empty()) {
        const size_t n = std::min(section.find(kNextEntry), section.size());
        entries.emplace_back(section.substr(0, n));
        section.remove_prefix(std::min(n + 1, section.size()));
    }
    return entries;
}

/// Two bytes of choices; tokens, each with its kind as a digit in front; merges; the rest is text.
void read_vocabulary(uint8_t choice, test::FuzzInput in) {
    const uint8_t pre = in.byte();
    test::GgufBuilder builder;
    const bool is_bpe = choice & 1;
    builder.text("tokenizer.ggml.model", is_bpe ? "gpt2" : "llama").text("tokenizer.ggml.pre", pre_tokenizer_rows()[pre % pre_tokenizer_rows().size()].name);
    builder.text("general.name", choice & 2 ? "Phi-3" : "other");
    builder.value<uint8_t>("tokenizer.ggml.add_space_prefix", GgufValueType::kBool, (choice >> 2) & 1);
    builder.value<uint8_t>("tokenizer.ggml.add_eos_token", GgufValueType::kBool, (choice >> 3) & 1);
    builder.u32("tokenizer.ggml.unknown_token_id", (choice >> 4) & 3).u32("tokenizer.ggml.bos_token_id", pre & 7);
    std::vector<std::string> tokens = entries_of(in.until(kNextSection));
    const std::vector<std::string> merges = entries_of(in.until(kNextSection));
    std::vector<int32_t> kinds;
    std::vector<float> scores;
    for (std::string& token : tokens) {
        kinds.push_back(token.empty() ? 1 : token.front() - '0');
        token.erase(0, 1);
        scores.push_back(static_cast<float>(static_cast<int>(scores.size() * 37 % 11)) - 5.0f);
    }
    builder.texts("tokenizer.ggml.tokens", tokens).texts("tokenizer.ggml.merges", merges);
    builder.array("tokenizer.ggml.token_type", GgufValueType::kI32, kinds).array("tokenizer.ggml.scores", GgufValueType::kF32, scores);
    const test::Bytes bytes = builder.build();
    const Result<GgufFile> file = GgufFile::parse(bytes);
    GS_CHECK(file, "the vocabulary is no GGUF file");
    std::vector<std::string> warnings;
    const Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, warnings);
    if (tokenizer) check_text(**tokenizer, in.rest());
}

}  // namespace
}  // namespace gs

GS_FUZZ_TARGET(tokenizer) {
    gs::test::FuzzInput in(data, size);
    const uint8_t choice = in.byte();
    if (choice < 128) gs::read_text(choice, in.rest());
    else gs::read_vocabulary(choice, in);
    return 0;
}
