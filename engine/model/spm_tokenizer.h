// SentencePiece-style BPE by scores with byte fallback (tokenizers.md section 3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engine/model/tokenizer_vocabulary.h"

namespace gs {

class SpmTokenizer final : public Tokenizer {
public:
    static std::unique_ptr<Tokenizer> create(std::shared_ptr<const TokenVocabulary> vocabulary);
    std::string piece(int32_t id, bool show_special) const override;

protected:
    void encode_raw(std::string_view text, bool follows_special, std::vector<int32_t>& ids) const override;

private:
    struct Work;

    explicit SpmTokenizer(std::shared_ptr<const TokenVocabulary> vocabulary);
    void load_joins();
    void load_bytes();
    void merge_run(std::string_view text, Work& work, std::vector<int32_t>& ids) const;
    void propose(Work& work, std::string_view text, int32_t left) const;
    void emit(std::string_view symbol, std::vector<int32_t>& ids) const;

    std::unordered_set<uint64_t> m_joins;          ///< pairs of characters that are neighbours in some token
    std::array<int32_t, 256> m_byte_ids{};         ///< -1 = none
    size_t m_longest_bytes = 0;
};

}  // namespace gs
