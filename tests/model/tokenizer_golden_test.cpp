// Every case of tests/goldens/tokenizer and every text of tests/goldens/models, exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/model/gguf.h"
#include "engine/model/tokenizer.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json read_json(const fs::path& path) {
    std::ifstream in(path);
    return json::parse(in);
}

std::string from_hex(const std::string& hex) {
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += char(std::stoi(hex.substr(i, 2), nullptr, 16));
    return bytes;
}

std::unique_ptr<Tokenizer> open_tokenizer(const fs::path& path, std::string_view pre = {}) {
    Result<GgufFile> file = GgufFile::open(path);
    EXPECT_TRUE(file) << path;
    std::vector<std::string> warnings;
    Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, warnings, pre);
    EXPECT_TRUE(tokenizer) << path << ": " << (tokenizer ? "" : tokenizer.error().message());
    return std::move(tokenizer).value();
}

/// Removes what the "clean_spaces" passes of tokenizers.md section 8 remove, which llama.cpp applied to some goldens and we never do.
std::string cleaned(std::string text) {
    auto erase_space_before = [&](const std::string& what) {
        for (size_t at; (at = text.find(" " + what)) != std::string::npos;) text.erase(at, 1);
    };
    for (const char* mark : {"?", "!", ".", ","}) erase_space_before(mark);
    for (size_t at; (at = text.find(" ' ")) != std::string::npos;) text.erase(at + 2, 1).erase(at, 1);
    for (const char* ending : {"'s", "'m", "'re", "'ve"}) erase_space_before(ending);
    return text;
}

void check_case(const Tokenizer& tokenizer, const json& one) {
    std::string text = from_hex(one["hex"]);
    SCOPED_TRACE("bytes " + one["hex"].get<std::string>());
    // Where full Unicode semantics and llama.cpp differ, we follow the former (tokenizers.md section 5.1).
    bool has_reference = one.contains("reference_plain");
    std::vector<int32_t> plain = one[has_reference ? "reference_plain" : "plain"];
    std::vector<int32_t> special = one[has_reference ? "reference_special" : "special"];
    std::vector<int32_t> added = tokenizer.encode(text, SpecialTokens::kAsText);
    EXPECT_EQ(added, plain);
    EXPECT_EQ(tokenizer.encode(text, SpecialTokens::kParse), special);
    tokenizer.add_special(added);
    if (!has_reference) {
        EXPECT_EQ(added, one["add"].get<std::vector<int32_t>>());
    }
    std::string golden = from_hex(one["detok_special"]);
    std::string decoded = tokenizer.decode(special, true);
    EXPECT_TRUE(decoded == golden || cleaned(decoded) == golden) << decoded << " for " << golden;
}

std::vector<std::string> case_files() {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(test::golden("tokenizer"))) {
        if (entry.path().extension() == ".json" && entry.path().stem() != "classes") names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

class TokenizerGolden : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerGolden, EncodesAndDecodesExactly) {
    json file = read_json(test::golden("tokenizer") / (GetParam() + ".json"));
    bool is_bpe = file["model"] == "gpt2";
    std::vector<std::string> names = {file["pre"]};
    if (file.contains("same_as")) names = file["same_as"].get<std::vector<std::string>>();
    ASSERT_FALSE(file["cases"].empty());
    for (const std::string& name : names) {
        SCOPED_TRACE("pre " + name);
        std::unique_ptr<Tokenizer> tokenizer =
            open_tokenizer(test::golden("tokenizer") / file["vocab"].get<std::string>(), is_bpe ? name : std::string());
        EXPECT_EQ(tokenizer->model(), file["model"]);
        if (is_bpe) {
            EXPECT_EQ(tokenizer->pre(), name.empty() ? "default" : name);
        }
        for (const json& one : file["cases"]) check_case(*tokenizer, one);
    }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, testing::ValuesIn(case_files()), [](const auto& case_info) {
    std::string name = case_info.param;
    std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
    return name;
});

TEST(TokenizerGoldenModels, TextsOfEveryModelAreExact) {
    size_t n_texts = 0;
    for (const char* folder : {"models", "quant/models"}) {
        for (const fs::directory_entry& entry : fs::directory_iterator(test::golden(folder))) {
            if (!fs::exists(entry.path() / "golden.json")) continue;
            SCOPED_TRACE(entry.path().string());
            json golden = read_json(entry.path() / "golden.json");
            if (!golden.contains("text")) continue;
            std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(entry.path() / "model.gguf");
            for (const json& one : golden["text"]) {
                std::vector<int32_t> ids = tokenizer->encode(one["text"].get<std::string>(), SpecialTokens::kParse);
                EXPECT_EQ(ids, one["ids"].get<std::vector<int32_t>>()) << one["text"];
                tokenizer->add_special(ids);
                EXPECT_EQ(ids, one["ids_with_bos_rule"].get<std::vector<int32_t>>()) << one["text"];
                ++n_texts;
            }
        }
    }
    EXPECT_GT(n_texts, 0u);
}

}  // namespace
}  // namespace gs
