// The one reader of text files: what it takes, and how it says what it does not.
#include "app/base/texts.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/paths.h"

namespace app {
namespace {

using gs::test::TempDir;
using gs::test::write_bytes;

struct Read {
    std::string text, code, message;
};

Read read(const std::filesystem::path& path, uintmax_t max_bytes = kMaxTextBytes) {
    const auto text = read_text_file(path, max_bytes);
    return text ? Read{*text, "", ""} : Read{"", text.error().code, text.error().message()};
}

TEST(TextFile, IsReadToItsLastByte) {
    const TempDir dir;
    for (const std::string text : {"x", "Grüße, 你好 🦙\n", "a\r\n\tb"}) {
        write_bytes(dir / "a.txt", text);
        EXPECT_EQ(read(dir / "a.txt").text, text);
    }
}

TEST(TextFile, MayBeAsLargeAsItsUseAllowsAndNoLarger) {
    const TempDir dir;
    write_bytes(dir / "a.txt", std::string(kMaxPromptBytes, 'a'));
    EXPECT_EQ(read(dir / "a.txt", kMaxPromptBytes).text.size(), kMaxPromptBytes);
    write_bytes(dir / "a.txt", std::string(kMaxPromptBytes + 1, 'a'));
    const Read refused = read(dir / "a.txt", kMaxPromptBytes);
    EXPECT_EQ(refused.code, "too_large");
    EXPECT_NE(refused.message.find("more than 1 MB"), std::string::npos) << refused.message;
    EXPECT_EQ(read(dir / "a.txt").text.size(), kMaxPromptBytes + 1);
}

TEST(TextFile, WhatIsNoneIsRefusedWithTheReason) {
    const TempDir dir;
    const auto expect = [&](const Read& r, const char* code, const char* says) {
        EXPECT_EQ(r.code, code) << r.message;
        EXPECT_NE(r.message.find(says), std::string::npos) << r.message;
    };
    expect(read(dir / "missing.txt"), "cannot_open", "no such file");
    expect(read(dir.path()), "cannot_open", "it is a folder");
    write_bytes(dir / "empty.txt", "");
    expect(read(dir / "empty.txt"), "empty_text", "empty.txt");
    write_bytes(dir / "binary", std::string("GGUF\3\0\0\0", 8));
    expect(read(dir / "binary"), "not_text", "byte 5 is 0");
    write_bytes(dir / "latin1.txt", "Gr\xfc\xdf" "e");
    expect(read(dir / "latin1.txt"), "not_text", "byte 2 is not UTF-8");
    write_bytes(dir / "ends.txt", "end\xff");
    expect(read(dir / "ends.txt"), "not_text", "byte 3 is not UTF-8");
}

TEST(TextFile, CutInTheMiddleOfACharacterIsStillAText) {
    const TempDir dir;
    for (const std::string text : {"caf\xc3", "\xe4\xbd", "\xf0\x9f\xa6"}) {
        write_bytes(dir / "head.txt", text);
        EXPECT_EQ(read(dir / "head.txt").text, text);
    }
}

}  // namespace
}  // namespace app
