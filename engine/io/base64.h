// Bytes as text: base64 of RFC 4648, section 4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gs {

std::string base64(std::string_view bytes);
/// Up to the first '='; with or without padding. Nothing where another sign stands.
std::optional<std::string> bytes_of_base64(std::string_view text);

}  // namespace gs
