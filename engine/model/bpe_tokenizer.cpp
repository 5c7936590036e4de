#include "engine/model/bpe_tokenizer.h"

#include <queue>

#include "engine/model/bpe_alphabet.h"
#include "engine/model/tokenizer_utf8.h"

namespace gs {

namespace {

constexpr uint64_t pair_key(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }

// Longer runs are cut here: positions are 32 bits, and memory stays bounded (about 60 bytes for each byte of a run). Only an unbroken
// run of this length is merged differently from other programs.
constexpr size_t kMaxRunBytes = size_t(16) << 20;

struct Candidate {
    int32_t rank, left;              // position of the left symbol
    int32_t left_symbol, right_symbol;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

}  // namespace

/// Storage of merge_run, kept between runs.
struct BpeTokenizer::Work {
    struct Node {
        Symbol symbol;               // -1 once merged into its left neighbour
        int32_t previous, next;      // -1 = none
    };
    std::vector<Node> nodes;
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
};

BpeTokenizer::BpeTokenizer(std::shared_ptr<const TokenVocabulary> vocabulary)
    : Tokenizer(std::move(vocabulary)), m_row(*find_pre_tokenizer(m_vocabulary->pre)), m_pre_tokenizer(m_row) {
    for (int byte = 0; byte < 256; ++byte) m_byte_symbols[size_t(byte)] = intern(BpeAlphabet::get().character(uint8_t(byte)));
}

Result<std::unique_ptr<Tokenizer>> BpeTokenizer::create(std::shared_ptr<const TokenVocabulary> vocabulary, const GgufFile& file,
                                                        std::vector<std::string>& warnings) {
    constexpr const char* kKey = "tokenizer.ggml.merges";
    Result<std::vector<std::string_view>> merges = file.get_string_array(kKey);
    if (!merges) {
        if (!file.has(kKey)) return merges.error();
        return bad_tokenizer("tokenizer.ggml.merges is not an array of strings");
    }
    if (merges->size() > size_t(1) << 30) return bad_tokenizer("tokenizer.ggml.merges has more than 2^30 entries");
    std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(vocabulary)));
    tokenizer->load_merges(*merges, warnings);
    tokenizer->warn_of_missing_bytes(warnings);
    return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

void BpeTokenizer::load_merges(const std::vector<std::string_view>& merges, std::vector<std::string>& warnings) {
    m_merges.reserve(merges.size());
    int32_t rank = 0;
    size_t n_ignored = 0;
    for (std::string_view merge : merges) {
        size_t space = merge.find(' ', 1);
        bool is_usable = space != std::string_view::npos && space + 1 < merge.size() && merge.size() <= 2 * TokenVocabulary::kMaxTokenBytes;
        if (is_usable) {
            std::string left(merge.substr(0, space)), right(merge.substr(space + 1));
            m_merges.try_emplace(pair_key(intern(left), intern(right)), Merge{rank, intern(left + right)});
            std::string left_bytes = BpeAlphabet::get().unmapped(left), right_bytes = BpeAlphabet::get().unmapped(right);
            m_joins.set(size_t(uint8_t(left_bytes.back())) << 8 | uint8_t(right_bytes.front()));
        }
        n_ignored += !is_usable;
        ++rank;
    }
    if (n_ignored > 0) {
        warnings.push_back(std::to_string(n_ignored) + " of " + std::to_string(merges.size()) +
                           " merges of the vocabulary are not two texts with a space between and were ignored");
    }
}

// Well-made vocabularies, the bundled model's among them, lack a few control characters and bytes that texts hardly have. That is
// no news.
void BpeTokenizer::warn_of_missing_bytes(std::vector<std::string>& warnings) const {
    int n_missing = 0;
    for (int byte = 0; byte < 256; ++byte) {
        bool is_control = (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
        bool is_unused = byte == 0xC0 || byte == 0xC1 || byte > 0xF0;   // from 0xF1: planes without characters but tags and private use
        n_missing += m_byte_symbols[size_t(byte)] >= n_tokens() && !is_control && !is_unused;
    }
    if (n_missing == 0) return;
    warnings.push_back(std::to_string(n_missing) + " bytes that text can have are missing in the vocabulary; where text needs one, it is "
                       "dropped");
}

BpeTokenizer::Symbol BpeTokenizer::intern(std::string_view text) {
    int32_t id = m_vocabulary->find_plain(text);
    if (id >= 0) return id;
    auto [it, is_new] = m_extra_symbols.try_emplace(std::string(text), n_tokens() + int32_t(m_extra_texts.size()));
    if (is_new) m_extra_texts.push_back(it->first);   // keys of an unordered_map do not move
    return it->second;
}

std::string_view BpeTokenizer::text_of(Symbol symbol) const {
    return symbol < n_tokens() ? std::string_view(m_vocabulary->texts[size_t(symbol)]) : m_extra_texts[size_t(symbol - n_tokens())];
}

void BpeTokenizer::encode_raw(std::string_view text, bool follows_special, std::vector<int32_t>& ids) const {
    std::string readable;
    if (m_vocabulary->add_space_prefix && follows_special) readable = " ";
    readable += is_readable_utf8(text) ? std::string(text) : repaired_utf8(text);
    Work work;
    m_pre_tokenizer.split(readable, [&](std::string_view piece) {
        if (m_row.ignores_merges) {
            // Longer than any token: not worth a copy.
            int32_t id = piece.size() <= TokenVocabulary::kMaxTokenBytes ? m_vocabulary->find_plain(BpeAlphabet::get().mapped(piece)) : -1;
            if (id >= 0) {
                ids.push_back(id);
                return;
            }
        }
        // A piece can be as long as the text. Where no merge can reach across, it is cut, so that most runs are short.
        size_t begin = 0;
        for (size_t at = 1; at <= piece.size(); ++at) {
            bool joins = at < piece.size() && m_joins.test(size_t(uint8_t(piece[at - 1])) << 8 | uint8_t(piece[at]));
            if (joins && at - begin < kMaxRunBytes) continue;
            merge_run(piece.substr(begin, at - begin), work, ids);
            begin = at;
        }
    });
}

void BpeTokenizer::propose(Work& work, int32_t left) const {
    if (left < 0) return;
    const Work::Node& node = work.nodes[size_t(left)];
    if (node.next < 0) return;
    Symbol right_symbol = work.nodes[size_t(node.next)].symbol;
    auto merge = m_merges.find(pair_key(node.symbol, right_symbol));
    if (merge != m_merges.end()) work.queue.push({merge->second.rank, left, node.symbol, right_symbol});
}

void BpeTokenizer::merge_run(std::string_view bytes, Work& work, std::vector<int32_t>& ids) const {
    int32_t n = int32_t(bytes.size());
    work.nodes.resize(bytes.size());
    for (int32_t i = 0; i < n; ++i) work.nodes[size_t(i)] = {m_byte_symbols[uint8_t(bytes[size_t(i)])], i - 1, i + 1 < n ? i + 1 : -1};
    for (int32_t i = 0; i + 1 < n; ++i) propose(work, i);
    while (!work.queue.empty()) {
        Candidate best = work.queue.top();
        work.queue.pop();
        Work::Node& left = work.nodes[size_t(best.left)];
        if (left.symbol != best.left_symbol || left.next < 0) continue;
        Work::Node& right = work.nodes[size_t(left.next)];
        if (right.symbol != best.right_symbol) continue;
        left.symbol = m_merges.find(pair_key(best.left_symbol, best.right_symbol))->second.result;
        right.symbol = -1;
        left.next = right.next;
        if (left.next >= 0) work.nodes[size_t(left.next)].previous = best.left;
        propose(work, left.previous);
        propose(work, best.left);
    }
    for (int32_t i = 0; i >= 0 && i < n; i = work.nodes[size_t(i)].next) emit(work.nodes[size_t(i)].symbol, ids);
}

void BpeTokenizer::emit(Symbol symbol, std::vector<int32_t>& ids) const {
    if (symbol < n_tokens()) {
        ids.push_back(symbol);
        return;
    }
    for (char byte : BpeAlphabet::get().unmapped(text_of(symbol))) {
        Symbol single = m_byte_symbols[uint8_t(byte)];
        if (single < n_tokens()) ids.push_back(single);
    }
}

std::string BpeTokenizer::piece(int32_t id, bool show_special) const {
    if (id < 0 || id >= n_tokens()) return {};
    const std::string& text = m_vocabulary->texts[size_t(id)];
    if (m_vocabulary->is_special(id)) return show_special ? text : std::string();
    return kind(id) == TokenKind::kUserDefined || kind(id) == TokenKind::kUnused ? text : BpeAlphabet::get().unmapped(text);
}

}  // namespace gs
