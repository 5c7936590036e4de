// Rows of a prompt scored where their logits are: the host's figures, and no logits on their way to it.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "engine/decode/sampler.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/decode/decoder_fixture.h"

namespace gs::test {
namespace {

/// What a pass over a prompt hands over: scores by row, rows whose logits came.
struct Said {
    std::map<int, TokenStats> scores;
    std::vector<int> logit_rows;
    std::vector<float> last_logits;
    uint64_t waits = 0;
};

Said run(Decoder& decoder, const std::vector<int32_t>& ids, std::span<const int32_t> next_ids) {
    Said said;
    decoder.set_score_function(next_ids, [&](int row, const TokenStats& stats) { said.scores[row] = stats; });
    decoder.set_logit_function([&](int row, std::span<const float> logits) {
        said.logit_rows.push_back(row);
        said.last_logits.assign(logits.begin(), logits.end());
        if (static_cast<size_t>(row) + 1 < ids.size()) said.scores[row] = token_stats(logits, ids[static_cast<size_t>(row) + 1]);
    });
    const uint64_t before = cuda_emulation::counters().waits;
    EXPECT_TRUE(decoder.forward(ids, 0, LogitRows::kAll));
    said.waits = cuda_emulation::counters().waits - before;
    decoder.set_logit_function(nullptr);
    decoder.set_score_function({}, nullptr);
    return said;
}

// Plain logits; divided ones; capped ones.
class CudaDecoderScore : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, CudaDecoderScore, testing::Values("mixtral", "granite-unrotated", "grok-yarn-keys"), [](const auto& row) {
    std::string name = row.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

TEST_P(CudaDecoderScore, RowsWithAFollowingIdBringNoLogits) {
    constexpr int kRows = 76;
    const auto model = golden_model(GetParam());
    const std::vector<int32_t> ids = some_ids(*model, kRows);
    for (const int max_batch : {512, 40}) {
        const auto decoder = make_decoder(model, {.n_ctx = 80, .max_batch = max_batch}, emulated());
        const Said host = run(*decoder, ids, {}), device = run(*decoder, ids, std::span(ids).subspan(1));
        EXPECT_EQ(host.logit_rows.size(), static_cast<size_t>(kRows));
        EXPECT_EQ(device.logit_rows, std::vector<int>{kRows - 1});
        EXPECT_LT(device.waits, host.waits);
        ASSERT_EQ(device.scores.size(), static_cast<size_t>(kRows - 1));
        // f32 with other batches of rows: the order of sums differs.
        for (const auto& [row, stats] : device.scores) {
            EXPECT_NEAR(stats.logprob, host.scores.at(row).logprob, 2e-4) << row;
            EXPECT_NEAR(stats.entropy, host.scores.at(row).entropy, 2e-4) << row;
        }
        EXPECT_LT(max_difference(device.last_logits, host.last_logits), 2e-4);
    }
}

TEST(CudaDecoderScores, OnTheProcessorTheyAreMadeOfTheLogits) {
    const auto model = golden_model("mixtral");
    const std::vector<int32_t> ids = some_ids(*model, 37);
    const auto decoder = make_decoder(model, {.n_ctx = 40});
    const Said with = run(*decoder, ids, std::span(ids).subspan(1)), without = run(*decoder, ids, {});
    EXPECT_EQ(with.logit_rows, std::vector<int>{36});
    EXPECT_EQ(with.last_logits, without.last_logits);
    for (const auto& [row, stats] : without.scores) {
        EXPECT_EQ(with.scores.at(row).logprob, stats.logprob);
        EXPECT_EQ(with.scores.at(row).entropy, stats.entropy);
    }
}

}  // namespace
}  // namespace gs::test
