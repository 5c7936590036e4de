#include "engine/model/tensor_type.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

std::vector<const TensorTypeInfo*> loadable_types() {
    std::vector<const TensorTypeInfo*> types;
    for (const TensorTypeInfo& info : all_tensor_types())
        if (info.dequantize) types.push_back(&info);
    return types;
}

class TensorTypeBlocks : public testing::TestWithParam<const TensorTypeInfo*> {};

/// Bits, not values: a subnormal flushed to zero or a product in another order must show.
void expect_same_bits(const std::vector<float>& got, const std::vector<float>& wanted, const std::string& what) {
    ASSERT_EQ(got.size(), wanted.size());
    size_t n_different = 0, first = 0;
    for (size_t i = 0; i < got.size(); ++i)
        if (std::bit_cast<uint32_t>(got[i]) != std::bit_cast<uint32_t>(wanted[i]) && n_different++ == 0) first = i;
    EXPECT_EQ(n_different, 0u) << what << ": first at " << first << ", got " << got[first] << ", wanted " << wanted[first];
}

TEST_P(TensorTypeBlocks, DecodeToTheBitsOfTheReferenceDecoder) {
    const TensorTypeInfo& info = *GetParam();
    const auto file = SafetensorsFile::open(test::golden(std::string("quant/blocks/") + info.name + ".safetensors"));
    ASSERT_TRUE(file) << file.error().message();
    const std::vector<std::pair<const char*, const char*>> pairs{{"q", "f32"}, {"rand_q", "rand_f32"}};
    int n_compared = 0;
    for (const auto& [blocks_name, values_name] : pairs) {
        const SafeTensor* blocks = file->find(blocks_name);
        const SafeTensor* values = file->find(values_name);
        if (!blocks) continue;   // the plain types and the newest ones have no random blocks
        ASSERT_TRUE(values);
        const auto wanted = values->values<float>();
        ASSERT_TRUE(wanted);
        const size_t n_blocks = blocks->bytes.size() / info.block_bytes;
        ASSERT_EQ(n_blocks * info.block_values, wanted->size());
        // An odd address: no decoder may assume alignment.
        std::vector<std::byte> shifted(blocks->bytes.size() + 1);
        std::memcpy(shifted.data() + 1, blocks->bytes.data(), blocks->bytes.size());
        std::vector<float> got(wanted->size());
        info.dequantize(shifted.data() + 1, n_blocks, got.data());
        expect_same_bits(got, *wanted, std::string(info.name) + " " + blocks_name);
        ++n_compared;
    }
    EXPECT_EQ(n_compared, file->find("rand_q") ? 2 : 1);
}

INSTANTIATE_TEST_SUITE_P(All, TensorTypeBlocks, testing::ValuesIn(loadable_types()),
                         [](const auto& type) { return std::string(type.param->name); });

struct SpecVector {
    TensorType type;
    int d_at, min_at;      ///< bytes of the halves d = 0.25 and m or dmin = 0.125; negative: none
    double sum, weighted;  ///< Σ value[i], Σ (i+1) value[i]
};

// spec/gguf.md section 5: block bytes (73 j + 29) mod 256, then the halves; for MXFP4 the exponent 126.
TEST(TensorType, DecodesTheVectorsOfTheSpecification) {
    using T = TensorType;
    const SpecVector vectors[] = {{T::kQ4_0, 0, -1, 0.75, 41.75},     {T::kQ4_1, 0, 2, 65.25, 1116},        {T::kQ5_0, 0, -1, -2.25, -198.75},
                                  {T::kQ5_1, 0, 2, 118.25, 2041.5},   {T::kQ8_0, 0, -1, -108, -1756},       {T::kIQ4_NL, 0, -1, 27.5, 917.25},
                                  {T::kMXFP4, -1, -1, -2, -44.75},    {T::kIQ4_XS, 0, -1, -4983, -960461.75}, {T::kQ2_K, 80, 82, 479.5, 51209.25},
                                  {T::kQ3_K, 108, -1, 145.75, 26587}, {T::kQ4_K, 0, 2, 9750, 1544696},      {T::kQ5_K, 0, 2, 20826, 3242192},
                                  {T::kQ6_K, 208, -1, 3633, 543518},
                                  // Not in the specification, and without random blocks in the goldens: sums by the Python package gguf 0.19.0.
                                  {T::kIQ1_M, -1, -1, 324.228515625, 35543.07421875},
                                  {T::kNVFP4, -1, -1, -2113.15234375, -109204.5078125}};
    for (const SpecVector& v : vectors) {
        const TensorTypeInfo& info = tensor_type_info(v.type);
        std::vector<std::byte> block(info.block_bytes);
        for (size_t j = 0; j < block.size(); ++j) block[j] = static_cast<std::byte>((73 * j + 29) % 256);
        const uint16_t d = float_to_half(0.25f), min = float_to_half(0.125f);
        if (v.d_at >= 0) std::memcpy(block.data() + v.d_at, &d, sizeof d);
        if (v.min_at >= 0) std::memcpy(block.data() + v.min_at, &min, sizeof min);
        if (v.type == T::kMXFP4) block[0] = std::byte{126};
        std::vector<float> values(info.block_values);
        info.dequantize(block.data(), 1, values.data());
        double sum = 0, weighted = 0;
        for (size_t i = 0; i < values.size(); ++i) {
            sum += values[i];
            weighted += static_cast<double>(i + 1) * values[i];
        }
        EXPECT_EQ(sum, v.sum) << info.name;
        EXPECT_EQ(weighted, v.weighted) << info.name;
    }
}

// Every type that model files hold; what is left are activation formats and plain integers.
TEST(TensorType, OnlyFormatsThatWeightsNeverHaveLackADecoder) {
    std::string without;
    for (const TensorTypeInfo& info : all_tensor_types())
        if (!info.dequantize) without += std::string(info.name) + " ";
    EXPECT_EQ(without, "q8_1 q8_K i8 i16 i32 i64 f64 ");
}

TEST(TensorType, RetiredAndUnknownIdsHaveNoRow) {
    for (const uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 1000u, 0xffffffffu}) EXPECT_EQ(find_tensor_type(id), nullptr) << id;
    size_t n_known = 0;
    for (uint32_t id = 0; id <= 42; ++id) {
        const TensorTypeInfo* info = find_tensor_type(id);
        if (!info) continue;
        ++n_known;
        EXPECT_EQ(static_cast<uint32_t>(info->type), id);
        EXPECT_GT(info->block_values, 0u);
        EXPECT_GT(info->block_bytes, 0u);
    }
    EXPECT_EQ(n_known, 43u - 8u);
    EXPECT_EQ(n_known, all_tensor_types().size());
}

TEST(TensorType, EveryHalfSurvivesTheWayToFloatAndBack) {
    for (uint32_t h = 0; h < 0x10000; ++h) {
        const float f = half_to_float(static_cast<uint16_t>(h));
        if ((h & 0x7c00u) == 0x7c00u && (h & 0x3ffu) != 0) {
            EXPECT_TRUE(std::isnan(f));
            EXPECT_TRUE(std::isnan(half_to_float(float_to_half(f))));
            continue;
        }
        // IEEE 754: (-1)^s * m * 2^(e-25), m with the hidden bit; subnormals have e = 1 and no hidden bit.
        const int exponent = static_cast<int>(h >> 10 & 31u), mantissa = static_cast<int>(h & 0x3ffu);
        const double magnitude = exponent == 31 ? INFINITY : std::ldexp(exponent ? mantissa + 1024 : mantissa, std::max(exponent, 1) - 25);
        ASSERT_EQ(static_cast<double>(f), h & 0x8000u ? -magnitude : magnitude) << h;
        ASSERT_EQ(float_to_half(f), h);
    }
}

TEST(TensorType, FloatToHalfTakesTheNearestAndTiesToEven) {
    // Every midpoint of two neighbouring halves, and the floats beside it.
    for (uint32_t h = 0; h < 0x7bff; ++h) {
        const float low = half_to_float(static_cast<uint16_t>(h)), high = half_to_float(static_cast<uint16_t>(h + 1));
        const float middle = low + (high - low) / 2;   // exact: one bit more than a half has
        ASSERT_EQ(float_to_half(middle), h % 2 == 0 ? h : h + 1) << h;
        ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), h);
        ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), h + 1);
        ASSERT_EQ(float_to_half(-middle), (h % 2 == 0 ? h : h + 1) | 0x8000u);
    }
    EXPECT_EQ(float_to_half(65519.996f), 0x7bff);
    EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
    EXPECT_EQ(float_to_half(INFINITY), 0x7c00);
    EXPECT_EQ(float_to_half(-INFINITY), 0xfc00);
}

TEST(TensorType, Bfloat16IsTheUpperHalfOfAFloat) {
    for (const float f : {0.0f, 1.0f, -2.5f, 0x1p-130f, 3.0e38f}) {
        const uint32_t bits = std::bit_cast<uint32_t>(f) & 0xffff0000u;
        EXPECT_EQ(std::bit_cast<uint32_t>(bfloat16_to_float(static_cast<uint16_t>(bits >> 16))), bits);
    }
}

}  // namespace
}  // namespace gs
