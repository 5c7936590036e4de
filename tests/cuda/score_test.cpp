// What rows of logits say of the next token, beside what the host makes of them.
#include "engine/ops/cuda/score.cuh"

#include "engine/decode/sampler.h"
#include "tests/cuda/device_data.h"

namespace gs::test {
namespace {

class CudaScore : public testing::Test {
protected:
    std::mt19937 m_random{20240615};

    Matrix some(int n_rows, int n_cols, float size) {
        Matrix m(n_rows, n_cols, 7);
        for (float& v : m.data) v = std::uniform_real_distribution<float>(-size, size)(m_random);
        return m;
    }
    static std::vector<float> scored(const Matrix& logits, const std::vector<int32_t>& ids, float divisor = 1, float cap = 0) {
        const DeviceRows in(logits);
        const OnDevice<int32_t> on_device(ids);
        const OnDevice<float> out(3 * ids.size());
        cuda::score_rows(nullptr, in.rows(), on_device.data(), divisor, cap, out.data());
        return out.read();
    }
    /// exp and products of f32 are good to some units each; what they are taken of lies below `reach`.
    static void expect_near(const float* said, const TokenStats& expected, double reach, const std::string& what) {
        EXPECT_NEAR(said[0], expected.logprob, 8 * kEpsilon * reach) << what;
        EXPECT_NEAR(said[1], expected.entropy, 8 * kEpsilon * reach) << what;
        EXPECT_EQ(said[2], 1.0f) << what;
    }
};

TEST_F(CudaScore, EveryVocabularyAndSpreadGivesWhatTheHostFinds) {
    for (const int n_vocab : {1, 2, 31, 257, 5000})
        for (const float size : {0.0f, 1.0f, 20.0f, 400.0f}) {
            Matrix logits = some(4, n_vocab, size);
            std::vector<int32_t> ids;
            for (int r = 0; r < 4; ++r) ids.push_back(static_cast<int32_t>(m_random() % static_cast<unsigned>(n_vocab)));
            const std::vector<float> said = scored(logits, ids);
            for (int r = 0; r < 4; ++r)
                expect_near(said.data() + 3 * r, token_stats({logits.rows().row(r), static_cast<size_t>(n_vocab)}, ids[static_cast<size_t>(r)]), 2.0 * static_cast<double>(size) + 10,
                            std::to_string(n_vocab) + " logits up to " + std::to_string(size));
        }
}

TEST_F(CudaScore, LogitsAreDividedAndCappedFirst) {
    Matrix logits = some(3, 700, 60);
    const std::vector<int32_t> ids{0, 699, 350};
    const std::vector<float> said = scored(logits, ids, 3, 5);
    for (int r = 0; r < 3; ++r) {
        std::vector<float> row(logits.rows().row(r), logits.rows().row(r) + 700);
        for (float& l : row) l = 5 * std::tanh(l / 3 / 5);
        expect_near(said.data() + 3 * r, token_stats(row, ids[static_cast<size_t>(r)]), 20, "row " + std::to_string(r));
    }
}

TEST_F(CudaScore, WhatIsNoNumberIsToldAndCountsAsNothing) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
        Matrix logits = some(2, 300, 3);
        logits.rows().row(1)[77] = bad;
        const std::vector<float> said = scored(logits, {5, 6});
        EXPECT_EQ(said[2], 1.0f);
        EXPECT_EQ(said[5], 0.0f) << bad;
        const TokenStats expected = token_stats({logits.rows().row(1), 300}, 6);
        EXPECT_NEAR(said[3], expected.logprob, 1e-5 * std::fabs(expected.logprob)) << bad;
    }
}

TEST_F(CudaScore, ThreadsInAnyOrderGiveTheSameBits) {
    const Matrix logits = some(3, 3000, 8);
    std::vector<float> first;
    for (const uint64_t seed : {1, 2, 3, 4}) {
        cuda_emulation::set_seed(seed);
        const std::vector<float> said = scored(logits, {1, 2, 3});
        if (first.empty()) first = said;
        EXPECT_EQ(said, first) << seed;
    }
}

}  // namespace
}  // namespace gs::test
