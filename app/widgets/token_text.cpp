#include "app/widgets/token_text.h"

#include <fmt/format.h>

#include <vector>

#include "imgui.h"

namespace app {
namespace {

struct Character {
    uint32_t code = 0;
    size_t n_bytes = 1;
    bool valid = false;
};

/// One character, or the longest prefix of one that is broken (Unicode 15, table 3-7).
Character next_character(std::string_view text) {
    const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = at(0);
    if (lead < 0x80) return {lead, 1, true};
    const size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (length == 0) return {};
    uint32_t code = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i) {
        if (i >= text.size() || (at(i) & 0xc0u) != 0x80u) return {0, i, false};
        code = code << 6 | (at(i) & 0x3fu);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {0, length, false};
    return {code, length, true};
}

/// Controls, and everything that hides or reorders text: drawn by its code point.
bool is_invisible(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || c == 0x61c || (c >= 0x2000 && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff || (c >= 0xe0000 && c <= 0xe007f);
}

/// The mark if the font has it, else one that every Latin font has.
const char* mark_or(uint32_t code, const char* mark, const char* fallback) {
    if (ImGui::GetCurrentContext() == nullptr || ImGui::GetFont() == nullptr) return mark;
    return ImGui::GetFont()->IsGlyphInFont(static_cast<ImWchar>(code)) ? mark : fallback;
}

void append_visible(std::string& out, std::string_view text, const Character& c) {
    if (!c.valid) {
        for (size_t i = 0; i < c.n_bytes; ++i) out += fmt::format("<0x{:02X}>", static_cast<unsigned char>(text[i]));
    } else if (c.code == ' ') {
        out += "·";
    } else if (c.code == '\n') {
        out += mark_or(0x21b5, "↵", "¶");
    } else if (c.code == '\t') {
        out += mark_or(0x2192, "→", "»");
    } else if (c.code < 0x20 || c.code == 0x7f) {
        out += fmt::format("<0x{:02X}>", c.code);
    } else if (is_invisible(c.code)) {
        out += fmt::format("<U+{:04X}>", c.code);
    } else {
        out += text.substr(0, c.n_bytes);
    }
}

}  // namespace

std::string visible_token(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const Character c = next_character(bytes);
        append_visible(out, bytes, c);
        bytes.remove_prefix(c.n_bytes);
    }
    return out.empty() ? "(empty)" : out;
}

std::string short_token(std::string_view bytes, int max_chars) {
    const std::string all = visible_token(bytes);
    std::vector<size_t> starts;
    for (size_t i = 0; i < all.size(); ++i)
        if ((static_cast<unsigned char>(all[i]) & 0xc0u) != 0x80u) starts.push_back(i);
    const auto n_max = static_cast<size_t>(max_chars < 3 ? 3 : max_chars);
    if (starts.size() <= n_max) return all;
    const size_t head = n_max / 2, tail = n_max - 1 - head;
    return all.substr(0, starts[head]) + "…" + all.substr(starts[starts.size() - tail]);
}

std::string visible_name(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const Character c = next_character(bytes);
        if (c.valid && c.code == ' ')
            out += ' ';
        else
            append_visible(out, bytes, c);
        bytes.remove_prefix(c.n_bytes);
    }
    return out;
}

std::string hex_bytes(std::string_view bytes) {
    std::string out;
    for (const char b : bytes) out += fmt::format("{}{:02X}", out.empty() ? "" : " ", static_cast<unsigned char>(b));
    return out;
}

std::string code_points(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const Character c = next_character(bytes);
        if (!out.empty()) out += ' ';
        out += c.valid ? fmt::format("U+{:04X}", c.code) : "?";
        bytes.remove_prefix(c.n_bytes);
    }
    return out;
}

}  // namespace app
