#include "engine/io/base64.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

TEST(Base64, IsThatOfTheSpecification) {   // RFC 4648, section 10
    const std::pair<const char*, const char*> rows[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    for (const auto& [bytes, text] : rows) {
        EXPECT_EQ(base64(bytes), text);
        EXPECT_EQ(bytes_of_base64(text), bytes);
    }
    EXPECT_EQ(base64("\xfb\xff\xbf"), "+/+/");
    EXPECT_EQ(bytes_of_base64("+/+/"), "\xfb\xff\xbf");
}

TEST(Base64, ReadsWhatHasNoPaddingAndRefusesOtherSigns) {
    EXPECT_EQ(bytes_of_base64("Zm8"), "fo");
    for (const char* text : {"Zm9v!", "Zm 9v", "Zm-_"}) EXPECT_EQ(bytes_of_base64(text), std::nullopt) << text;
}

TEST(Base64, ComesBackWhateverTheBytes) {
    std::string bytes;
    for (int i = 0; i < 256; ++i) {
        bytes += static_cast<char>(i * 37);
        EXPECT_EQ(bytes_of_base64(base64(bytes)), bytes);
    }
}

}  // namespace
}  // namespace gs
