// Pre-tokenizers: where a byte-level BPE may not merge. A name in the file selects a list of our own expressions (tokenizers.md
// section 5; nothing of the file is ever compiled, gguf.md R28); the first cuts the text, each next one cuts the pieces of the one before.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace gs {

/// One row of the table.
struct PreTokenizerRow {
    std::string_view name;                          ///< value of tokenizer.ggml.pre
    std::span<const char* const> expressions;       ///< PCRE2 syntax; \s and \S mean Unicode White_Space
    bool ignores_merges;                            ///< a piece that is a token as a whole is that token (section 4, step 3)
    bool adds_bos;                                  ///< default of tokenizer.ggml.add_bos_token
};

/// nullptr for names that are not in the table.
const PreTokenizerRow* find_pre_tokenizer(std::string_view name);
std::span<const PreTokenizerRow> pre_tokenizer_rows();

class PreTokenizer {
public:
    using Sink = std::function<void(std::string_view piece)>;

    explicit PreTokenizer(const PreTokenizerRow& row);
    ~PreTokenizer();
    PreTokenizer(const PreTokenizer&) = delete;
    PreTokenizer& operator=(const PreTokenizer&) = delete;

    /// Calls `sink` with the non-empty pieces of `text` in order; together they are the whole text. `text` must be well-formed UTF-8
    /// (surrogates allowed). Linear in the length of the text. Thread-safe.
    void split(std::string_view text, const Sink& sink) const;

private:
    struct Expression;
    struct Scratch;
    void split_from(size_t stage, std::string_view text, Scratch& scratch, const Sink& sink) const;
    std::vector<Expression> m_expressions;
};

}  // namespace gs
