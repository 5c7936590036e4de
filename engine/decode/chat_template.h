// Chat templates: the common forms, recognised by their marks in the file's Jinja source and written by us (the source is untrusted and
// never executed, gguf.md R29). Builds ids piecewise, so that nothing a user types can become a control token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/tokenizer.h"

namespace gs {

struct ChatTurn {
    std::string role;                  ///< "system", "user", "assistant"
    std::string text;
};

struct ChatFormat {
    const char* name;                  ///< "chatml", "llama3", "granite", …; "raw" when nothing fits
    bool is_raw;
};

/// The format of a Jinja template, by its characteristic marks (tokenizers.md section 10); raw if empty, unknown or above 1 MB.
const ChatFormat& detect_chat_format(std::string_view jinja_source);
const ChatFormat& raw_chat_format();

/// Token ids of a conversation up to the point where the assistant speaks, BOS included as the file asks. For raw: the user texts as
/// they are. Roles other than system and assistant count as user.
/// A default system prompt in the template source (SmolLM2's) is added when the conversation has none and the template does so.
std::vector<int32_t> render_chat(const ChatFormat& format, std::string_view jinja_source, const Tokenizer& tokenizer,
                                 const std::vector<ChatTurn>& turns);

}  // namespace gs
