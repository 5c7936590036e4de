// The small goldens end to end through the CUDA back end on the emulated device, its threads in another order for each.
#include <gtest/gtest.h>

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
        cuda_emulation::set_seed(std::hash<std::string>{}(GetParam()));
        cuda_emulation::set_deferred(true);
    }
    void TearDown() override { cuda_emulation::set_deferred(false); }

    void expect_all_pass(Precision precision) {
        const Result<std::vector<VerifyCase>> cases = verify_golden(test::golden("models/" + GetParam()), [&] { return emulated(precision); });
        ASSERT_TRUE(cases) << cases.error().message();
        EXPECT_GE(cases->size(), 12u);
        double worst = 0;
        for (const VerifyCase& c : *cases) {
            EXPECT_TRUE(c.pass) << c.name << ": " << c.detail;
            worst = std::max(worst, c.tolerance > 0 ? c.max_abs_logit_diff / c.tolerance : 0);
        }
        std::printf("%s: %zu cases, worst difference %.0f %% of the tolerance\n", GetParam().c_str(), cases->size(), 100 * worst);
    }
};

TEST_P(CudaGolden, IsReproducedByTheExactPath) { expect_all_pass(Precision::kExact); }
TEST_P(CudaGolden, IsReproducedByTheFastPath) { expect_all_pass(Precision::kFast); }

INSTANTIATE_TEST_SUITE_P(Families, CudaGolden, testing::ValuesIn(test::names_in(test::golden("models"))), [](const auto& row) {
    std::string name = row.param;
    for (char& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
    return name;
});

TEST(CudaGoldenBlocks, DecodeExactlyAndMultiply) {
    for (const Precision precision : {Precision::kExact, Precision::kFast}) {
        const Result<std::vector<VerifyCase>> cases = verify_golden(test::golden("quant/blocks"), [&] { return emulated(precision); });
        ASSERT_TRUE(cases) << cases.error().message();
        for (const VerifyCase& c : *cases) EXPECT_TRUE(c.pass) << c.name << ": " << c.detail;
    }
}

}  // namespace
}  // namespace gs
