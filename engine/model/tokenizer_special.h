// Cuts text at special tokens before anything is merged (tokenizers.md section 2).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/model/tokenizer.h"

namespace gs {

struct TokenVocabulary;

class SpecialSplitter {
public:
    struct Fragment {
        std::string_view text;   ///< raw text, or
        int32_t id = -1;         ///< a special token
    };

    /// The vocabulary must outlive the splitter.
    explicit SpecialSplitter(const TokenVocabulary& vocabulary);

    /// Candidates are tried longest first over the whole text. kAsText: only user-defined tokens are candidates.
    std::vector<Fragment> split(std::string_view text, SpecialTokens special) const;

private:
    std::vector<int32_t> occurring(std::string_view text, SpecialTokens special) const;
    std::vector<Fragment> cut_at(int32_t id, const std::vector<Fragment>& fragments) const;
    void add_to_trie(int32_t rank);

    const TokenVocabulary& m_vocabulary;
    std::vector<int32_t> m_candidates;                        ///< longest first
    std::unordered_map<uint64_t, int32_t> m_edges;            ///< node << 8 | byte → node; node 0 is the root
    std::vector<std::vector<int32_t>> m_ranks;                ///< by node: candidates that end there, as indices of m_candidates
    bool m_starts[256] = {};
};

}  // namespace gs
