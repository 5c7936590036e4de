// The small goldens end to end through the CUDA back end on the emulated device, its threads in another order for each.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "engine/ops/cuda/cuda_engine.h"
#include "engine/run/verify.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

std::shared_ptr<Ops> emulated(Precision precision) {
    Result<std::unique_ptr<Ops>> made = make_cuda_ops({.precision = precision, .kv_type = KvType::kF32});
    EXPECT_TRUE(made) << made.error().message();
    return std::move(*made);
}

class CudaGolden : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        const char* seed = std::getenv("GATESCOPE_CUDA_SEED");   // another order of threads
        cuda_emulation::set_seed(std::hash<std::string>{}(GetParam() + (seed ? seed : "")));
        cuda_emulation::set_deferred(true);
    }
    void TearDown() override { cuda_emulation::set_deferred(false); }

    void expect_all_pass(Precision precision) {
        const Result<std::vector<VerifyCase>> cases = verify_golden(test::golden(GetParam()), [&] { return emulated(precision); });
        ASSERT_TRUE(cases) << cases.error().message();
        EXPECT_GE(cases->size(), 12u);
        double worst = 0, difference = 0;
        int n_differ = 0, n_rows = 0;
        for (const VerifyCase& c : *cases) {
            EXPECT_TRUE(c.pass) << c.name << ": " << c.detail;
            worst = std::max(worst, c.tolerance > 0 ? c.max_abs_logit_diff / c.tolerance : 0);
            difference = std::max(difference, c.max_abs_logit_diff);
            n_differ += c.rows_differ, n_rows += c.rows;
        }
        std::printf("golden %s: %zu cases, largest difference %.2g, %.0f %% of its tolerance, experts differ in %d of %d rows\n", GetParam().c_str(), cases->size(),
                    difference, 100 * worst, n_differ, n_rows);
    }
};

TEST_P(CudaGolden, IsReproducedByTheExactPath) { expect_all_pass(Precision::kExact); }

std::string plain_name(const testing::TestParamInfo<std::string>& row) {
    std::string name = std::filesystem::path(row.param).filename();
    for (char& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    return name;
}

/// With GATESCOPE_ALL_CUDA_GOLDENS set all of them, in minutes; else those that have among them every operation and variant: both norms, biases,
/// rotation of all kinds, MLA, windows, chunks, sinks, caps, shared experts and their gates, dense layers, weighed inputs.
std::vector<std::string> chosen() {
    std::vector<std::string> names{"bailingmoe2", "dbrx", "deepseek2-v3", "ernie4_5-moe", "glm4moe", "gpt-oss-mxfp4", "granite-unrotated", "grok-yarn-keys",
                                   "llama4-local-base", "minimax-m2-clamp", "phimoe-long", "qwen2moe"};
    if (std::getenv("GATESCOPE_ALL_CUDA_GOLDENS")) names = test::names_in(test::golden("models"));
    for (std::string& name : names) name = "models/" + name;
    if (std::getenv("GATESCOPE_ALL_CUDA_GOLDENS"))
        for (const std::string& name : test::names_in(test::golden("quant/models"))) names.push_back("quant/models/" + name);
    return names;
}
INSTANTIATE_TEST_SUITE_P(Families, CudaGolden, testing::ValuesIn(chosen()), plain_name);

class CudaGoldenFast : public CudaGolden {};
TEST_P(CudaGoldenFast, IsReproducedByTheFastPath) { expect_all_pass(Precision::kFast); }
INSTANTIATE_TEST_SUITE_P(Families, CudaGoldenFast,
                         testing::ValuesIn(std::getenv("GATESCOPE_ALL_CUDA_GOLDENS") ? chosen() : std::vector<std::string>{"models/glm4moe", "models/phimoe-long", "models/dots1"}),
                         plain_name);

TEST(CudaGoldenBlocks, DecodeExactlyAndMultiply) {
    for (const Precision precision : {Precision::kExact, Precision::kFast}) {
        const Result<std::vector<VerifyCase>> cases = verify_golden(test::golden("quant/blocks"), [&] { return emulated(precision); });
        ASSERT_TRUE(cases) << cases.error().message();
        for (const VerifyCase& c : *cases) EXPECT_TRUE(c.pass) << c.name << ": " << c.detail;
    }
}

}  // namespace
}  // namespace gs
