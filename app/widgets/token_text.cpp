#include "app/widgets/token_text.h"

#include <fmt/format.h>

#include <vector>

#include "engine/core/utf8.h"
#include "imgui.h"

namespace app {
namespace {

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

void append_visible(std::string& out, std::string_view text, const gs::Character& c) {
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
        const gs::Character c = gs::next_character(bytes);
        append_visible(out, bytes, c);
        bytes.remove_prefix(c.n_bytes);
    }
    return out.empty() ? "(empty)" : out;
}

std::string short_token(std::string_view bytes, int max_chars) {
    const std::string all = visible_token(bytes);
    std::vector<size_t> starts;
    for (size_t i = 0; i < all.size(); ++i)
        if (gs::starts_character(all[i])) starts.push_back(i);
    const auto n_max = static_cast<size_t>(max_chars < 3 ? 3 : max_chars);
    if (starts.size() <= n_max) return all;
    const size_t head = n_max / 2, tail = n_max - 1 - head;
    return all.substr(0, starts[head]) + "…" + all.substr(starts[starts.size() - tail]);
}

std::string visible_name(std::string_view bytes) {
    std::string out;
    while (!bytes.empty()) {
        const gs::Character c = gs::next_character(bytes);
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
        const gs::Character c = gs::next_character(bytes);
        if (!out.empty()) out += ' ';
        out += c.valid ? fmt::format("U+{:04X}", c.code) : "?";
        bytes.remove_prefix(c.n_bytes);
    }
    return out;
}

}  // namespace app
