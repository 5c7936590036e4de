// Attention of prompts on tensor cores: which calls take that way, and what its fragments are. Its values are held to the bounds of all back ends in
// tests/ops/attention_test.cpp.
#include "engine/ops/cuda/attention.cuh"
#include "engine/ops/cuda/mma.cuh"
#include "tests/cuda/device_data.h"

namespace gs::test {
namespace {

struct Call {
    int n_tokens = 64, n_heads = 8, n_kv = 2, dk = 128, dv = 128;
    bool latent = false;
    KvType type = KvType::kF16;
    Precision precision = Precision::kFast;
};

bool goes(const Call& c) {
    std::byte memory{};
    const KvCache cache{&memory, c.latent ? nullptr : &memory, c.type, 1, 256, c.n_kv, c.dk, c.latent ? 0 : c.dv};
    return cuda::attends_on_tensor_cores({.q = {nullptr, c.n_tokens, c.n_heads * c.dk, c.n_heads * c.dk}, .cache = &cache, .n_heads = c.n_heads, .head_dim_v = c.dv},
                                         c.precision);
}

TEST(CudaAttentionPrompt, IsForPromptsOfHalvesInTheFastPrecision) {
    EXPECT_TRUE(goes({}));
    EXPECT_TRUE(goes({.n_tokens = 9}));
    EXPECT_FALSE(goes({.n_tokens = 8})) << "a step's grid may not depend on its length";
    EXPECT_FALSE(goes({.type = KvType::kF32}));
    EXPECT_FALSE(goes({.precision = Precision::kExact}));
}

TEST(CudaAttentionPrompt, TakesTheHeadsOfTheFamiliesThatLoad) {
    // Mixtral and most, the bundled model, Phi and others, DeepSeek's latent heads, Gemma-like ones.
    for (const auto& [dk, dv] : {std::pair{128, 128}, {64, 64}, {96, 96}, {80, 80}, {192, 128}, {256, 256}, {384, 384}}) EXPECT_TRUE(goes({.dk = dk, .dv = dv})) << dk;
    EXPECT_TRUE(goes({.n_heads = 128, .n_kv = 1, .dk = 576, .dv = 512, .latent = true}));
    for (const auto& [dk, dv] : {std::pair{24, 24}, {128, 4}, {512, 512}, {576, 576}}) EXPECT_FALSE(goes({.dk = dk, .dv = dv})) << dk << " " << dv;
}

__global__ void transpose(const uint16_t* from, uint32_t* words) {
    __shared__ uint4 memory[16 * 24 / 8];   // rows of matrices begin at multiples of 16 bytes
    auto* rows = reinterpret_cast<uint16_t*>(memory);
    for (int i = static_cast<int>(threadIdx.x); i < 16 * 24; i += 32) rows[i] = from[i];
    __syncwarp();
    const int lane = static_cast<int>(threadIdx.x);
    uint32_t mine[4];
    cuda::load_transposed(mine, rows + (lane / 8 % 2 * 8 + lane % 8) * 24 + lane / 16 * 8);
    for (int m = 0; m < 4; ++m) words[lane * 4 + m] = mine[m];
}

TEST(CudaAttentionPrompt, TransposedMatricesAreFragmentsOfTwoRowsEach) {
    std::vector<uint16_t> values(16 * 24);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
    const OnDevice<uint16_t> from(values);
    const OnDevice<uint32_t> words(32 * 4);
    cuda::launch(transpose, dim3(1), dim3(32), 0, nullptr, from.data(), words.data());
    const std::vector<uint32_t> read = words.read();
    for (uint32_t lane = 0; lane < 32; ++lane)
        for (uint32_t m = 0; m < 4; ++m) {
            const uint32_t key = m % 2 * 8 + 2 * (lane % 4), column = m / 2 * 8 + lane / 4;
            EXPECT_EQ(read[lane * 4 + m], values[key * 24 + column] | static_cast<uint32_t>(values[(key + 1) * 24 + column]) << 16) << lane << " " << m;
        }
}

TEST(CudaAttentionPrompt, ThreadsInAnyOrderGiveTheSameBits) {
    constexpr int kTokens = 24, kHeads = 4, kKv = 2, kDim = 32, kContext = 200, kFirst = 170;
    std::mt19937 random{5};
    const auto some = [&](size_t n) {
        std::vector<float> v(n);
        for (float& x : v) x = std::uniform_real_distribution<float>(-1, 1)(random);
        return v;
    };
    const auto halves = [&](size_t n) {
        std::vector<uint16_t> v;
        for (const float x : some(n)) v.push_back(float_to_half(x));
        return v;
    };
    const OnDevice<uint16_t> k(halves(kKv * kContext * kDim)), v(halves(kKv * kContext * kDim));
    const OnDevice<float> q(some(kTokens * kHeads * kDim)), out(kTokens * kHeads * kDim);
    const KvCache cache{reinterpret_cast<std::byte*>(k.data()), reinterpret_cast<std::byte*>(v.data()), KvType::kF16, 1, kContext, kKv, kDim, kDim};
    const int width = kHeads * kDim;
    const AttentionCall call{.q = {q.data(), kTokens, width, width}, .cache = &cache, .first_position = kFirst, .n_heads = kHeads, .head_dim_v = kDim, .scale = 0.2f,
                             .out = {out.data(), kTokens, width, width}};
    ASSERT_TRUE(cuda::attends_on_tensor_cores(call, Precision::kFast));
    const OnDevice<std::byte> workspace(cuda::attention_workspace(call, Precision::kFast, kProcessors));
    std::vector<float> first;
    for (const uint64_t seed : {1, 2, 3, 4, 5}) {
        cuda_emulation::set_seed(seed);
        cuda::attention(nullptr, call, {kFirst, nullptr}, nullptr, Precision::kFast, kProcessors, workspace.data());
        const std::vector<float> values = out.read();
        if (first.empty()) first = values;
        EXPECT_EQ(values, first) << seed;
    }
}

}  // namespace
}  // namespace gs::test
