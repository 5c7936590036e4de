#include "engine/model/bpe_alphabet.h"

#include "engine/model/tokenizer_utf8.h"

namespace gs {

BpeAlphabet::BpeAlphabet() {
    m_bytes.fill(-1);
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
        bool is_itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        uint32_t code_point = is_itself ? byte : next++;
        append_utf8(m_characters[byte], code_point);
        m_bytes[code_point] = int16_t(byte);
    }
}

const BpeAlphabet& BpeAlphabet::get() {
    static const BpeAlphabet alphabet;
    return alphabet;
}

std::string BpeAlphabet::mapped(std::string_view bytes) const {
    std::string out;
    out.reserve(bytes.size() * 2);
    for (char c : bytes) out += m_characters[uint8_t(c)];
    return out;
}

std::string BpeAlphabet::unmapped(std::string_view text) const {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        Utf8Char c = next_utf8(text, at);
        if (c.is_valid && c.code_point < m_bytes.size() && m_bytes[c.code_point] >= 0) out += char(m_bytes[c.code_point]);
        else out += text.substr(at, c.n_bytes);
        at += c.n_bytes;
    }
    return out;
}

}  // namespace gs
