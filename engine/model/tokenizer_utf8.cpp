#include "engine/model/tokenizer_utf8.h"

namespace gs {

Utf8Char next_utf8(std::string_view text, size_t at) {
    constexpr Utf8Char kInvalid;
    uint8_t lead = uint8_t(text[at]);
    if (lead < 0x80) return {lead, 1, true};
    size_t n_bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() - at < n_bytes) return kInvalid;
    uint32_t code_point = lead & (0xFFu >> (n_bytes + 1));
    for (size_t i = 1; i < n_bytes; ++i) {
        uint8_t byte = uint8_t(text[at + i]);
        if ((byte & 0xC0) != 0x80) return kInvalid;
        code_point = code_point << 6 | (byte & 0x3Fu);
    }
    constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code_point < kSmallest[n_bytes] || code_point > 0x10FFFF) return kInvalid;
    return {code_point, n_bytes, true};
}

void append_utf8(std::string& out, uint32_t code_point) {
    if (code_point < 0x80) {
        out += char(code_point);
    } else if (code_point < 0x800) {
        out += {char(0xC0 | code_point >> 6), char(0x80 | (code_point & 0x3F))};
    } else if (code_point < 0x10000) {
        out += {char(0xE0 | code_point >> 12), char(0x80 | (code_point >> 6 & 0x3F)), char(0x80 | (code_point & 0x3F))};
    } else {
        out += {char(0xF0 | code_point >> 18), char(0x80 | (code_point >> 12 & 0x3F)), char(0x80 | (code_point >> 6 & 0x3F)),
                char(0x80 | (code_point & 0x3F))};
    }
}

std::string repaired_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
        Utf8Char c = next_utf8(text, at);
        if (c.is_valid) out += text.substr(at, c.n_bytes);
        else out += "\xEF\xBF\xBD";
        at += c.n_bytes;
    }
    return out;
}

bool is_readable_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        Utf8Char c = next_utf8(text, at);
        if (!c.is_valid) return false;
        at += c.n_bytes;
    }
    return true;
}

}  // namespace gs
