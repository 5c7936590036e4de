// Every golden folder through the library that `gatescope verify` uses, with the oracle and with the fast back end's exact path.
#include <gtest/gtest.h>

#include <fstream>

#include "engine/run/verify.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

std::shared_ptr<Ops> reference() { return make_reference_ops(); }
std::shared_ptr<Ops> exact() { return make_cpu_ops({.precision = Precision::kExact}); }
/// With keys and values in f32: to round them may tip a near tie of a small random model's router, and then everything behind it differs.
std::shared_ptr<Ops> fast() { return make_cpu_ops({.precision = Precision::kFast, .kv_type = KvType::kF32}); }

std::vector<VerifyCase> cases_of(const std::filesystem::path& dir, const OpsFactory& make_ops) {
    const Result<std::vector<VerifyCase>> cases = verify_golden(dir, make_ops);
    EXPECT_TRUE(cases) << cases.error().message();
    return cases ? *cases : std::vector<VerifyCase>{};
}

void expect_all_pass(const std::filesystem::path& dir, const OpsFactory& make_ops, size_t n_at_least) {
    const std::vector<VerifyCase> cases = cases_of(dir, make_ops);
    EXPECT_GE(cases.size(), n_at_least);
    double worst = 0;
    for (const VerifyCase& c : cases) {
        EXPECT_TRUE(c.pass) << c.name << ": " << c.detail;
        worst = std::max(worst, c.tolerance > 0 ? c.max_abs_logit_diff / c.tolerance : 0);
    }
    std::printf("%s: %zu cases, worst difference %.0f %% of the tolerance\n", dir.filename().c_str(), cases.size(), 100 * worst);
}

class GoldenModel : public testing::TestWithParam<const char*> {};

// Per prompt: whole, in chunks of 7, 16, 1, of all three, and eight greedy tokens; for two prompts, and the texts.
constexpr size_t kLeastCases = 12;

TEST_P(GoldenModel, IsReproducedByTheReference) { expect_all_pass(test::golden(GetParam()), reference, kLeastCases); }
TEST_P(GoldenModel, IsReproducedByTheExactPath) { expect_all_pass(test::golden(GetParam()), exact, kLeastCases); }
TEST_P(GoldenModel, IsReproducedByTheFastPath) { expect_all_pass(test::golden(GetParam()), fast, kLeastCases); }

INSTANTIATE_TEST_SUITE_P(Families, GoldenModel,
                         testing::Values("models/bailingmoe2", "models/dbrx", "models/deepseek", "models/deepseek2-legacy", "models/deepseek2-lite",
                                         "models/deepseek2-temperature", "models/deepseek2-v3", "models/dots1", "models/ernie4_5-moe", "models/glm4moe",
                                         "models/glm4moe-groups", "models/granite-unrotated", "models/grok-yarn-keys", "models/llama4-local-base",
                                         "models/phimoe-long",
                                         "models/gpt-oss", "models/gpt-oss-mxfp4", "models/granitemoe", "models/granitemoe-shared", "models/grok",
                                         "models/hunyuan-moe", "models/llama", "models/llama4", "models/minimax-m2", "models/minimax-m2-clamp", "models/mixtral",
                                         "models/olmoe", "models/phimoe", "models/qwen2moe", "models/qwen3", "models/qwen3moe",
                                         "quant/models/qwen2moe-256-Q4_K_M", "quant/models/qwen2moe-256-Q6_K", "quant/models/qwen2moe-256-Q8_0"),
                         [](const auto& param) {
                             std::string name = std::filesystem::path(param.param).filename().string();
                             for (char& c : name)
                                 if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                             return name;
                         });

TEST(GoldenModels, AreAllCoveredAbove) {
    EXPECT_EQ(test::names_in(test::golden("models")).size(), 31u);
    EXPECT_EQ(test::names_in(test::golden("quant/models")).size(), 3u);
}

TEST(GoldenBlocks, DecodeExactlyAndMultiply) {
    expect_all_pass(test::golden("quant/blocks"), reference, 28);
    expect_all_pass(test::golden("quant/blocks"), exact, 28);
    expect_all_pass(test::golden("quant/blocks"), fast, 28);
}
TEST(GoldenTokenizers, GiveTheSameIds) { expect_all_pass(test::golden("tokenizer"), reference, 13); }
TEST(BadFiles, GiveTheirClassOrLoad) { expect_all_pass(test::golden("bad"), exact, 125); }

TEST(Verify, NoticesAWrongGolden) {
    const test::TempDir dir;
    for (const char* file : {"model.gguf", "golden.json", "golden.safetensors"})
        std::filesystem::copy_file(test::golden("models/mixtral") / file, dir / file);
    // The last array of the file is B's cont_weights or logits; flipping a high bit of one float must fail some case.
    std::string bytes = test::read_bytes(dir / "golden.safetensors");
    bytes[bytes.size() - 1] = static_cast<char>(bytes[bytes.size() - 1] ^ 0x01);
    test::write_bytes(dir / "golden.safetensors", bytes);
    bool any_failed = false;
    for (const VerifyCase& c : cases_of(dir.path(), reference)) any_failed = any_failed || !c.pass;
    EXPECT_TRUE(any_failed);
}

TEST(Verify, NoticesAWrongClassOfABadFile) {
    const test::TempDir dir;
    test::write_bytes(dir / "x.gguf", "GGUF");
    test::write_bytes(dir / "index.json", R"([{"file": "x.gguf", "class": "bad_magic", "stage": "container"}])");
    const std::vector<VerifyCase> cases = cases_of(dir.path(), reference);
    ASSERT_EQ(cases.size(), 1u);
    EXPECT_FALSE(cases[0].pass);
    EXPECT_EQ(cases[0].detail, "truncated, not bad_magic");
}

TEST(Verify, RefusesOtherFolders) {
    const test::TempDir dir;
    for (const std::filesystem::path& path : {dir.path(), dir / "missing"}) {
        const auto cases = verify_golden(path, reference);
        ASSERT_FALSE(cases);
        EXPECT_EQ(cases.error().code, "not_a_golden");
        EXPECT_EQ(cases.error().kind, ErrorKind::kInput);
    }
    test::write_bytes(dir / "golden.json", "{\"name\": 3");
    const auto cases = verify_golden(dir.path(), reference);
    ASSERT_FALSE(cases);
    EXPECT_EQ(cases.error().code, "not_a_golden");
}

}  // namespace
}  // namespace gs
