// What must hold for every text: round trips, no control token from typed text, end-of-generation set, long prompts.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <random>

#include "engine/model/gguf.h"
#include "engine/model/pre_tokenizer.h"
#include "engine/model/tokenizer.h"
#include "engine/model/tokenizer_utf8.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

std::unique_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& path, std::string_view pre = {}) {
    Result<GgufFile> file = GgufFile::open(path);
    std::vector<std::string> warnings;
    Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, warnings, pre);
    return std::move(tokenizer).value();
}

std::unique_ptr<Tokenizer> bundled() { return open_tokenizer(GATESCOPE_BUNDLED_MODEL); }

/// Valid UTF-8 that mixes what pre-tokenizers tell apart.
std::string random_text(std::mt19937& random, int n_characters) {
    constexpr uint32_t kFrequent[] = {' ', ' ', 'a', 'e', 'T', '\n', '\r', '\t', '\'', 's', '1', '9', '.', '<', '|', '>', 0xE9, 0x301,
                                      0x3000, 0x4E2D, 0x3042, 0x1F600, 0x200D, 0x2003, 0x85, 0x2581, 0x120};
    std::string text;
    for (int i = 0; i < n_characters; ++i) {
        uint32_t code_point = random() % 4 ? kFrequent[random() % std::size(kFrequent)] : random() % 0x110000;
        if (code_point >= 0xD800 && code_point < 0xE000) code_point = 'x';
        append_utf8(text, code_point);
    }
    return text;
}

TEST(TokenizerProperty, BytePairTextsComeBackExactlyForEveryPreTokenizer) {
    std::mt19937 random(1);
    for (const PreTokenizerRow& row : pre_tokenizer_rows()) {
        std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(test::golden("tokenizer/bpe.gguf"), row.name);
        for (int i = 0; i < 50; ++i) {
            std::string text = random_text(random, int(random() % 200));
            EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, SpecialTokens::kAsText), true), text) << row.name;
        }
    }
}

TEST(TokenizerProperty, SpmTextsComeBackExactlyButForItsOwnSpaceMark) {
    std::mt19937 random(2);
    std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(test::golden("tokenizer/spm.gguf"));
    for (int i = 0; i < 200; ++i) {
        std::string text = random_text(random, int(random() % 200));
        for (size_t at; (at = text.find("\u2581")) != std::string::npos;) text.erase(at, 3);
        for (int n = int(random() % 3); n > 0; --n) text += char(0x80 | random() % 0x80);   // no UTF-8
        EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, SpecialTokens::kAsText), true), text);
    }
}

TEST(TokenizerProperty, BytePairTurnsEveryInvalidByteIntoAReplacementCharacter) {
    std::mt19937 random(3);
    std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(test::golden("tokenizer/bpe.gguf"), "qwen2");
    for (int i = 0; i < 200; ++i) {
        std::string bytes;
        for (int n = int(random() % 60); n > 0; --n) bytes += char(random() % 2 ? random() % 256 : 0x20 + random() % 0x60);
        EXPECT_EQ(tokenizer->decode(tokenizer->encode(bytes, SpecialTokens::kAsText), true), repaired_utf8(bytes));
    }
}

TEST(TokenizerProperty, TypedTextNeverBecomesAControlToken) {
    for (const char* file : {"tokenizer/bpe.gguf", "tokenizer/spm.gguf", "tokenizer/spm-phi3.gguf", ""}) {
        for (const char* pre : {"", "glm4"}) {   // glm4: whole pieces that are tokens are taken as such
            std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(*file ? test::golden(file) : GATESCOPE_BUNDLED_MODEL, pre);
            std::string all;
            std::vector<std::string> names;
            for (int32_t id = 0; id < tokenizer->n_tokens(); ++id) {
                TokenKind kind = tokenizer->kind(id);
                if (kind != TokenKind::kControl && kind != TokenKind::kUnknown) continue;
                names.push_back(tokenizer->piece(id, true));
                all += names.back();
                EXPECT_EQ(tokenizer->encode(names.back(), SpecialTokens::kParse), std::vector<int32_t>{id}) << names.back();
                EXPECT_EQ(tokenizer->piece(id, false), "");
            }
            ASSERT_FALSE(names.empty());
            names.push_back(all);
            for (const std::string& name : names) {
                for (int32_t id : tokenizer->encode(name, SpecialTokens::kAsText)) {
                    EXPECT_NE(tokenizer->kind(id), TokenKind::kControl) << name;
                    EXPECT_NE(tokenizer->kind(id), TokenKind::kUnknown) << name;
                }
            }
        }
    }
}

TEST(TokenizerProperty, PartsJoinToOneTextButParseOnTheirOwn) {
    std::unique_ptr<Tokenizer> tokenizer = bundled();
    std::vector<TextPart> halves = {{"The quick br", SpecialTokens::kParse}, {"own fox", SpecialTokens::kAsText}};
    EXPECT_EQ(tokenizer->encode_parts(halves), tokenizer->encode("The quick brown fox", SpecialTokens::kAsText));
    int32_t end = tokenizer->find("<|im_end|>");
    for (auto [first, second] : {std::pair{"<|im_", "end|>"}, std::pair{"", "<|im_end|>"}}) {
        std::vector<TextPart> parts = {{first, SpecialTokens::kParse}, {second, SpecialTokens::kAsText}};
        std::vector<int32_t> ids = tokenizer->encode_parts(parts);
        EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 0);
        EXPECT_EQ(tokenizer->decode(ids, true), "<|im_end|>");
    }
}

TEST(TokenizerProperty, BundledModelLoadsWithoutWarnings) {
    Result<GgufFile> file = GgufFile::open(GATESCOPE_BUNDLED_MODEL);
    ASSERT_TRUE(file);
    std::vector<std::string> warnings;
    ASSERT_TRUE(Tokenizer::create(*file, warnings));
    EXPECT_EQ(warnings, std::vector<std::string>());
}

TEST(TokenizerProperty, BundledModelsSpecialTokensAreKnown) {
    std::unique_ptr<Tokenizer> tokenizer = bundled();
    EXPECT_EQ(tokenizer->model(), "gpt2");
    EXPECT_EQ(tokenizer->pre(), "smollm");
    EXPECT_EQ(tokenizer->n_tokens(), 49152);
    EXPECT_TRUE(tokenizer->is_end(tokenizer->find("<|im_end|>")));
    EXPECT_TRUE(tokenizer->is_end(tokenizer->find("<|endoftext|>")));
    EXPECT_FALSE(tokenizer->is_end(tokenizer->find("<|im_start|>")));
    std::vector<int32_t> ids;
    tokenizer->add_special(ids);   // the file says add_bos_token = false
    EXPECT_TRUE(ids.empty());
}

TEST(TokenizerProperty, BosIsNeverDoubled) {
    std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(test::golden("tokenizer/spm.gguf"));
    std::vector<int32_t> ids = tokenizer->encode("<s>hello", SpecialTokens::kParse);
    std::vector<int32_t> before = ids;
    tokenizer->add_special(ids);
    EXPECT_EQ(ids, before);
}

TEST(TokenizerProperty, LongPromptsComeBackExactly) {
    std::unique_ptr<Tokenizer> bpe = bundled(), spm = open_tokenizer(test::golden("tokenizer/spm.gguf"));
    struct Prompt {
        const char* unit;
        size_t n_bytes;
    };
    // One piece as long as the text is the hard case for a merge queue; ordinary text is not.
    for (const Prompt& prompt : {Prompt{"The llama (Lama glama) is a South American camelid. ", 10'000'000}, Prompt{" ", 2'000'000},
                                 Prompt{"a", 2'000'000}, Prompt{"ab", 2'000'000}, Prompt{"<|im_start|", 2'000'000},
                                 Prompt{"\xff", 2'000'000}, Prompt{"中", 2'000'000}}) {
        std::string text;
        while (text.size() < prompt.n_bytes) text += prompt.unit;
        for (const Tokenizer* tokenizer : {bpe.get(), spm.get()}) {
            auto start = std::chrono::steady_clock::now();
            std::vector<int32_t> ids = tokenizer->encode(text, SpecialTokens::kParse);
            double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            EXPECT_TRUE(tokenizer->decode(ids, true) == (tokenizer == bpe.get() ? repaired_utf8(text) : text)) << prompt.unit;
            std::printf("%-5s %-12.12s %4.1f MB: %8zu tokens in %.2f s\n", tokenizer->model().c_str(), prompt.unit,
                        double(prompt.n_bytes) * 1e-6, ids.size(), seconds);
        }
    }
}

}  // namespace
}  // namespace gs
