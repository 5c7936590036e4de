// Token bytes as text that can be seen: a space is "·", a newline "↵", a tab "→", bytes that are no character "<0xE2>" (ux.md R28).
#pragma once

#include <string>
#include <string_view>

namespace app {

/// Never empty; safe to draw.
std::string visible_token(std::string_view bytes);
/// As visible_token, at most max_chars characters, cut in the middle.
std::string short_token(std::string_view bytes, int max_chars);
/// For names of files and models: spaces stay, everything that cannot be seen or reorders text is escaped.
std::string visible_name(std::string_view bytes);
/// "E2 80 99"
std::string hex_bytes(std::string_view bytes);
/// "U+2019 U+0020", with "?" for broken bytes.
std::string code_points(std::string_view bytes);

}  // namespace app
