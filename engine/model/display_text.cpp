// Text from a file, made safe to show (spec/gguf.md R31).
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "engine/core/utf8.h"
#include "engine/model/gguf.h"

namespace gs {
namespace {

/// Controls (C0, DEL, C1), line separators, and everything that reorders or hides text: bidirectional marks, embeddings, overrides and
/// isolates, zero-width characters, tags.
bool must_escape(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c <= 0xe007f);
}

}  // namespace

std::string sanitise_for_display(std::string_view text, size_t max_bytes) {
    constexpr std::string_view kEllipsis = "…";
    max_bytes = std::max(max_bytes, size_t{16});
    // The result is never shorter than the text, so of a long one only both ends can be seen.
    std::string ends;
    if (text.size() > 4 * max_bytes) {
        ends.append(text.substr(0, 2 * max_bytes)).append(text.substr(text.size() - 2 * max_bytes));
        text = ends;
    }
    std::string safe;
    std::vector<size_t> starts;  // where each shown character or escape begins
    for (size_t i = 0; i < text.size();) {
        const Character c = next_character(text.substr(i));
        starts.push_back(safe.size());
        if (!c.valid) {
            safe += "\uFFFD";
        } else if (must_escape(c.code)) {
            for (size_t b = 0; b < c.n_bytes; ++b) safe += fmt::format("\\x{:02X}", static_cast<unsigned char>(text[i + b]));
        } else {
            safe.append(text.substr(i, c.n_bytes));
        }
        i += c.n_bytes;
    }
    if (safe.size() <= max_bytes) return safe;
    const size_t keep = max_bytes - kEllipsis.size();
    const size_t head = *std::prev(std::upper_bound(starts.begin(), starts.end(), keep - keep / 2));
    const auto tail = std::lower_bound(starts.begin(), starts.end(), safe.size() - keep / 2);
    return safe.substr(0, head).append(kEllipsis).append(tail == starts.end() ? "" : safe.substr(*tail));
}

}  // namespace gs
