#include "engine/model/spm_tokenizer.h"

#include <algorithm>
#include <cstring>
#include <queue>

namespace gs {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";      // U+2581
// Longer runs are cut here: positions are 32 bits, and memory stays bounded.
constexpr size_t kMaxRunBytes = size_t(16) << 20;

/// Length from the lead byte alone, whatever follows (section 3, step 3); a truncated tail is one symbol.
size_t symbol_bytes(std::string_view text, size_t at) {
    uint8_t lead = uint8_t(text[at]);
    size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return std::min(n, text.size() - at);
}

/// The 1 to 4 bytes of a character as a number; equal for equal bytes only (no character begins with a NUL but NUL itself).
uint32_t packed(std::string_view character) {
    uint32_t value = 0;
    std::memcpy(&value, character.data(), character.size());
    return value;
}

uint64_t pair_key(std::string_view left, std::string_view right) { return uint64_t(packed(left)) << 32 | packed(right); }

/// Value of a byte token's text "<0xBB>", or -1.
int byte_value(std::string_view text) {
    if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
    auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
    int high = digit(text[3]), low = digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

struct Candidate {
    float score;
    int32_t left, n_bytes;                                   // left symbol and length of the whole
    bool operator<(const Candidate& other) const { return score != other.score ? score < other.score : left > other.left; }
};

}  // namespace

/// Storage of merge_run, kept between runs.
struct SpmTokenizer::Work {
    struct Node {
        int32_t begin, n_bytes;                              // n_bytes 0 once merged into its left neighbour
        int32_t previous, next;                              // -1 = none
    };
    std::vector<Node> nodes;
    std::priority_queue<Candidate> queue;
};

std::unique_ptr<Tokenizer> SpmTokenizer::create(std::shared_ptr<const TokenVocabulary> vocabulary) {
    return std::unique_ptr<Tokenizer>(new SpmTokenizer(std::move(vocabulary)));
}

SpmTokenizer::SpmTokenizer(std::shared_ptr<const TokenVocabulary> vocabulary) : Tokenizer(std::move(vocabulary)) {
    load_joins();
    load_bytes();
}

void SpmTokenizer::load_joins() {
    for (const std::string& text : m_vocabulary->texts) {
        m_longest_bytes = std::max(m_longest_bytes, text.size());
        std::string_view all = text;
        for (size_t at = 0, n = 0, next_n = 0; at < all.size(); at += n) {
            n = symbol_bytes(all, at);
            if (at + n >= all.size()) break;
            next_n = symbol_bytes(all, at + n);
            m_joins.insert(pair_key(all.substr(at, n), all.substr(at + n, next_n)));
        }
    }
}

void SpmTokenizer::load_bytes() {
    for (int byte = 0; byte < 256; ++byte) {
        constexpr char kDigits[] = "0123456789ABCDEF";
        const char text[] = {'<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>', char(byte)};
        int32_t id = m_vocabulary->find(std::string_view(text, 6));
        m_byte_ids[size_t(byte)] = id >= 0 ? id : m_vocabulary->find_plain(std::string_view(text + 6, 1));
    }
}

void SpmTokenizer::encode_raw(std::string_view text, bool follows_special, std::vector<int32_t>& ids) const {
    std::string marked;
    marked.reserve(text.size() + text.size() / 4 + kSpaceMark.size());
    if (m_vocabulary->add_space_prefix && follows_special) marked += kSpaceMark;
    for (char c : text) {
        if (c == ' ') marked += kSpaceMark;
        else marked += c;
    }
    // Between two characters that are neighbours in no token nothing is ever merged: cutting there changes nothing and keeps runs short.
    Work work;
    std::string_view all = marked;
    size_t begin = 0;
    for (size_t at = 0; at < all.size();) {
        size_t n = symbol_bytes(all, at), end = at + n;
        bool joins = end < all.size() && m_joins.contains(pair_key(all.substr(at, n), all.substr(end, symbol_bytes(all, end))));
        at = end;
        if (joins && end - begin < kMaxRunBytes) continue;
        merge_run(all.substr(begin, end - begin), work, ids);
        begin = end;
    }
}

void SpmTokenizer::propose(Work& work, std::string_view text, int32_t left) const {
    if (left < 0) return;
    const Work::Node& node = work.nodes[size_t(left)];
    if (node.next < 0) return;
    int32_t n_bytes = node.n_bytes + work.nodes[size_t(node.next)].n_bytes;
    if (size_t(n_bytes) > m_longest_bytes) return;
    int32_t id = m_vocabulary->find_plain(text.substr(size_t(node.begin), size_t(n_bytes)));
    if (id >= 0) work.queue.push({m_vocabulary->scores[size_t(id)], left, n_bytes});
}

void SpmTokenizer::merge_run(std::string_view text, Work& work, std::vector<int32_t>& ids) const {
    work.nodes.clear();
    for (size_t at = 0; at < text.size();) {
        size_t n = symbol_bytes(text, at);
        int32_t index = int32_t(work.nodes.size());
        work.nodes.push_back({int32_t(at), int32_t(n), index - 1, index + 1});
        at += n;
    }
    work.nodes.back().next = -1;
    for (int32_t i = 0; i < int32_t(work.nodes.size()); ++i) propose(work, text, i);
    while (!work.queue.empty()) {
        Candidate best = work.queue.top();
        work.queue.pop();
        Work::Node& left = work.nodes[size_t(best.left)];
        if (left.n_bytes == 0 || left.next < 0) continue;
        Work::Node& right = work.nodes[size_t(left.next)];
        if (left.n_bytes + right.n_bytes != best.n_bytes) continue;   // one of the two has grown since
        left.n_bytes = best.n_bytes;
        right.n_bytes = 0;
        left.next = right.next;
        if (left.next >= 0) work.nodes[size_t(left.next)].previous = best.left;
        propose(work, text, left.previous);
        propose(work, text, best.left);
    }
    for (int32_t i = 0; i >= 0; i = work.nodes[size_t(i)].next) {
        emit(text.substr(size_t(work.nodes[size_t(i)].begin), size_t(work.nodes[size_t(i)].n_bytes)), ids);
    }
}

void SpmTokenizer::emit(std::string_view symbol, std::vector<int32_t>& ids) const {
    int32_t id = m_vocabulary->find_plain(symbol);
    if (id >= 0) {
        ids.push_back(id);
        return;
    }
    for (char byte : symbol) {
        id = m_byte_ids[uint8_t(byte)];
        if (id < 0) id = m_vocabulary->unknown;
        if (id >= 0) ids.push_back(id);
    }
}

std::string SpmTokenizer::piece(int32_t id, bool show_special) const {
    if (id < 0 || id >= n_tokens()) return {};
    const std::string& text = m_vocabulary->texts[size_t(id)];
    if (m_vocabulary->is_special(id)) return show_special ? text : std::string();
    if (kind(id) == TokenKind::kUserDefined) return text;
    if (int byte = byte_value(text); kind(id) == TokenKind::kByte && byte >= 0) return std::string(1, char(byte));
    std::string out;
    for (size_t at = 0; at < text.size();) {
        bool is_mark = std::string_view(text).substr(at, kSpaceMark.size()) == kSpaceMark;
        out += is_mark ? ' ' : text[at];
        at += is_mark ? kSpaceMark.size() : 1;
    }
    return out;
}

}  // namespace gs
