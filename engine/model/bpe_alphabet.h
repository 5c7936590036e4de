// The GPT-2 alphabet (tokenizers.md section 4, step 2): every byte is one printable character in the vocabulary of a byte-level BPE.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace gs {

class BpeAlphabet {
public:
    static const BpeAlphabet& get();

    /// UTF-8 of the character that stands for `byte`.
    std::string_view character(uint8_t byte) const { return m_characters[byte]; }
    /// The text with every byte replaced by its character.
    std::string mapped(std::string_view bytes) const;
    /// The reverse; characters outside the alphabet keep their own UTF-8.
    std::string unmapped(std::string_view text) const;

private:
    BpeAlphabet();
    std::array<std::string, 256> m_characters;
    std::array<int16_t, 0x144> m_bytes;   ///< code point → byte, -1 = none
};

}  // namespace gs
