// Byte-level BPE (tokenizers.md section 4).
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/model/pre_tokenizer.h"
#include "engine/model/tokenizer_vocabulary.h"

namespace gs {

class BpeTokenizer final : public Tokenizer {
public:
    static Result<std::unique_ptr<Tokenizer>> create(std::shared_ptr<const TokenVocabulary> vocabulary, const GgufFile& file,
                                                     std::vector<std::string>& warnings);
    std::string piece(int32_t id, bool show_special) const override;

protected:
    void encode_raw(std::string_view text, bool follows_special, std::vector<int32_t>& ids) const override;

private:
    /// A symbol is a token id, or n_tokens + i for texts that only occur while merging.
    using Symbol = int32_t;
    struct Merge {
        int32_t rank;
        Symbol result;
    };
    struct Work;

    explicit BpeTokenizer(std::shared_ptr<const TokenVocabulary> vocabulary);
    void load_merges(const std::vector<std::string_view>& merges, std::vector<std::string>& warnings);
    void warn_of_missing_bytes(std::vector<std::string>& warnings) const;
    Symbol intern(std::string_view text);
    std::string_view text_of(Symbol symbol) const;
    void merge_run(std::string_view bytes, Work& work, std::vector<int32_t>& ids) const;
    void propose(Work& work, int32_t left) const;
    void emit(Symbol symbol, std::vector<int32_t>& ids) const;

    const PreTokenizerRow& m_row;
    PreTokenizer m_pre_tokenizer;
    std::unordered_map<uint64_t, Merge> m_merges;              ///< left symbol << 32 | right symbol
    std::unordered_map<std::string, Symbol> m_extra_symbols;
    std::vector<std::string_view> m_extra_texts;               ///< keys of m_extra_symbols
    std::array<Symbol, 256> m_byte_symbols{};
    std::bitset<256 * 256> m_joins;                            ///< byte pairs between which some merge can happen
};

}  // namespace gs
