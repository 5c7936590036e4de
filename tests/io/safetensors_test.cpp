#include "engine/io/safetensors.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "tests/support/check_capture.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using test::TempDir;

std::string file_of(std::string_view header, std::string_view data = "") {
    const uint64_t length = header.size();
    std::string out(sizeof length, '\0');
    std::memcpy(out.data(), &length, sizeof length);
    return out.append(header).append(data);
}

std::string code_of(const std::string& bytes) {
    const TempDir dir;
    test::write_bytes(dir / "f", bytes);
    const Result<SafetensorsFile> file = SafetensorsFile::open(dir / "f");
    if (file) return "ok";
    EXPECT_EQ(file.error().kind, ErrorKind::kInput);
    EXPECT_FALSE(file.error().why.empty());
    return file.error().code;
}

TEST(Safetensors, ReadsWhatItWrote) {
    const TempDir dir;
    const std::vector<float> f = {1, -0.0f, std::numeric_limits<float>::infinity(), 3e-42f, 5, 6};
    const std::vector<uint8_t> u8 = {1, 2, 3};
    const std::vector<int32_t> i32 = {-7};
    const std::vector<uint16_t> u16 = {65535, 0};
    const std::vector<int64_t> i64 = {INT64_MIN};
    const std::vector<SafetensorsEntry> entries = {
        {"bytes", "U8", {3}, std::as_bytes(std::span(u8))},   {"f", "F32", {2, 3}, std::as_bytes(std::span(f))},
        {"scalar", "I32", {}, std::as_bytes(std::span(i32))}, {"none", "F32", {4, 0}, {}},
        {"u16", "U16", {2}, std::as_bytes(std::span(u16))},   {"i64 \"q\"", "I64", {1}, std::as_bytes(std::span(i64))},
    };
    ASSERT_TRUE(write_safetensors(dir / "f", {{"a", "b \"c\" \n \xe2\x82\xac"}}, entries));
    EXPECT_EQ(test::names_in(dir.path()), (std::vector<std::string>{"f"})) << "no temporary file is left";
    const Result<SafetensorsFile> opened = SafetensorsFile::open(dir / "f");
    ASSERT_TRUE(opened) << opened.error().message();
    SafetensorsFile file = std::move(const_cast<Result<SafetensorsFile>&>(opened)).value();  // a move keeps the tensors valid
    EXPECT_EQ(file.metadata().at("a"), "b \"c\" \n \xe2\x82\xac");
    EXPECT_EQ(file.names(), (std::vector<std::string>{"bytes", "f", "i64 \"q\"", "none", "scalar", "u16"}));
    EXPECT_EQ(file.find("f")->shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(0, std::memcmp(file.find("f")->values<float>()->data(), f.data(), sizeof(float) * f.size()));
    EXPECT_EQ(*file.find("bytes")->values<uint8_t>(), u8);
    EXPECT_EQ(*file.find("scalar")->values<int32_t>(), i32);
    EXPECT_EQ(*file.find("u16")->values<uint16_t>(), u16);
    EXPECT_EQ(*file.find("i64 \"q\"")->values<int64_t>(), i64);
    EXPECT_TRUE(file.find("none")->values<float>()->empty());
    EXPECT_EQ(file.find("missing"), nullptr);
    EXPECT_EQ(file.find("f")->values<int32_t>().error().code, "bad_value");
}

TEST(Safetensors, StartsEveryTensorAtAMultipleOfItsElementSize) {
    const TempDir dir;
    const std::vector<uint8_t> odd(3);
    const std::vector<double> wide(2);
    const std::vector<SafetensorsEntry> entries = {{"odd", "U8", {3}, std::as_bytes(std::span(odd))},
                                                   {"wide", "F64", {2}, std::as_bytes(std::span(wide))}};
    ASSERT_TRUE(write_safetensors(dir / "f", {}, entries));
    const std::string bytes = test::read_bytes(dir / "f");
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    EXPECT_EQ(length % 8, 0u);
    EXPECT_NE(bytes.find("\"wide\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]}"), std::string::npos) << bytes;
}

TEST(Safetensors, ReadsTheGoldensOfEveryFolder) {
    int n_files = 0;
    for (const char* folder : {"models", "quant/models"}) {
        for (const std::string& name : test::names_in(test::golden(folder))) {
            const Result<SafetensorsFile> file = SafetensorsFile::open(test::golden(folder) / name / "golden.safetensors");
            ASSERT_TRUE(file) << name << ": " << file.error().message();
            EXPECT_FALSE(file->names().empty());
            ++n_files;
        }
    }
    EXPECT_GT(n_files, 0);
}

TEST(Safetensors, AnEmptyFileOfTheFormatIsFine) {
    EXPECT_EQ(code_of(file_of("{}")), "ok");
    EXPECT_EQ(code_of(file_of("{}      ")), "ok") << "padded with spaces";
    const TempDir dir;
    ASSERT_TRUE(write_safetensors(dir / "f", {}, {}));
    EXPECT_TRUE(SafetensorsFile::open(dir / "f"));
}

TEST(Safetensors, RefusesHeadersThatAreNone) {
    EXPECT_EQ(code_of(""), "truncated");
    EXPECT_EQ(code_of("\x02\0\0"), "truncated");
    EXPECT_EQ(code_of(std::string("\x10\0\0\0\0\0\0\0{}", 10)), "truncated");
    EXPECT_EQ(code_of(std::string(8, '\xff') + "{}"), "bad_header") << "a length of 2^64 - 1";
    EXPECT_EQ(code_of(file_of("")), "bad_header");
    EXPECT_EQ(code_of(file_of("[]")), "bad_header");
    EXPECT_EQ(code_of(file_of("{\"a\":")), "bad_header");
    EXPECT_EQ(code_of(file_of("{} {}")), "bad_header");
    EXPECT_EQ(code_of(file_of("{\"\xff\xfe\":1}")), "bad_header") << "not UTF-8";
    EXPECT_EQ(code_of(file_of("{\"a\":" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}")), "bad_header")
        << "a tower of arrays";
}

TEST(Safetensors, RefusesTensorsThatDoNotFit) {
    const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets,
                        const std::string& data = "12345678") {
        return code_of(file_of("{\"t\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}", data));
    };
    EXPECT_EQ(one("\"F32\"", "[2]", "[0,8]"), "ok");
    EXPECT_EQ(one("\"F32\"", "[2]", "[0,8]", "1234567"), "data_out_of_bounds");
    EXPECT_EQ(one("\"F32\"", "[2]", "[0,8]", "123456789"), "offset_gap");
    EXPECT_EQ(one("\"F32\"", "[1]", "[4,8]"), "offset_gap");
    EXPECT_EQ(one("\"F32\"", "[3]", "[0,8]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[2]", "[8,0]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[2]", "[0]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[2]", "[-8,0]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[2]", "[0,1e1]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[2]", "[0,18446744073709551615]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[-2]", "[0,8]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[2.0]", "[0,8]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "2", "[0,8]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "bad_value");
    EXPECT_EQ(one("\"F33\"", "[2]", "[0,8]"), "bad_value");
    EXPECT_EQ(one("32", "[2]", "[0,8]"), "bad_value");
    EXPECT_EQ(one("\"F32\"", "[4611686018427387904,4]", "[0,8]"), "size_overflow");
    EXPECT_EQ(one("\"F32\"", "[4611686018427387904,2]", "[0,8]"), "size_overflow");
    EXPECT_EQ(code_of(file_of("{\"t\":5}")), "bad_value");
    EXPECT_EQ(code_of(file_of("{\"t\":{\"dtype\":\"U8\"}}")), "bad_value");
    EXPECT_EQ(code_of(file_of("{\"__metadata__\":5}")), "bad_value");
    EXPECT_EQ(code_of(file_of("{\"__metadata__\":{\"a\":1}}")), "bad_value");
    const std::string u8 = ":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":";
    EXPECT_EQ(code_of(file_of("{\"a\"" + u8 + "[0,4]},\"b\"" + u8 + "[2,6]}}", "123456")), "offset_overlap");
    EXPECT_EQ(code_of(file_of("{\"a\"" + u8 + "[0,4]},\"a\"" + u8 + "[4,8]}}", "12345678")), "duplicate_tensor");
    EXPECT_EQ(code_of(file_of("{\"b\"" + u8 + "[4,8]},\"a\"" + u8 + "[0,4]}}", "12345678")), "ok") << "names in any order";
}

TEST(Safetensors, SaysWhatCannotBeOpened) {
    const TempDir dir;
    EXPECT_EQ(SafetensorsFile::open(dir / "missing").error().code, "cannot_open");
    EXPECT_EQ(SafetensorsFile::open(dir.path()).error().code, "cannot_open");
    EXPECT_EQ(SafetensorsFile::open("/dev/zero").error().code, "cannot_open");
    ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
    EXPECT_EQ(SafetensorsFile::open(dir / "pipe").error().code, "cannot_open") << "and does not wait for a writer";
}

/// Lowers the largest file a process may write, for one scope. The kernel would send SIGXFSZ; ignored, write() says EFBIG.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : m_signal(signal(SIGXFSZ, SIG_IGN)) {
        getrlimit(RLIMIT_FSIZE, &m_old);
        const rlimit lowered{bytes, m_old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &lowered);
    }
    ~FileSizeLimit() {
        setrlimit(RLIMIT_FSIZE, &m_old);
        signal(SIGXFSZ, m_signal);
    }

private:
    rlimit m_old{};
    sighandler_t m_signal;
};

TEST(SafetensorsWriter, AFullDiskLeavesTheOldFileAsItWas) {
    const TempDir dir;
    test::write_bytes(dir / "f", "the old file");
    const std::vector<uint8_t> big(100000);
    const std::vector<SafetensorsEntry> entries = {{"big", "U8", {100000}, std::as_bytes(std::span(big))}};
    {
        const FileSizeLimit limit(4096);
        const Result<void> result = write_safetensors(dir / "f", {}, entries);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, "disk_full");
        EXPECT_EQ(result.error().kind, ErrorKind::kRun);
        EXPECT_FALSE(result.error().remedy.empty());
    }
    EXPECT_EQ(test::read_bytes(dir / "f"), "the old file");
    EXPECT_EQ(test::names_in(dir.path()), (std::vector<std::string>{"f"})) << "the half-written file is gone";
    EXPECT_TRUE(write_safetensors(dir / "f", {}, entries));
}

TEST(SafetensorsWriter, AFullDeviceIsReportedAndStaysADevice) {
    if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full on this machine";
    EXPECT_EQ(write_safetensors("/dev/full", {}, {}).error().code, "disk_full");
    EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST(SafetensorsWriter, SaysWhereItCannotWrite) {
    const TempDir dir;
    EXPECT_EQ(write_safetensors(dir.path(), {}, {}).error().code, "cannot_write");
    EXPECT_EQ(write_safetensors(dir / "no/such/folder", {}, {}).error().code, "cannot_write");
    EXPECT_TRUE(write_safetensors(dir / "f", {{"name", "bad \xff"}}, {})) << "what is no UTF-8 is replaced";
    EXPECT_EQ(SafetensorsFile::open(dir / "f")->metadata().at("name"), "bad \xef\xbf\xbd");
}

TEST(SafetensorsWriter, FollowsASymbolicLink) {
    const TempDir dir;
    test::write_bytes(dir / "real", "old");
    std::filesystem::create_symlink("real", dir / "link");
    ASSERT_TRUE(write_safetensors(dir / "link", {}, {}));
    EXPECT_TRUE(std::filesystem::is_symlink(dir / "link"));
    EXPECT_TRUE(SafetensorsFile::open(dir / "real"));
}

TEST(SafetensorsWriter, RefusesEntriesThatDoNotAddUp) {
    const TempDir dir;
    const std::vector<uint8_t> three(3);
    const auto write = [&](const char* dtype, int64_t n) {
        const std::vector<SafetensorsEntry> entries = {{"t", dtype, {n}, std::as_bytes(std::span(three))}};
        return write_safetensors(dir / "f", {}, entries);
    };
    EXPECT_CHECK_FAILS(write("U8", 4), "product of shape");
    EXPECT_CHECK_FAILS(write("U9", 3), "unknown dtype");
    EXPECT_EQ(test::names_in(dir.path()).size(), 0u);
}

}  // namespace
}  // namespace gs
