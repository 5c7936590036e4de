// Fuzz target: chat templates. The source is whatever a file says, the turns are whatever a user types.
//
// Input: a byte that chooses the vocabulary and, when the source is not to decide, the format; the source; then turns, a byte for the role and a
// text each. Sections end with a NUL.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/decode/chat_formats.h"
#include "engine/decode/chat_template.h"
#include "engine/model/gguf.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/model/gguf_builder.h"

namespace gs {
namespace {

constexpr size_t kMaxTurns = 16;

/// Byte-level or SentencePiece, with every mark of every format as a control token: what is typed must not become one.
std::unique_ptr<Tokenizer> make_tokenizer(bool is_bpe) {
    std::vector<std::string> tokens;
    std::vector<int32_t> kinds;
    const auto add = [&](std::string text, int32_t kind) {
        if (text.empty() || std::find(tokens.begin(), tokens.end(), text) != tokens.end()) return;
        tokens.push_back(std::move(text));
        kinds.push_back(kind);
    };
    add("<unk>", 2);
    for (const char* text : {"<s>", "</s>"}) add(text, 3);
    for (const ChatFormatRow& row : chat_format_rows()) {
        for (const char* mark : row.marks)
            if (mark) add(mark, 3);
        for (const ChatFormatRow::Turn& turn : {row.system, row.user, row.assistant}) {
            for (std::string_view text : {turn.open, turn.close}) {
                while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
                if (text.starts_with("<")) add(std::string(text), 3);
            }
        }
    }
    for (int c = '!'; c <= '~'; ++c) add(std::string(1, static_cast<char>(c)), 1);
    for (const char* text : {"\xC4\xA0", "\xC4\x8A", "\xE2\x96\x81"}) add(text, 1);   // space and line end of one kind, space of the other
    test::GgufBuilder builder;
    builder.text("tokenizer.ggml.model", is_bpe ? "gpt2" : "llama").text("tokenizer.ggml.pre", "llama-bpe");
    builder.texts("tokenizer.ggml.tokens", tokens).texts("tokenizer.ggml.merges", {"< |", "| >", "i m"});
    builder.array("tokenizer.ggml.token_type", GgufValueType::kI32, kinds).u32("tokenizer.ggml.unknown_token_id", 0);
    builder.array("tokenizer.ggml.scores", GgufValueType::kF32, std::vector<float>(tokens.size()));
    const test::Bytes bytes = builder.build();
    const Result<GgufFile> file = GgufFile::parse(bytes);
    std::vector<std::string> warnings;
    Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*file, warnings);
    GS_CHECK(tokenizer, "the vocabulary does not load");
    return std::move(*tokenizer);
}

std::vector<int32_t> control_tokens(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
    std::vector<int32_t> controls;
    for (const int32_t id : ids) {
        GS_CHECK(id >= 0 && id < tokenizer.n_tokens(), "a token outside the vocabulary");
        if (tokenizer.kind(id) == TokenKind::kControl) controls.push_back(id);
    }
    return controls;
}

}  // namespace
}  // namespace gs

GS_FUZZ_TARGET(chat) {
    using namespace gs;
    static const std::unique_ptr<Tokenizer> tokenizers[] = {make_tokenizer(false), make_tokenizer(true)};
    test::FuzzInput in(data, size);
    const uint8_t choice = in.byte();
    const Tokenizer& tokenizer = *tokenizers[choice & 1];
    const std::string source(in.until('\0'));
    std::vector<ChatTurn> turns, silent;
    constexpr const char* kRoles[] = {"system", "user", "assistant", "tool"};
    while (!in.empty() && turns.size() < kMaxTurns) {
        const char* role = kRoles[in.byte() % 4];
        turns.push_back({role, std::string(in.until('\0'))});
        silent.push_back({role, ""});
    }
    const std::span<const ChatFormatRow> rows = chat_format_rows();
    const size_t row = choice >> 1;
    const ChatFormat& format = row < rows.size() ? rows[row].format : detect_chat_format(source);
    GS_CHECK(format.name != nullptr, "a format without a name");
    // Nothing that a turn says may steer the model: the control tokens are those of the same turns without a word in them.
    const std::vector<int32_t> said = control_tokens(tokenizer, render_chat(format, source, tokenizer, turns));
    const std::vector<int32_t> marks = control_tokens(tokenizer, render_chat(format, source, tokenizer, silent));
    GS_CHECK(said == marks, "a turn wrote a control token");
    return 0;
}
