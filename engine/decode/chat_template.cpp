#include "engine/decode/chat_template.h"

#include <optional>
#include <string>

#include "engine/decode/chat_formats.h"

namespace gs {

namespace {

// The source is untrusted and can have 64 MB. Published ones have up to 20 KB, their default system prompts a few hundred bytes.
constexpr size_t kLongestSource = 1 << 20, kLongestSystemText = 8 << 10;

bool contains(std::string_view text, const char* what) { return text.find(what) != std::string_view::npos; }

bool fits(const ChatFormatRow& row, std::string_view source) {
    for (const char* mark : row.marks) {
        if (mark && !contains(source, mark)) return false;
    }
    return true;
}

/// Templates write line ends inside their literals as such or as "\n"; this makes them all alike.
std::string with_plain_line_ends(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
        bool is_escape = source.substr(i, 2) == "\\n";
        out += is_escape ? '\n' : source[i];
        i += is_escape;
    }
    return out;
}

const ChatFormatRow* row_of(const ChatFormat& format) {
    for (const ChatFormatRow& row : chat_format_rows()) {
        if (std::string_view(row.format.name) == format.name) return &row;
    }
    return nullptr;
}

std::string_view trimmed(std::string_view text) {
    constexpr const char* kSpace = " \t\r\n\v\f";
    size_t begin = text.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// Jinja string escapes, as far as prompts use them; line ends are done before.
std::string unescaped(std::string_view literal) {
    std::string out;
    for (size_t i = 0; i < literal.size(); ++i) {
        if (literal[i] != '\\' || i + 1 == literal.size()) {
            out += literal[i];
            continue;
        }
        char c = literal[++i];
        out += c == 't' ? '\t' : c;
    }
    return out;
}

/// The text of a system turn that a ChatML template writes out as a literal, for example
/// {{ '<|im_start|>system\nYou are …<|im_end|>\n' }}. A turn filled from the messages ends its literal behind "system\n".
std::optional<std::string> default_system_text(std::string_view jinja_source) {
    constexpr std::string_view kOpen = "<|im_start|>system\n", kClose = "<|im_end|>";
    if (jinja_source.size() > kLongestSource) return std::nullopt;
    std::string source = with_plain_line_ends(jinja_source);
    for (size_t at = source.find(kOpen); at != std::string::npos; at = source.find(kOpen, at + 1)) {
        std::string_view behind = std::string_view(source).substr(at + kOpen.size(), kLongestSystemText + kClose.size());
        size_t close = behind.find(kClose);
        if (close == std::string_view::npos) continue;
        std::string_view literal = behind.substr(0, close);
        char quote = at > 0 ? source[at - 1] : '\0';
        bool is_quoted = quote == '\'' || quote == '"';
        bool is_one_literal = !literal.empty();   // no unescaped quote, no Jinja expression in it
        for (size_t i = 0; i < literal.size(); ++i) {
            bool ends_here = is_quoted ? literal[i] == quote && (i == 0 || literal[i - 1] != '\\') : literal.substr(i, 2) == "{{";
            is_one_literal = is_one_literal && !ends_here;
        }
        if (is_one_literal) return is_quoted ? unescaped(literal) : std::string(literal);
    }
    return std::nullopt;
}

/// Collects parts: what the format writes may name control tokens, what a turn says may not. Views must outlive the writer.
class PartWriter {
public:
    void mark(std::string_view text) { add(text, SpecialTokens::kParse); }
    void say(std::string_view text) { add(text, SpecialTokens::kAsText); }
    const std::vector<TextPart>& parts() const { return m_parts; }

private:
    void add(std::string_view text, SpecialTokens special) {
        if (!text.empty()) m_parts.push_back({text, special});
    }
    std::vector<TextPart> m_parts;
};

void write_turns(const ChatFormatRow& row, const std::vector<ChatTurn>& turns, PartWriter& out) {
    auto write = [&](const ChatFormatRow::Turn& marks, std::string_view text) {
        out.mark(marks.open);
        out.say(row.trims ? trimmed(text) : text);
        out.mark(marks.close);
    };
    std::vector<const ChatTurn*> waiting;   // system turns that go into the next user turn
    auto write_user = [&](std::string_view text) {
        out.mark(row.user.open);
        for (const ChatTurn* system : waiting) write(row.system, system->text);
        waiting.clear();
        out.say(row.trims ? trimmed(text) : text);
        out.mark(row.user.close);
    };
    for (const ChatTurn& turn : turns) {
        if (turn.role == "system" && row.system_goes_into_user) waiting.push_back(&turn);
        else if (turn.role == "system") write(row.system, turn.text);
        else if (turn.role == "assistant") write(row.assistant, turn.text);
        else write_user(turn.text);
    }
    if (!waiting.empty()) write_user({});
}

std::vector<int32_t> render_raw(const Tokenizer& tokenizer, const std::vector<ChatTurn>& turns) {
    PartWriter out;
    for (const ChatTurn& turn : turns) {
        if (turn.role == "user") out.say(turn.text);
    }
    return tokenizer.encode_parts(out.parts());
}

}  // namespace

const ChatFormat& raw_chat_format() {
    static constexpr ChatFormat kRaw{"raw", true};
    return kRaw;
}

const ChatFormat& detect_chat_format(std::string_view jinja_source) {
    if (jinja_source.empty() || jinja_source.size() > kLongestSource) return raw_chat_format();
    std::string source = with_plain_line_ends(jinja_source);
    for (const ChatFormatRow& row : chat_format_rows()) {
        if (fits(row, source)) return row.format;
    }
    return raw_chat_format();
}

std::vector<int32_t> render_chat(const ChatFormat& format, std::string_view jinja_source, const Tokenizer& tokenizer,
                                 const std::vector<ChatTurn>& turns) {
    const ChatFormatRow* row = format.is_raw ? nullptr : row_of(format);
    std::vector<int32_t> ids;
    if (row == nullptr) {
        ids = render_raw(tokenizer, turns);
    } else {
        PartWriter out;
        out.mark(row->prefix);
        bool has_system = !turns.empty() && turns.front().role == "system";
        std::optional<std::string> system_text = has_system ? std::nullopt : default_system_text(jinja_source);
        if (system_text) {
            out.mark(row->system.open);
            out.say(*system_text);
            out.mark(row->system.close);
        }
        write_turns(*row, turns, out);
        out.mark(row->generation);
        ids = tokenizer.encode_parts(out.parts());
    }
    tokenizer.add_bos(ids);
    return ids;
}

}  // namespace gs
