#include "engine/model/tokenizer_special.h"

#include <algorithm>

#include "engine/model/tokenizer_vocabulary.h"

namespace gs {

namespace {

bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

SpecialSplitter::SpecialSplitter(const TokenVocabulary& vocabulary) : m_vocabulary(vocabulary), m_ranks(1) {
    for (int32_t id = 0; id < vocabulary.n_tokens(); ++id) {
        bool is_candidate = vocabulary.is_special(id) || vocabulary.kinds[size_t(id)] == TokenKind::kUserDefined;
        if (is_candidate && vocabulary.find(vocabulary.texts[size_t(id)]) == id) m_candidates.push_back(id);
    }
    std::stable_sort(m_candidates.begin(), m_candidates.end(), [&](int32_t a, int32_t b) {
        return vocabulary.texts[size_t(a)].size() > vocabulary.texts[size_t(b)].size();
    });
    for (size_t rank = 0; rank < m_candidates.size(); ++rank) add_to_trie(int32_t(rank));
}

void SpecialSplitter::add_to_trie(int32_t rank) {
    const std::string& text = m_vocabulary.texts[size_t(m_candidates[size_t(rank)])];
    m_starts[uint8_t(text[0])] = true;
    int32_t node = 0;
    for (char c : text) {
        auto [edge, is_new] = m_edges.try_emplace(uint64_t(node) << 8 | uint8_t(c), int32_t(m_ranks.size()));
        if (is_new) m_ranks.emplace_back();
        node = edge->second;
    }
    m_ranks[size_t(node)].push_back(rank);
}

// Searching a long text for each of a thousand candidates is slow, and one automaton for all does not have the semantics of "longest first
// over the whole text". So one pass finds which candidates occur at all, and only those are searched for.
std::vector<int32_t> SpecialSplitter::occurring(std::string_view text, SpecialTokens special) const {
    std::vector<uint8_t> occurs(m_candidates.size(), 0);
    for (size_t begin = 0; begin < text.size(); ++begin) {
        if (!m_starts[uint8_t(text[begin])]) continue;
        int32_t node = 0;
        for (size_t at = begin; at < text.size(); ++at) {
            auto edge = m_edges.find(uint64_t(node) << 8 | uint8_t(text[at]));
            if (edge == m_edges.end()) break;
            node = edge->second;
            for (int32_t rank : m_ranks[size_t(node)]) occurs[size_t(rank)] = 1;
        }
    }
    std::vector<int32_t> ids;
    for (size_t rank = 0; rank < m_candidates.size(); ++rank) {
        if (!occurs[rank]) continue;
        if (special == SpecialTokens::kAsText && m_vocabulary.is_special(m_candidates[rank])) continue;
        ids.push_back(m_candidates[rank]);
    }
    return ids;
}

std::vector<SpecialSplitter::Fragment> SpecialSplitter::cut_at(int32_t id, const std::vector<Fragment>& fragments) const {
    const std::string& token = m_vocabulary.texts[size_t(id)];
    std::vector<Fragment> out;
    for (const Fragment& fragment : fragments) {
        std::string_view rest = fragment.text;
        for (size_t at; fragment.id < 0 && (at = rest.find(token)) != std::string_view::npos;) {
            if (at > 0) out.push_back({rest.substr(0, at), -1});
            out.push_back({{}, id});
            rest.remove_prefix(at + token.size());
            while (m_vocabulary.strips_right[size_t(id)] && !rest.empty() && is_ascii_space(rest[0])) rest.remove_prefix(1);
        }
        if (fragment.id >= 0 || !rest.empty()) out.push_back({rest, fragment.id});
    }
    return out;
}

std::vector<SpecialSplitter::Fragment> SpecialSplitter::split(std::string_view text, SpecialTokens special) const {
    std::vector<Fragment> fragments;
    if (text.empty()) return fragments;
    fragments.push_back({text, -1});
    for (int32_t id : occurring(text, special)) fragments = cut_at(id, fragments);
    return fragments;
}

}  // namespace gs
