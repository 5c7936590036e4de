// Files on disk: mapping, split models, and files that change while they are open.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/model/mapped_file.h"
#include "tests/model/gguf_builder.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

namespace fs = std::filesystem;
using test::GgufBuilder;

class GgufOpen : public testing::Test {
protected:
    /// Part `number` (0-based) of `count`, holding one tensor named after it.
    void write_part(const std::string& name, int number, int count, int n_tensors, const std::string& tensor) {
        GgufBuilder b;
        if (number == 0) b.text("general.architecture", "llama");
        b.value<uint16_t>("split.no", GgufValueType::kU16, static_cast<uint16_t>(number));
        b.value<uint16_t>("split.count", GgufValueType::kU16, static_cast<uint16_t>(count));
        b.value<int32_t>("split.tensors.count", GgufValueType::kI32, n_tensors);
        if (!tensor.empty()) b.tensor(tensor, {4});
        test::write_bytes(m_dir / name, test::to_text(b.build()));
    }
    std::string code(const std::string& name) const {
        const auto file = GgufFile::open(m_dir / name);
        return file ? "ok" : file.error().code;
    }
    test::TempDir m_dir;
};

TEST_F(GgufOpen, AnyPartOpensTheWholeModel) {
    write_part("m-00001-of-00003.gguf", 0, 3, 2, "");
    write_part("m-00002-of-00003.gguf", 1, 3, 2, "t");
    write_part("m-00003-of-00003.gguf", 2, 3, 2, "u");
    for (const char* name : {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}) {
        const auto file = GgufFile::open(m_dir / name);
        ASSERT_TRUE(file) << file.error().message();
        EXPECT_EQ(*file->get_string("general.architecture"), "llama");
        EXPECT_EQ(file->tensors().size(), 2u);
        EXPECT_TRUE(file->find("t") && file->find("u"));
        EXPECT_EQ(file->headers().size(), 3u);
        EXPECT_EQ(file->n_bytes(), fs::file_size(m_dir / "m-00001-of-00003.gguf") + fs::file_size(m_dir / "m-00002-of-00003.gguf") +
                                       fs::file_size(m_dir / "m-00003-of-00003.gguf"));
    }
}

TEST_F(GgufOpen, AMissingPartIsNamed) {
    write_part("m-00001-of-00002.gguf", 0, 2, 2, "t");
    const auto file = GgufFile::open(m_dir / "m-00001-of-00002.gguf");
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, "split_missing_part");
    EXPECT_NE(file.error().message().find("m-00002-of-00002.gguf"), std::string::npos);
}

TEST_F(GgufOpen, PartsThatDoNotFitTogetherAreRefused) {
    write_part("renamed.gguf", 0, 2, 2, "t");
    EXPECT_EQ(code("renamed.gguf"), "split_mismatch");
    write_part("a-00001-of-00002.gguf", 0, 2, 2, "t");
    write_part("a-00002-of-00002.gguf", 1, 2, 2, "t");
    EXPECT_EQ(code("a-00001-of-00002.gguf"), "duplicate_tensor");
    write_part("a-00002-of-00002.gguf", 1, 2, 2, "");
    EXPECT_EQ(code("a-00001-of-00002.gguf"), "split_mismatch") << "one tensor of two";
    write_part("a-00002-of-00002.gguf", 1, 3, 2, "u");
    EXPECT_EQ(code("a-00001-of-00002.gguf"), "split_mismatch") << "another count";
    write_part("a-00002-of-00002.gguf", 0, 2, 2, "u");
    EXPECT_EQ(code("a-00001-of-00002.gguf"), "split_mismatch") << "the first part twice";
    test::write_bytes(m_dir / "a-00002-of-00002.gguf", std::string(10, 'x'));
    EXPECT_EQ(code("a-00001-of-00002.gguf"), "bad_magic") << "the error of the part that is broken";
    write_part("z-00001-of-02000.gguf", 0, 2000, 1, "t");
    EXPECT_EQ(code("z-00001-of-02000.gguf"), "bad_value");
}

TEST_F(GgufOpen, ThingsThatAreNoFilesAreRefused) {
    EXPECT_EQ(code("absent.gguf"), "not_found");
    EXPECT_EQ(code(""), "not_a_file");
    ASSERT_EQ(mkfifo((m_dir / "pipe").c_str(), 0600), 0);
    EXPECT_EQ(code("pipe"), "not_a_file") << "and it must not wait for a writer";
    const auto absent = GgufFile::open(m_dir / "absent.gguf");
    EXPECT_EQ(absent.error().kind, ErrorKind::kInput);
}

TEST_F(GgufOpen, AFileCutUnderneathReadsAsZerosInsteadOfEndingTheProgram) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const fs::path path = m_dir / "cut";
    test::write_bytes(path, std::string(8 * page, 42));
    auto file = MappedFile::open(path);
    ASSERT_TRUE(file) << file.error().message();
    EXPECT_FALSE(file->shrank());
    EXPECT_EQ(file->bytes()[6 * page], std::byte{42});
    fs::resize_file(path, page);
    EXPECT_TRUE(file->shrank());
    for (size_t p = 1; p < 8; ++p) EXPECT_EQ(file->bytes()[p * page + 5], std::byte{0}) << p;
    EXPECT_EQ(file->bytes()[5], std::byte{42});
    fs::resize_file(path, 8 * page);
    EXPECT_TRUE(file->shrank()) << "what was read in between was wrong";
    const fs::path other = m_dir / "other";
    test::write_bytes(other, "other");
    auto moved = MappedFile::open(other);
    ASSERT_TRUE(moved);
    EXPECT_FALSE(moved->shrank());
    *moved = std::move(*file);
    EXPECT_TRUE(moved->shrank());
    EXPECT_EQ(moved->bytes().size(), 8 * page);
}

}  // namespace
}  // namespace gs
