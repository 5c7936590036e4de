// Text to token ids and back, from the vocabulary stored in the GGUF file (spec/tokenizers.md). Byte-level BPE ("gpt2") and SPM ("llama").
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"

namespace gs {

class GgufFile;
struct TokenVocabulary;
class SpecialSplitter;

enum class SpecialTokens : uint8_t { kAsText, kParse };   ///< kAsText for anything a user typed: "<|im_end|>" stays text
enum class TokenKind : uint8_t { kUndefined, kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

/// A stretch of text with its own rule for special tokens; see Tokenizer::encode_parts.
struct TextPart {
    std::string_view text;
    SpecialTokens special = SpecialTokens::kAsText;
};

class Tokenizer {
public:
    /// pre_override: pre-tokenizer name instead of the file's. Warnings (missing or unknown pre-tokenizer, …) are appended.
    /// Error codes "bad_tokenizer", "missing_key", kind kInput.
    static Result<std::unique_ptr<Tokenizer>> create(const GgufFile& file, std::vector<std::string>& warnings,
                                                     std::string_view pre_override = {});
    virtual ~Tokenizer();

    /// Appends the ids of `text` (any bytes; invalid UTF-8 becomes U+FFFD for BPE, byte tokens for SPM). No BOS.
    void encode(std::string_view text, SpecialTokens special, std::vector<int32_t>& ids) const;
    std::vector<int32_t> encode(std::string_view text, SpecialTokens special) const;
    /// As if the parts were one text (tokens may span a border), but special tokens are only found inside parts that parse them.
    std::vector<int32_t> encode_parts(std::span<const TextPart> parts) const;
    /// Adds BOS in front and EOS behind as the file asks; never doubles a BOS.
    void add_special(std::vector<int32_t>& ids) const;
    /// Only the BOS half of add_special: a prompt that the model is to continue must not end with EOS.
    void add_bos(std::vector<int32_t>& ids) const;

    /// Exact bytes of one token; control tokens give their name only when `show_special`. Empty for ids out of range.
    virtual std::string piece(int32_t id, bool show_special) const = 0;
    /// Whole text; drops the one leading space SPM adds.
    std::string decode(std::span<const int32_t> ids, bool show_special) const;

    int n_tokens() const;
    TokenKind kind(int32_t id) const;
    bool is_end(int32_t id) const;                    ///< end-of-generation set (tokenizers.md section 7)
    int32_t bos() const;                              ///< -1 = none
    int32_t eos() const;
    int32_t find(std::string_view token_text) const;  ///< id of the exact token text as stored, or -1
    std::string model() const;                        ///< "gpt2" or "llama"
    std::string pre() const;                          ///< pre-tokenizer in use

protected:
    explicit Tokenizer(std::shared_ptr<const TokenVocabulary> vocabulary);
    /// Ids of text without special tokens. follows_special: first in the text, or directly behind a special token.
    virtual void encode_raw(std::string_view text, bool follows_special, std::vector<int32_t>& ids) const = 0;

    std::shared_ptr<const TokenVocabulary> m_vocabulary;

private:
    std::unique_ptr<const SpecialSplitter> m_splitter;
};

}  // namespace gs
