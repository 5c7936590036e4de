// Emulated tiles against the definition of their instructions.
#include "engine/ops/cpu/amx_tiles.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/support/check_capture.h"

namespace gs::test {
namespace {

using cpu::EmulatedTiles;
using cpu::TileConfig;
using cpu::TileShape;

constexpr TileShape kFull{16, 64};

TileConfig config(TileShape sums, TileShape inputs, TileShape weights) { return TileConfig(std::array<TileShape, 8>{sums, inputs, weights, kFull}); }

TEST(EmulatedTiles, MultiplySignedInputsByUnsignedWeights) {
    struct Shape {
        int m, k, n;      // rows of inputs, values of each, rows of weights that they meet
    };
    std::mt19937 random(20240607);
    for (const Shape shape : {Shape{16, 64, 16}, {16, 32, 16}, {16, 16, 16}, {5, 12, 7}, {1, 4, 1}}) {
        std::vector<int8_t> inputs(16 * 64);
        std::vector<uint8_t> weights(16 * 64);
        std::vector<int32_t> sums(16 * 16), before;
        for (int8_t& v : inputs) v = static_cast<int8_t>(random());
        for (uint8_t& v : weights) v = static_cast<uint8_t>(random());
        for (int32_t& v : sums) v = static_cast<int32_t>(random());
        inputs[0] = inputs[1] = inputs[2] = inputs[3] = -128;
        weights[0] = weights[1] = weights[2] = weights[3] = 255;
        before = sums;
        EmulatedTiles tiles(config({shape.m, 4 * shape.n}, {shape.m, shape.k}, {shape.k / 4, 4 * shape.n}));
        tiles.load(0, sums.data(), 64);
        tiles.load(1, inputs.data(), 64);
        tiles.load(2, weights.data(), 64);
        tiles.multiply(0, 1, 2);
        tiles.store(0, sums.data(), 64);
        for (int m = 0; m < 16; ++m)
            for (int n = 0; n < 16; ++n) {
                int64_t sum = before[static_cast<size_t>(16 * m + n)];
                for (int k = 0; k < shape.k && m < shape.m && n < shape.n; ++k)
                    sum += inputs[static_cast<size_t>(64 * m + k)] * int{weights[static_cast<size_t>(64 * (k / 4) + 4 * n + k % 4)]};
                ASSERT_EQ(sums[static_cast<size_t>(16 * m + n)], static_cast<int32_t>(sum)) << m << ' ' << n;
            }
    }
}

TEST(EmulatedTiles, LoadAndStoreRowsAtADistanceWithinTheirShape) {
    std::vector<uint8_t> from(16 * 80), to(16 * 96, 7);
    for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i * 37 + 11);
    EmulatedTiles tiles(config({3, 20}, {3, 4}, {1, 20}));
    tiles.load(0, from.data(), 80);
    tiles.store(0, to.data(), 96);
    for (size_t i = 0; i < to.size(); ++i) ASSERT_EQ(to[i], i / 96 < 3 && i % 96 < 20 ? from[i / 96 * 80 + i % 96] : 7) << i;
    tiles.zero(0);
    tiles.store(0, to.data(), 96);
    for (size_t i = 0; i < to.size(); ++i) ASSERT_EQ(to[i], i / 96 < 3 && i % 96 < 20 ? 0 : 7) << i;
}

TEST(EmulatedTiles, RefuseWhatTheProcessorAnswersWithAnException) {
    const auto multiply = [](const TileConfig& c) {
        EmulatedTiles tiles(c);
        tiles.multiply(0, 1, 2);
    };
    EXPECT_EQ(broken_contract([&] { multiply(config(kFull, {16, 32}, {8, 64})); }), "");
    EXPECT_CHECK_FAILS(multiply(config({17, 64}, {17, 32}, {8, 64})), "16 rows of 64 bytes");
    EXPECT_CHECK_FAILS(multiply(config({16, 68}, {16, 32}, {8, 68})), "16 rows of 64 bytes");
    EXPECT_CHECK_FAILS(multiply(config(kFull, {15, 32}, {8, 64})), "do not fit");
    EXPECT_CHECK_FAILS(multiply(config(kFull, {16, 32}, {7, 64})), "do not fit");
    EXPECT_CHECK_FAILS(multiply(config(kFull, {16, 32}, {8, 60})), "do not fit");
    EXPECT_CHECK_FAILS(multiply(config(kFull, {16, 30}, {7, 64})), "fours of bytes");
    EXPECT_CHECK_FAILS(multiply(config(kFull, {16, 32}, {0, 0})), "without a shape");
    TileConfig bad = config(kFull, kFull, kFull);
    bad.rows[8] = 1;
    EXPECT_CHECK_FAILS(EmulatedTiles{bad}, "eight tiles");
    bad = config(kFull, kFull, kFull);
    bad.reserved[13] = 1;
    EXPECT_CHECK_FAILS(EmulatedTiles{bad}, "reserved");
    bad = config(kFull, kFull, kFull);
    bad.palette = 0;
    EXPECT_CHECK_FAILS(EmulatedTiles{bad}, "palette");
}

}  // namespace
}  // namespace gs::test
