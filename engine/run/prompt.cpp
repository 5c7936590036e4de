#include "engine/run/prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/decode/chat_template.h"

namespace gs {
namespace {

Error too_long(const std::string& length, int n_ctx) {
    return {ErrorKind::kInput, "prompt_too_long", "The prompt is too long",
            fmt::format("it has {} tokens, and the context holds {}", length, n_ctx), "Shorten the prompt, or ask for a longer context"};
}

/// No token stands for more bytes than the longest piece of the vocabulary: a lower bound that needs no tokenizing.
size_t least_tokens(const Tokenizer& tokenizer, size_t n_bytes) {
    size_t longest = 1;
    for (int32_t id = 0; id < tokenizer.n_tokens(); ++id) longest = std::max(longest, tokenizer.piece(id, true).size());
    return n_bytes / longest;
}

}  // namespace

Result<PromptTokens> tokenize_prompt(const Model& model, const RunRequest& request, int n_ctx) {
    const Tokenizer& tokenizer = *model.tokenizer;
    const Error empty{ErrorKind::kUsage, "empty_prompt", "There is nothing to run", "the prompt is empty", "Type a prompt, such as \"What is a llama?\""};
    if (request.prompt.empty()) return empty;
    constexpr size_t kUsualBytes = 16;   // beyond this many per token of context it is worth asking before tokenizing megabytes
    const auto limit = static_cast<size_t>(n_ctx);
    if (request.prompt.size() / kUsualBytes > limit) {
        const size_t least = least_tokens(tokenizer, request.prompt.size());
        if (least > limit) return too_long(fmt::format("at least {}", least), n_ctx);
    }
    const bool chat = request.mode == PromptMode::kChat;
    const ChatFormat& format = chat ? detect_chat_format(model.chat_template) : raw_chat_format();
    PromptTokens out{.template_name = format.name};
    if (format.is_raw) {
        tokenizer.encode(request.prompt, SpecialTokens::kAsText, out.ids);
        if (out.ids.empty()) return empty;
        tokenizer.add_bos(out.ids);
    } else {
        out.ids = render_chat(format, model.chat_template, tokenizer, {{.role = "user", .text = request.prompt}});
    }
    if (out.ids.size() > limit) return too_long(fmt::format("{}", out.ids.size()), n_ctx);
    return out;
}

}  // namespace gs
