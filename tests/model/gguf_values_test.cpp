// Typed getters (spec/gguf.md R11) and the texts shown to people (R31).
#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/gguf_builder.h"

namespace gs {
namespace {

using test::Bytes;
using test::GgufBuilder;

class GgufValues : public testing::Test {
protected:
    void SetUp() override {
        GgufBuilder b;
        b.value<uint8_t>("u8", GgufValueType::kU8, 200).value<int8_t>("i8", GgufValueType::kI8, -3).value<uint16_t>("u16", GgufValueType::kU16, 60000);
        b.value<int16_t>("i16", GgufValueType::kI16, -300).u32("u32", 4'000'000'000u).value<int32_t>("i32", GgufValueType::kI32, 5);
        b.value<uint64_t>("u64", GgufValueType::kU64, 1ull << 63).value<int64_t>("i64", GgufValueType::kI64, -1);
        b.f32("f32", 0.5f).value<double>("f64", GgufValueType::kF64, 1e300).value<uint8_t>("bool", GgufValueType::kBool, 1).text("text", "hello");
        b.array<int16_t>("ints", GgufValueType::kI16, {-1, 2, 300}).array<uint64_t>("big", GgufValueType::kU64, {1ull << 63});
        b.array<float>("floats", GgufValueType::kF32, {1.5f, -2.0f}).array<double>("doubles", GgufValueType::kF64, {1e300});
        b.texts("texts", {"", "a", std::string("\x1b[2J", 4)}).array<uint32_t>("none", GgufValueType::kU32, {});
        b.array<uint32_t>("many", GgufValueType::kU32, std::vector<uint32_t>(100, 7));
        m_bytes = b.build();
    }
    GgufFile file() const {
        auto parsed = GgufFile::parse(m_bytes);
        EXPECT_TRUE(parsed);
        return std::move(*parsed);
    }
    Bytes m_bytes;
};

template <class T>
std::string code(const Result<T>& r) {
    return r ? "ok" : r.error().code;
}

TEST_F(GgufValues, AnyIntegerWidthWillDoWhenTheValueFits) {
    const GgufFile f = file();
    EXPECT_EQ(*f.get_uint("u8"), 200u);
    EXPECT_EQ(*f.get_uint("u16"), 60000u);
    EXPECT_EQ(*f.get_uint("u32"), 4'000'000'000u);
    EXPECT_EQ(*f.get_uint("i32"), 5u);
    EXPECT_EQ(*f.get_uint("u64"), 1ull << 63);
    for (const char* negative : {"i8", "i16", "i64"}) EXPECT_EQ(code(f.get_uint(negative)), "bad_value") << negative;
}

TEST_F(GgufValues, NoValueIsReadAsAnotherType) {
    const GgufFile f = file();
    for (const char* key : {"f32", "f64", "bool", "text", "ints"}) EXPECT_EQ(code(f.get_uint(key)), "wrong_key_type") << key;
    for (const char* key : {"u32", "bool", "text", "floats"}) EXPECT_EQ(code(f.get_float(key)), "wrong_key_type") << key;
    for (const char* key : {"u8", "i32", "text"}) EXPECT_EQ(code(f.get_bool(key)), "wrong_key_type") << key;
    for (const char* key : {"u8", "texts"}) EXPECT_EQ(code(f.get_string(key)), "wrong_key_type") << key;
    for (const char* key : {"u8", "floats", "texts"}) EXPECT_EQ(code(f.get_int_array(key)), "wrong_key_type") << key;
    for (const char* key : {"f32", "ints", "texts"}) EXPECT_EQ(code(f.get_float_array(key)), "wrong_key_type") << key;
    for (const char* key : {"text", "ints"}) EXPECT_EQ(code(f.get_string_array(key)), "wrong_key_type") << key;
    EXPECT_EQ(code(f.get_uint("absent")), "missing_key");
    EXPECT_EQ(code(f.get_string_array("absent")), "missing_key");
    EXPECT_EQ(code(f.get_int_array("big")), "bad_value");
    EXPECT_EQ(code(f.get_float_array("doubles")), "bad_value") << "1e300 is no f32";
}

TEST_F(GgufValues, ArraysAndFloatsComeOutAsWritten) {
    const GgufFile f = file();
    EXPECT_EQ(*f.get_float("f32"), 0.5);
    EXPECT_EQ(*f.get_float("f64"), 1e300);
    EXPECT_TRUE(*f.get_bool("bool"));
    EXPECT_EQ(*f.get_string("text"), "hello");
    EXPECT_EQ(*f.get_int_array("ints"), (std::vector<int64_t>{-1, 2, 300}));
    EXPECT_EQ(*f.get_float_array("floats"), (std::vector<float>{1.5f, -2.0f}));
    EXPECT_EQ(f.get_string_array("texts")->at(2), "\x1b[2J");
    EXPECT_TRUE(f.get_int_array("none")->empty());
    EXPECT_TRUE(f.is_array("none"));
    EXPECT_FALSE(f.is_array("text"));
    EXPECT_EQ(f.array_size("ints"), 3u);
    EXPECT_EQ(f.array_size("text") + f.array_size("absent"), 0u);
}

TEST_F(GgufValues, EntriesAreInFileOrderShortAndSafe) {
    const std::vector<GgufEntry> entries = file().entries();
    ASSERT_EQ(entries.size(), 19u);
    EXPECT_EQ(entries[0].key, "u8");
    EXPECT_EQ(entries[0].type, "uint8");
    EXPECT_EQ(entries[0].value, "200");
    EXPECT_EQ(entries[7].value, "-1");
    EXPECT_EQ(entries[10].value, "true");
    EXPECT_EQ(entries[16].value, "[\"\", \"a\", \"\\x1B[2J\"]");
    EXPECT_EQ(entries[18].type, "array of 100 uint32");
    EXPECT_EQ(entries[18].value, "[7, 7, 7, 7, 7, 7, 7, 7, …]");
}

TEST(GgufDisplay, ControlsEscapesAndOverridesLoseTheirPower) {
    EXPECT_EQ(sanitise_for_display("plain é 漢 🦙"), "plain é 漢 🦙");
    EXPECT_EQ(sanitise_for_display("a\x1b[2Jb\a\n\t\x7f"), "a\\x1B[2Jb\\x07\\x0A\\x09\\x7F");
    EXPECT_EQ(sanitise_for_display(std::string_view("a\0b", 3)), "a\\x00b");
    EXPECT_EQ(sanitise_for_display("x\u202etxt.exe"), "x\\xE2\\x80\\xAEtxt.exe");
    EXPECT_EQ(sanitise_for_display("\u2066\u200f\u061c"), "\\xE2\\x81\\xA6\\xE2\\x80\\x8F\\xD8\\x9C");
    EXPECT_EQ(sanitise_for_display("\u0085\u009b"), "\\xC2\\x85\\xC2\\x9B") << "C1 controls are terminal escapes too";
}

TEST(GgufDisplay, InvalidUtf8BecomesReplacementCharacters) {
    const std::string r = "\uFFFD";
    EXPECT_EQ(sanitise_for_display("a\xff" "b"), "a" + r + "b");
    EXPECT_EQ(sanitise_for_display("\xe2\x82"), r) << "a cut character is one";
    EXPECT_EQ(sanitise_for_display("\xc0\xaf"), r + r) << "overlong";
    EXPECT_EQ(sanitise_for_display("\xed\xa0\x80"), r + r + r) << "surrogate";
    EXPECT_EQ(sanitise_for_display("\xf4\x90\x80\x80"), r + r + r + r) << "above U+10FFFF";
    EXPECT_EQ(sanitise_for_display("\x80"), r);
}

TEST(GgufDisplay, LongTextIsCutInTheMiddleAtCharacters) {
    const std::string mixed = [] {
        std::string s;
        for (int i = 0; i < 500; ++i) s += i % 3 == 0 ? "é" : i % 3 == 1 ? "x" : "\n";
        return s;
    }();
    for (size_t limit = 16; limit < 120; ++limit) {
        const std::string cut = sanitise_for_display(mixed, limit);
        EXPECT_LE(cut.size(), limit);
        EXPECT_GE(cut.size() + 8, limit) << "two pieces of up to four bytes are lost at most";
        EXPECT_EQ(sanitise_for_display(cut, 1000), cut) << "still valid, nothing to escape";
        EXPECT_NE(cut.find("…"), std::string::npos);
        EXPECT_EQ(cut.find('\\') == std::string::npos ? 0u : cut.find("\\x0A"), cut.find('\\') == std::string::npos ? 0u : cut.find('\\'));
    }
    EXPECT_EQ(sanitise_for_display("0123456789abcdefXYZ", 16), "0123456…defXYZ");
    EXPECT_EQ(sanitise_for_display(std::string(1'000'000, 'q') + "end", 200).size(), 200u);
    EXPECT_TRUE(sanitise_for_display("").empty());
}

}  // namespace
}  // namespace gs
