// UTF-8 as the tokenizers read it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gs {

struct Utf8Char {
    uint32_t code_point = 0xFFFD;
    size_t n_bytes = 1;          ///< 1 where invalid: reading goes on with the next byte
    bool is_valid = false;
};

/// The character at `at` (< text.size()). Invalid: stray and missing continuation bytes, overlong forms, above U+10FFFF. Surrogates
/// (U+D800–DFFF) pass, as in llama.cpp: byte-level vocabularies can spell them, and a round trip stays exact.
Utf8Char next_utf8(std::string_view text, size_t at);
void append_utf8(std::string& out, uint32_t code_point);
/// Every invalid byte replaced by U+FFFD.
std::string repaired_utf8(std::string_view text);
bool is_readable_utf8(std::string_view text);

}  // namespace gs
