#include "engine/model/tokenizer.h"

#include "engine/model/bpe_tokenizer.h"
#include "engine/model/spm_tokenizer.h"
#include "engine/model/tokenizer_special.h"
#include "engine/model/tokenizer_vocabulary.h"

namespace gs {

Tokenizer::Tokenizer(std::shared_ptr<const TokenVocabulary> vocabulary)
    : m_vocabulary(std::move(vocabulary)), m_splitter(std::make_unique<SpecialSplitter>(*m_vocabulary)) {}

Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(const GgufFile& file, std::vector<std::string>& warnings,
                                                     std::string_view pre_override) {
    GS_TRY(std::shared_ptr<TokenVocabulary> vocabulary, TokenVocabulary::load(file, warnings, pre_override));
    if (vocabulary->model == "gpt2") return BpeTokenizer::create(std::move(vocabulary), file, warnings);
    return SpmTokenizer::create(std::move(vocabulary));
}

void Tokenizer::encode(std::string_view text, SpecialTokens special, std::vector<int32_t>& ids) const {
    TextPart part{text, special};
    std::vector<int32_t> more = encode_parts(std::span(&part, 1));
    ids.insert(ids.end(), more.begin(), more.end());
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
    TextPart part{text, special};
    return encode_parts(std::span(&part, 1));
}

std::vector<int32_t> Tokenizer::encode_parts(std::span<const TextPart> parts) const {
    std::vector<int32_t> ids;
    std::string raw;                  // text gathered since the last special token
    bool follows_special = true;
    auto flush = [&] {
        if (raw.empty()) return;
        encode_raw(raw, follows_special, ids);
        follows_special = false;
        raw.clear();
    };
    for (const TextPart& part : parts) {
        for (const SpecialSplitter::Fragment& fragment : m_splitter->split(part.text, part.special)) {
            if (fragment.id < 0) {
                raw += fragment.text;
                continue;
            }
            flush();
            ids.push_back(fragment.id);
            follows_special = true;
        }
    }
    flush();
    return ids;
}

void Tokenizer::add_bos(std::vector<int32_t>& ids) const {
    const TokenVocabulary& v = *m_vocabulary;
    if (v.add_bos && v.bos >= 0 && (ids.empty() || ids.front() != v.bos)) ids.insert(ids.begin(), v.bos);
}

void Tokenizer::add_special(std::vector<int32_t>& ids) const {
    add_bos(ids);
    if (m_vocabulary->add_eos && m_vocabulary->eos >= 0) ids.push_back(m_vocabulary->eos);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool show_special) const {
    std::string text;
    for (int32_t id : ids) text += piece(id, show_special);
    // The space that encoding put there. A shown special token in front means that the space follows it, where llama.cpp leaves it too.
    if (m_vocabulary->model == "llama" && m_vocabulary->add_space_prefix && !text.empty() && text[0] == ' ') text.erase(0, 1);
    return text;
}

int Tokenizer::n_tokens() const { return m_vocabulary->n_tokens(); }

TokenKind Tokenizer::kind(int32_t id) const {
    return id >= 0 && id < n_tokens() ? m_vocabulary->kinds[size_t(id)] : TokenKind::kUndefined;
}

bool Tokenizer::is_end(int32_t id) const { return id >= 0 && id < n_tokens() && m_vocabulary->is_end[size_t(id)]; }
int32_t Tokenizer::bos() const { return m_vocabulary->bos; }
int32_t Tokenizer::eos() const { return m_vocabulary->eos; }
int32_t Tokenizer::find(std::string_view token_text) const { return m_vocabulary->find(token_text); }
std::string Tokenizer::model() const { return m_vocabulary->model; }
std::string Tokenizer::pre() const { return m_vocabulary->pre; }

}  // namespace gs
