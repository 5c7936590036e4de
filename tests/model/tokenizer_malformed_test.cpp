// Vocabularies that are damaged, odd or hostile: one clean error, or loaded with a warning (gguf.md R25–R28).
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/model/bpe_alphabet.h"
#include "engine/model/gguf.h"
#include "engine/model/tokenizer.h"
#include "tests/model/gguf_builder.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using test::GgufBuilder;

struct Loaded {
    test::Bytes bytes;
    std::vector<std::string> warnings;
    std::unique_ptr<Tokenizer> tokenizer;   // or
    Error error;
};

Loaded load(const GgufBuilder& builder, std::string_view pre = {}) {
    Loaded out;
    out.bytes = builder.build();
    Result<GgufFile> file = GgufFile::parse(out.bytes);
    EXPECT_TRUE(file) << (file ? "" : file.error().message());
    Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, out.warnings, pre);
    if (tokenizer) out.tokenizer = std::move(*tokenizer);
    else out.error = tokenizer.error();
    return out;
}

std::vector<std::string> byte_texts() {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(BpeAlphabet::get().character(uint8_t(byte)));
    return texts;
}

/// Section 11's small BPE: all bytes (ids 0–255), then the results of its merges.
GgufBuilder small_bpe() {
    std::vector<std::string> tokens = byte_texts();
    for (const char* text : {"lo", "low", "er", "Ġlow", "Ġlower"}) tokens.emplace_back(text);
    GgufBuilder builder;
    builder.text("general.architecture", "llama").text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "gpt-2");
    builder.texts("tokenizer.ggml.tokens", tokens).texts("tokenizer.ggml.merges", {"l o", "lo w", "e r", "Ġ low"});
    return builder;
}

/// Section 11's small SPM; ids: 0 <unk>, 1 <s>, 2 </s>, 3 ▁, 4 a, 5 b, 6 ab, 7 ▁a, then the bytes.
GgufBuilder small_spm() {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a"};
    std::vector<float> scores = {0, 0, 0, -1, -2, -3, -0.5f, -0.1f};
    std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 1, 1};
    for (int byte = 0; byte < 256; ++byte) {
        char text[8];
        std::snprintf(text, sizeof text, "<0x%02X>", byte);
        tokens.emplace_back(text);
        scores.push_back(0);
        types.push_back(6);
    }
    GgufBuilder builder;
    builder.text("general.architecture", "llama").text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", tokens);
    builder.array("tokenizer.ggml.scores", GgufValueType::kF32, scores);
    builder.array("tokenizer.ggml.token_type", GgufValueType::kI32, types);
    return builder;
}

std::vector<std::string> pieces(const Tokenizer& tokenizer, std::string_view text) {
    std::vector<std::string> out;
    for (int32_t id : tokenizer.encode(text, SpecialTokens::kAsText)) out.push_back(tokenizer.piece(id, true));
    return out;
}

TEST(TokenizerMalformed, EveryBadFileOfTheTokenizerStageEndsAsTheIndexSays) {
    std::ifstream in(test::golden("bad/index.json"));
    nlohmann::json index = nlohmann::json::parse(in);
    int n_files = 0;
    for (const nlohmann::json& entry : index.is_array() ? index : index["files"]) {
        if (entry["stage"] != "tokenizer") continue;
        ++n_files;
        std::vector<std::string> allowed = entry.value("or", std::vector<std::string>());
        allowed.push_back(entry["class"]);
        std::string name = entry["file"];
        Result<GgufFile> file = GgufFile::open(test::golden("bad/" + name));
        ASSERT_TRUE(file) << name;
        std::vector<std::string> warnings;
        Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, warnings);
        std::string got = tokenizer ? "ok" : tokenizer.error().code;
        EXPECT_NE(std::find(allowed.begin(), allowed.end(), got), allowed.end()) << name << " gave " << got;
        if (!tokenizer) {
            EXPECT_EQ(tokenizer.error().kind, ErrorKind::kInput) << name;
        }
    }
    EXPECT_GT(n_files, 5);
}

TEST(TokenizerMalformed, MergesFollowRankAndWholeTokensOnlyTheFlag) {
    EXPECT_EQ(pieces(*load(small_bpe()).tokenizer, " lower"), (std::vector<std::string>{" low", "er"}));
    EXPECT_EQ(pieces(*load(small_bpe(), "glm4").tokenizer, " lower"), (std::vector<std::string>{" lower"}));
}

TEST(TokenizerMalformed, SpmMergesByScoreAndFallsBackToBytes) {
    Loaded with_prefix = load(small_spm());
    EXPECT_EQ(with_prefix.tokenizer->encode("ab", SpecialTokens::kAsText), (std::vector<int32_t>{7, 5}));
    EXPECT_EQ(with_prefix.tokenizer->encode("€", SpecialTokens::kAsText), (std::vector<int32_t>{3, 8 + 0xE2, 8 + 0x82, 8 + 0xAC}));
    GgufBuilder builder = small_spm();
    builder.value<uint8_t>("tokenizer.ggml.add_space_prefix", GgufValueType::kBool, 0);
    EXPECT_EQ(load(builder).tokenizer->encode("ab", SpecialTokens::kAsText), (std::vector<int32_t>{6}));
}

TEST(TokenizerMalformed, UnknownOrMissingPreTokenizerWarnsAndUsesDefault) {
    GgufBuilder builder = small_bpe();
    builder.text("tokenizer.ggml.pre", "no-such-\x1b[31mname");
    Loaded unknown = load(builder);
    EXPECT_EQ(unknown.tokenizer->pre(), "default");
    ASSERT_EQ(unknown.warnings.size(), 1u);
    EXPECT_EQ(unknown.warnings[0].find('\x1b'), std::string::npos);
    builder.remove("tokenizer.ggml.pre");
    Loaded missing = load(builder);
    EXPECT_EQ(missing.tokenizer->pre(), "default");
    EXPECT_EQ(missing.warnings.size(), 1u);
    EXPECT_TRUE(load(builder, "qwen2").warnings.empty());
}

TEST(TokenizerMalformed, UnsupportedKindsAndMissingKeysAreErrors) {
    GgufBuilder builder = small_bpe();
    EXPECT_EQ(load(builder.text("tokenizer.ggml.model", "rwkv")).error.code, "bad_tokenizer");
    EXPECT_EQ(load(builder.remove("tokenizer.ggml.model")).error.code, "missing_key");
    builder = small_bpe();
    EXPECT_EQ(load(builder.remove("tokenizer.ggml.tokens")).error.code, "missing_key");
    builder = small_bpe();
    EXPECT_EQ(load(builder.remove("tokenizer.ggml.merges")).error.code, "missing_key");
    builder = small_bpe();
    EXPECT_EQ(load(builder.u32("tokenizer.ggml.merges", 3)).error.code, "bad_tokenizer");
}

TEST(TokenizerMalformed, BadScoresAreErrors) {
    GgufBuilder builder = small_spm();
    std::vector<float> scores(8 + 256, std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(load(builder.array("tokenizer.ggml.scores", GgufValueType::kF32, scores)).error.code, "bad_tokenizer");
    scores.assign(8 + 255, 0.0f);
    EXPECT_EQ(load(builder.array("tokenizer.ggml.scores", GgufValueType::kF32, scores)).error.code, "bad_tokenizer");
    std::vector<int32_t> ranks(8 + 256, -5);
    ranks[6] = -1;   // "ab" before "▁a"
    Loaded integers = load(builder.array("tokenizer.ggml.scores", GgufValueType::kI32, ranks));
    ASSERT_TRUE(integers.tokenizer);
    EXPECT_EQ(integers.tokenizer->encode("ab", SpecialTokens::kAsText), (std::vector<int32_t>{3, 6}));
}

TEST(TokenizerMalformed, OverlongTokenIsAnError) {
    std::vector<std::string> tokens = byte_texts();
    tokens.emplace_back(64 * 1024 + 1, 'x');
    GgufBuilder builder = small_bpe();
    EXPECT_EQ(load(builder.texts("tokenizer.ggml.tokens", tokens)).error.code, "bad_tokenizer");
}

TEST(TokenizerMalformed, IdsOutOfRangeAreIgnoredWithAWarning) {
    GgufBuilder builder = small_bpe();
    Loaded loaded = load(builder.u32("tokenizer.ggml.bos_token_id", 4'000'000'000u));
    EXPECT_EQ(loaded.tokenizer->bos(), -1);
    EXPECT_EQ(loaded.warnings.size(), 1u);
    for (int32_t id : {-1, loaded.tokenizer->n_tokens(), INT32_MAX, INT32_MIN}) {
        EXPECT_EQ(loaded.tokenizer->piece(id, true), "");
        EXPECT_FALSE(loaded.tokenizer->is_end(id));
        EXPECT_EQ(loaded.tokenizer->kind(id), TokenKind::kUndefined);
    }
}

TEST(TokenizerMalformed, MergesWithoutTwoHalvesAreIgnoredWithAWarning) {
    GgufBuilder builder = small_bpe();
    Loaded loaded = load(builder.texts("tokenizer.ggml.merges", {"", "lo", " ", "x ", "l o", "lo w"}));
    ASSERT_TRUE(loaded.tokenizer);
    EXPECT_EQ(loaded.warnings.size(), 1u);
    EXPECT_EQ(pieces(*loaded.tokenizer, "low"), (std::vector<std::string>{"low"}));
}

TEST(TokenizerMalformed, MergesIntoTextsThatAreNoTokensFallBackToBytes) {
    GgufBuilder builder = small_bpe();
    Loaded loaded = load(builder.texts("tokenizer.ggml.merges", {"q u", "qu x"}));
    EXPECT_EQ(pieces(*loaded.tokenizer, "qux"), (std::vector<std::string>{"q", "u", "x"}));
}

TEST(TokenizerMalformed, EmptyAndDuplicateTokensLoadAndTheLastWins) {
    std::vector<std::string> tokens = byte_texts();
    for (const char* text : {"", "lo", "lo", ""}) tokens.emplace_back(text);
    GgufBuilder builder = small_bpe();
    Loaded loaded = load(builder.texts("tokenizer.ggml.tokens", tokens));
    ASSERT_TRUE(loaded.tokenizer);
    EXPECT_EQ(loaded.tokenizer->encode("lo", SpecialTokens::kAsText), (std::vector<int32_t>{258}));
    EXPECT_NE(loaded.tokenizer->piece(256, true), loaded.tokenizer->piece(259, true));
}

TEST(TokenizerMalformed, MissingBytesAreDroppedWithAWarning) {
    GgufBuilder builder;
    builder.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "gpt-2");
    builder.texts("tokenizer.ggml.tokens", {"a", "b"}).texts("tokenizer.ggml.merges", {"a b"});
    Loaded loaded = load(builder);
    EXPECT_EQ(loaded.tokenizer->encode("axb", SpecialTokens::kAsText), (std::vector<int32_t>{0, 1}));
    EXPECT_EQ(loaded.warnings.size(), 1u);
}

}  // namespace
}  // namespace gs
