#include "engine/core/utf8.h"

namespace gs {

Character next_character(std::string_view text) {
    const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = at(0);
    if (lead < 0x80) return {lead, 1, true};
    const size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (length == 0) return {};
    uint32_t code = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i) {
        unsigned char low = 0x80, high = 0xbf;
        if (i == 1) {  // overlong forms, surrogates and codes above U+10FFFF
            if (lead == 0xe0) low = 0xa0;
            if (lead == 0xed) high = 0x9f;
            if (lead == 0xf0) low = 0x90;
            if (lead == 0xf4) high = 0x8f;
        }
        if (i >= text.size() || at(i) < low || at(i) > high) return {0, i, false};
        code = code << 6 | (at(i) & 0x3fu);
    }
    return {code, length, true};
}

}  // namespace gs
