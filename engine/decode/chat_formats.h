// The table of chat formats (tokenizers.md section 10). A new format is a new row.
#pragma once

#include <array>
#include <span>

#include "engine/decode/chat_template.h"

namespace gs {

struct ChatFormatRow {
    struct Turn {
        const char* open;
        const char* close;
    };
    ChatFormat format;
    std::array<const char*, 2> marks;          ///< substrings of the template that must all occur; nullptr = none. "\n" also fits "\\n"
    const char* prefix = "";                   ///< before the first turn; BOS only where the tokenizer's rule does not add it
    Turn system, user, assistant;
    const char* generation = "";               ///< where the assistant begins to speak
    bool trims = false;                        ///< turns lose white space at both ends
    bool system_goes_into_user = false;        ///< the system turn stands inside the first user turn, behind its `open`
};

/// In the order in which they are tried: the more specific first.
std::span<const ChatFormatRow> chat_format_rows();

}  // namespace gs
