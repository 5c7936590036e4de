// UTF-8 of texts that may be broken, read character by character to be shown. What tokenizers take for a character differs: model/tokenizer_utf8.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gs {

struct Character {
    uint32_t code = 0;
    size_t n_bytes = 1;
    bool valid = false;
};

/// The first character of `text`, which is not empty, or the longest prefix of one that is broken (Unicode 15, table 3-7).
Character next_character(std::string_view text);
/// False for the second and later bytes of a character.
inline bool starts_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0u) != 0x80u; }

}  // namespace gs
