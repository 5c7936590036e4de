// The container: what is accepted, what each hardening rule refuses (spec/gguf.md sections 7 and 9), and that no damage can crash the reader.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/model/gguf_builder.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using test::Bytes;
using test::example_gguf;
using test::GgufBuilder;
using test::put;
using test::put_text;

std::string code_of(const Bytes& bytes) {
    const auto file = GgufFile::parse(bytes);
    return file ? "ok" : file.error().code;
}

/// Reads everything that a parsed file offers.
void read_all(const GgufFile& file) {
    for (const GgufEntry& entry : file.entries()) {
        static_cast<void>(file.get_uint(entry.key));
        static_cast<void>(file.get_float(entry.key));
        static_cast<void>(file.get_bool(entry.key));
        static_cast<void>(file.get_string(entry.key));
        static_cast<void>(file.get_int_array(entry.key));
        static_cast<void>(file.get_float_array(entry.key));
        static_cast<void>(file.get_string_array(entry.key));
    }
    uint64_t sum = 0;
    for (const GgufTensor& tensor : file.tensors())
        for (uint64_t i = 0; i < tensor.n_bytes; ++i) sum += std::to_integer<uint64_t>(tensor.data[i]);
    EXPECT_LE(sum, 255 * file.n_bytes());
}

TEST(GgufParse, ReadsTheExampleOfTheSpecification) {
    const Bytes bytes = test::to_bytes(test::read_bytes(test::golden("bad/ok-example.gguf")));
    Bytes built = example_gguf().build();
    built.resize(bytes.size());
    ASSERT_EQ(bytes, built) << "the builder of these tests writes the file of section 1.3";
    const auto file = GgufFile::parse(bytes);
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_EQ(*file->get_string("general.architecture"), "llama");
    EXPECT_EQ(*file->get_int_array("a.b"), (std::vector<int64_t>{7, 9}));
    const GgufTensor* tensor = file->find("t");
    ASSERT_TRUE(tensor);
    EXPECT_EQ(tensor->dims, (std::array<uint64_t, 4>{2, 1, 1, 1}));
    EXPECT_EQ(tensor->data - bytes.data(), 160);
    float values[2];
    std::memcpy(values, tensor->data, sizeof values);
    EXPECT_EQ(values[0], 1.0f);
    EXPECT_EQ(values[1], -2.5f);
    EXPECT_EQ(file->find("u"), nullptr);
}

TEST(GgufParse, EveryCutOfTheExampleIsRefused) {
    const Bytes bytes = example_gguf().build();
    for (size_t n = 0; n < 168; ++n) {
        const Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));   // its own allocation, so that ASan sees a read behind it
        EXPECT_EQ(code_of(cut), n < 137 ? "truncated" : "data_out_of_bounds") << n;
    }
    EXPECT_EQ(code_of(Bytes(bytes.begin(), bytes.begin() + 168)), "ok");
}

TEST(GgufParse, NoChangedByteOfTheExampleCanCrashIt) {
    const Bytes original = example_gguf().build();
    int n_ok = 0;
    for (size_t at = 0; at < original.size(); ++at) {
        for (int value = 0; value < 256; ++value) {
            Bytes bytes = original;
            bytes[at] = static_cast<std::byte>(value);
            if (const auto file = GgufFile::parse(bytes)) {
                read_all(*file);
                ++n_ok;
            }
        }
    }
    EXPECT_GT(n_ok, 256 * 8) << "the eight data bytes alone may be anything";
}

TEST(GgufParse, NoRandomDamageOfAModelCanCrashIt) {
    const Bytes original = test::to_bytes(test::read_bytes(test::golden("bad/ok-tiny-model.gguf")));
    std::mt19937 random(7);
    for (int round = 0; round < 4000; ++round) {
        Bytes bytes = original;
        for (int n = 1 + static_cast<int>(random() % 4); n > 0; --n) {
            const size_t at = random() % 2000;   // header, metadata and tensor table
            // Extreme values at field width find more than random ones.
            const uint64_t extremes[] = {0, 1, 0xff, 0x7fffffff, 0xffffffff, 1ull << 32, 1ull << 63, ~0ull, bytes.size(), random()};
            const uint64_t value = extremes[random() % 10];
            std::memcpy(bytes.data() + at, &value, random() % 2 ? 4 : 8);
        }
        if (random() % 8 == 0) bytes.resize(random() % bytes.size());
        const auto file = GgufFile::parse(bytes);
        if (file) read_all(*file);
        else EXPECT_EQ(file.error().kind, ErrorKind::kInput);
    }
}

/// A file whose single metadata record or tensor info is written by hand.
Bytes with_raw(uint64_t n_tensors, uint64_t n_records, const std::function<void(Bytes&)>& write, uint32_t version = 3) {
    Bytes out;
    for (const char c : std::string_view("GGUF")) put(out, c);
    put(out, version);
    put(out, n_tensors);
    put(out, n_records);
    write(out);
    out.resize(out.size() + 64);
    return out;
}

Bytes with_tensor(std::string_view name, uint32_t n_dims, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    return with_raw(1, 0, [&](Bytes& out) {
        put_text(out, name);
        put(out, n_dims);
        for (const uint64_t d : dims) put(out, d);
        put(out, type);
        put(out, offset);
    });
}

TEST(GgufParse, RefusesVersionsItDoesNotKnow) {
    for (const uint32_t version : {0u, 1u, 4u, 0x03000000u, 0x02000000u}) EXPECT_EQ(code_of(with_raw(0, 0, [](Bytes&) {}, version)), "bad_version") << version;
    for (const uint32_t version : {2u, 3u}) EXPECT_EQ(code_of(with_raw(0, 0, [](Bytes&) {}, version)), "ok") << version;
    const auto swapped = GgufFile::parse(with_raw(0, 0, [](Bytes&) {}, 0x03000000));
    EXPECT_NE(swapped.error().why.find("endian"), std::string::npos);
}

TEST(GgufParse, CountsBeyondTheFileAreRefusedBeforeAnythingIsAllocated) {
    const uint64_t remaining = 64;
    EXPECT_EQ(code_of(with_raw(remaining / 33 + 1, 0, [](Bytes&) {})), "truncated");
    EXPECT_EQ(code_of(with_raw(0, remaining / 14 + 1, [](Bytes&) {})), "truncated");
    for (const uint64_t count : {1ull << 60, 1ull << 63, ~0ull}) {
        EXPECT_EQ(code_of(with_raw(count, 0, [](Bytes&) {})), "count_too_large");
        EXPECT_EQ(code_of(with_raw(0, count, [](Bytes&) {})), "count_too_large");
    }
}

TEST(GgufParse, StringsAndArraysBeyondTheFileAreRefused) {
    const auto text_of_length = [](uint64_t length) {
        return with_raw(0, 1, [&](Bytes& out) {
            put_text(out, "k");
            put<uint32_t>(out, 8);
            put(out, length);
        });
    };
    EXPECT_EQ(code_of(text_of_length(64)), "ok");
    EXPECT_EQ(code_of(text_of_length(65)), "truncated");
    EXPECT_EQ(code_of(text_of_length(~0ull)), "string_too_long");
    const auto array_of = [](uint32_t element, uint64_t count) {
        return with_raw(0, 1, [&](Bytes& out) {
            put_text(out, "k");
            put<uint32_t>(out, 9);
            put(out, element);
            put(out, count);
        });
    };
    EXPECT_EQ(code_of(array_of(10, 8)), "ok");
    EXPECT_EQ(code_of(array_of(10, 9)), "truncated");
    EXPECT_EQ(code_of(array_of(8, 8)), "ok") << "eight empty strings";
    EXPECT_EQ(code_of(array_of(8, 9)), "truncated");
    EXPECT_EQ(code_of(array_of(10, 1ull << 61)), "array_too_long") << "times 8 it wraps to 0";
    EXPECT_EQ(code_of(array_of(9, 1)), "nested_array");
    EXPECT_EQ(code_of(array_of(13, 1)), "bad_value_type");
}

TEST(GgufParse, KeysAreCheckedAndUnique) {
    EXPECT_EQ(code_of(GgufBuilder().u32("", 1).build()), "bad_key");
    EXPECT_EQ(code_of(GgufBuilder().u32(std::string_view("a\0b", 3), 1).build()), "bad_key");
    EXPECT_EQ(code_of(GgufBuilder().u32("caf\xc3\xa9", 1).build()), "bad_key");
    EXPECT_EQ(code_of(with_raw(0, 2, [](Bytes& out) {
                  for (int i = 0; i < 2; ++i) {
                      put_text(out, "same");
                      put<uint32_t>(out, 7);
                      put<uint8_t>(out, 1);
                  }
              })),
              "bad_key");
    EXPECT_EQ(code_of(GgufBuilder().value<uint8_t>("k", GgufValueType::kBool, 2).build()), "bad_value");
    EXPECT_EQ(code_of(GgufBuilder().value<uint32_t>("k", static_cast<GgufValueType>(13), 2).build()), "bad_value_type");
}

TEST(GgufParse, AlignmentIsAPowerOfTwoInRange) {
    const auto with_alignment = [](uint32_t value) {
        GgufBuilder builder = example_gguf();
        builder.alignment = value;
        return builder.u32("general.alignment", value).build();
    };
    for (const uint32_t good : {8u, 16u, 32u, 64u, 4096u}) EXPECT_EQ(code_of(with_alignment(good)), "ok") << good;
    GgufBuilder builder = example_gguf();
    for (const uint32_t bad : {0u, 1u, 3u, 4u, 24u, 1u << 21, 1u << 31}) EXPECT_EQ(code_of(builder.u32("general.alignment", bad).build()), "bad_alignment") << bad;
    EXPECT_EQ(code_of(builder.value<uint64_t>("general.alignment", GgufValueType::kU64, 32).build()), "bad_alignment");
}

TEST(GgufParse, TensorNamesAndDimensionsAreChecked) {
    EXPECT_EQ(code_of(with_tensor("t", 1, {2}, 0, 0)), "ok");
    EXPECT_EQ(code_of(with_tensor(std::string(63, 'x'), 1, {2}, 0, 0)), "ok");
    EXPECT_EQ(code_of(with_tensor(std::string(64, 'x'), 1, {2}, 0, 0)), "bad_tensor_name");
    EXPECT_EQ(code_of(with_tensor("", 1, {2}, 0, 0)), "bad_tensor_name");
    EXPECT_EQ(code_of(with_tensor("a\nb", 1, {2}, 0, 0)), "bad_tensor_name");
    EXPECT_EQ(code_of(with_tensor("t", 0, {}, 0, 0)), "bad_dims");
    EXPECT_EQ(code_of(with_tensor("t", 5, {1, 1, 1, 1, 1}, 0, 0)), "bad_dims");
    EXPECT_EQ(code_of(with_tensor("t", 2, {2, 0}, 0, 0)), "bad_dims");
    EXPECT_EQ(code_of(with_tensor("t", 1, {1ull << 63}, 0, 0)), "bad_dims");
    EXPECT_EQ(code_of(GgufBuilder().tensor("same", {2}).build()), "ok");
}

TEST(GgufParse, SizesThatWrapAreRefused) {
    const uint64_t largest = (1ull << 63) - 1;
    EXPECT_EQ(code_of(with_tensor("t", 2, {largest, 2}, 0, 0)), "size_overflow");
    EXPECT_EQ(code_of(with_tensor("t", 2, {1ull << 32, 1ull << 32}, 0, 0)), "size_overflow");
    EXPECT_EQ(code_of(with_tensor("t", 4, {1ull << 31, 1ull << 31, 2, 1}, 0, 0)), "size_overflow");
    EXPECT_EQ(code_of(with_tensor("t", 1, {1ull << 62}, 0, 0)), "size_overflow") << "times four bytes";
    EXPECT_EQ(code_of(with_tensor("t", 1, {1ull << 40}, 0, 0)), "data_out_of_bounds");
    EXPECT_EQ(code_of(with_tensor("t", 1, {255}, 12, 0)), "block_mismatch");
    for (const uint32_t type : {4u, 31u, 36u, 43u}) EXPECT_EQ(code_of(with_tensor("t", 1, {256}, type, 0)), "bad_tensor_type");
}

TEST(GgufParse, TensorsLieBackToBack) {
    EXPECT_EQ(code_of(with_tensor("t", 1, {2}, 0, 4)), "offset_unaligned");
    EXPECT_EQ(code_of(with_tensor("t", 1, {2}, 0, 32)), "offset_gap");
    EXPECT_EQ(code_of(with_tensor("t", 1, {2}, 0, ~31ull)), "offset_gap");
    Bytes two = GgufBuilder().tensor("t", {2}).tensor("u", {2}).build();
    EXPECT_EQ(code_of(two), "ok");
    const size_t offset_of_u = 24 + 33 + 33 - 8;
    const uint64_t zero = 0;
    std::memcpy(two.data() + offset_of_u, &zero, sizeof zero);
    EXPECT_EQ(code_of(two), "offset_overlap");
}

TEST(GgufParse, EveryKnownTensorTypeCanBeListed) {
    GgufBuilder builder;
    for (const TensorTypeInfo& info : all_tensor_types()) builder.tensor(info.name, {256, 3}, info.type);
    const Bytes bytes = builder.build();
    const auto file = GgufFile::parse(bytes);
    ASSERT_TRUE(file) << file.error().message();
    for (const TensorTypeInfo& info : all_tensor_types())
        EXPECT_EQ(file->find(info.name)->n_bytes, 3 * 256 / info.block_values * info.block_bytes) << info.name;
}

TEST(GgufParse, ErrorsSayWhereAndWhat) {
    const auto file = GgufFile::parse(GgufBuilder().tensor("a", {2}, TensorType::kF32, Bytes(64)).tensor("evil\u202e", {2}).build());
    ASSERT_FALSE(file);
    EXPECT_NE(file.error().why.find("tensor 1, evil\\xE2\\x80\\xAE"), std::string::npos) << file.error().message();
    EXPECT_NE(file.error().why.find("byte "), std::string::npos);
    EXPECT_FALSE(file.error().remedy.empty());
}

}  // namespace
}  // namespace gs
