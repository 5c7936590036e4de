// The vocabulary of a GGUF file, checked (spec/gguf.md R25–R27) and indexed; what both tokenizers share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/core/result.h"
#include "engine/model/gguf.h"
#include "engine/model/tokenizer.h"

namespace gs {

Error bad_tokenizer(std::string why);

struct TokenVocabulary {
    static constexpr size_t kMaxTokenBytes = 64 * 1024;    ///< R27

    std::string model;                                     ///< "gpt2" or "llama"
    std::string pre;                                       ///< pre-tokenizer in use
    std::vector<std::string> texts;                        ///< by id
    std::vector<TokenKind> kinds;
    std::vector<float> scores;                             ///< SPM only
    std::vector<uint8_t> is_end;                           ///< end-of-generation set
    std::vector<uint8_t> strips_right;                     ///< swallows the white space behind it (section 2, rule 4)
    std::unordered_map<std::string_view, int32_t> by_text;  ///< views into texts; of duplicates the last
    int32_t bos = -1, eos = -1, unknown = -1;   ///< -1 = none
    bool add_bos = false, add_eos = false, add_space_prefix = false;

    /// Everything but merges. Defaults of BOS flags come from the model kind and the pre-tokenizer's row.
    static Result<std::shared_ptr<TokenVocabulary>> load(const GgufFile& file, std::vector<std::string>& warnings,
                                                         std::string_view pre_override);

    int32_t n_tokens() const { return int32_t(texts.size()); }
    int32_t find(std::string_view text) const {
        auto it = by_text.find(text);
        return it == by_text.end() ? -1 : it->second;
    }
    /// Found by the special-token partition only, never by merging: otherwise typed text could become a control token.
    bool is_special(int32_t id) const { return kinds[size_t(id)] == TokenKind::kControl || kinds[size_t(id)] == TokenKind::kUnknown; }
    /// As find, but not for special tokens.
    int32_t find_plain(std::string_view text) const {
        int32_t id = find(text);
        return id >= 0 && is_special(id) ? -1 : id;
    }
};

}  // namespace gs
