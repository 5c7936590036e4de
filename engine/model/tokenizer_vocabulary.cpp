#include "engine/model/tokenizer_vocabulary.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "engine/model/pre_tokenizer.h"

namespace gs {

namespace {

// Tokens that end a turn whatever the file says of them (tokenizers.md section 7).
constexpr std::array<std::string_view, 20> kEndTexts = {
    "<|eot_id|>",    "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",         "<end_of_turn>",
    "<|endoftext|>", "</s>",       "<|eom_id|>", "<EOT>",   "_<EOT>",   "[EOT]",     "[EOS]",             "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<｜end▁of▁sentence｜>", "[e~["};
constexpr std::array<const char*, 6> kEndKeys = {"tokenizer.ggml.eos_token_id",     "tokenizer.ggml.eot_token_id",
                                                 "tokenizer.ggml.eom_token_id",     "tokenizer.ggml.fim_pad_token_id",
                                                 "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};

bool flag(const GgufFile& file, const char* key, bool otherwise, std::vector<std::string>& warnings) {
    if (!file.has(key)) return otherwise;
    Result<bool> value = file.get_bool(key);
    if (value) return *value;
    warnings.push_back(std::string(key) + " is not a boolean and was ignored");
    return otherwise;
}

int32_t special_id(const GgufFile& file, const char* key, int32_t n_tokens, std::vector<std::string>& warnings) {
    if (!file.has(key)) return -1;
    Result<uint64_t> value = file.get_uint(key);
    if (value && *value < uint64_t(n_tokens)) return int32_t(*value);
    warnings.push_back(std::string(key) + " is not the id of a token and was ignored");
    return -1;
}

Result<void> load_texts(const GgufFile& file, TokenVocabulary& v) {
    Result<std::vector<std::string_view>> tokens = file.get_string_array("tokenizer.ggml.tokens");
    if (!tokens) {
        if (!file.has("tokenizer.ggml.tokens")) return tokens.error();
        return bad_tokenizer("tokenizer.ggml.tokens is not an array of strings");
    }
    if (tokens->empty()) return bad_tokenizer("tokenizer.ggml.tokens is empty");
    if (tokens->size() > size_t(1) << 30) return bad_tokenizer("tokenizer.ggml.tokens has more than 2^30 entries");
    v.texts.reserve(tokens->size());
    for (std::string_view token : *tokens) {
        if (token.size() > TokenVocabulary::kMaxTokenBytes) {
            return bad_tokenizer("the text of token " + std::to_string(v.texts.size()) + " is " + std::to_string(token.size()) +
                                 " bytes long; 65536 is the limit");
        }
        v.texts.emplace_back(token);
    }
    return {};
}

Result<void> load_kinds(const GgufFile& file, TokenVocabulary& v) {
    v.kinds.assign(v.texts.size(), TokenKind::kNormal);
    if (!file.has("tokenizer.ggml.token_type")) return {};
    Result<std::vector<int64_t>> types = file.get_int_array("tokenizer.ggml.token_type");
    if (!types) return bad_tokenizer("tokenizer.ggml.token_type is not an array of integers");
    if (types->size() < v.texts.size()) {
        return bad_tokenizer("tokenizer.ggml.token_type has " + std::to_string(types->size()) + " entries for " +
                             std::to_string(v.texts.size()) + " tokens");
    }
    for (size_t id = 0; id < v.texts.size(); ++id) {
        int64_t type = (*types)[id];
        v.kinds[id] = type >= 0 && type <= 6 ? TokenKind(type) : TokenKind::kUndefined;
    }
    return {};
}

/// Floating-point numbers, or 32-bit integers as some converters write them. Other integers are a damaged file; the getter takes every
/// width, entries() tells the stored one.
Result<std::vector<float>> read_scores(const GgufFile& file, const char* key) {
    Result<std::vector<float>> floats = file.get_float_array(key);
    if (floats) return floats;
    Result<std::vector<int64_t>> integers = file.get_int_array(key);
    if (!integers) return floats;
    for (const GgufEntry& entry : file.entries()) {
        if (entry.key == key && entry.type.ends_with(" int32")) return std::vector<float>(integers->begin(), integers->end());
    }
    return floats;
}

Result<void> load_scores(const GgufFile& file, TokenVocabulary& v, std::vector<std::string>& warnings) {
    constexpr const char* kKey = "tokenizer.ggml.scores";
    v.scores.assign(v.texts.size(), 0.0f);
    if (!file.has(kKey)) {
        warnings.push_back("The vocabulary has no scores; text is merged from the left, which is probably not how the model was trained");
        return {};
    }
    Result<std::vector<float>> scores = read_scores(file, kKey);
    if (!scores) return bad_tokenizer("tokenizer.ggml.scores is not an array of numbers");
    if (scores->size() < v.texts.size()) {
        return bad_tokenizer("tokenizer.ggml.scores has " + std::to_string(scores->size()) + " entries for " +
                             std::to_string(v.texts.size()) + " tokens");
    }
    for (size_t id = 0; id < v.texts.size(); ++id) {
        if (std::isnan((*scores)[id])) return bad_tokenizer("the score of token " + std::to_string(id) + " is not a number");
        v.scores[id] = (*scores)[id];
    }
    return {};
}

void index_texts(TokenVocabulary& v) {
    v.by_text.reserve(v.texts.size());
    for (size_t id = 0; id < v.texts.size(); ++id) {
        if (v.texts[id].empty()) {
            v.texts[id] = "[EMPTY_" + std::to_string(id) + "]";   // shown, never matched
            v.kinds[id] = TokenKind::kUnused;
        } else {
            v.by_text[v.texts[id]] = int32_t(id);
        }
    }
}

void load_ends(const GgufFile& file, TokenVocabulary& v, std::vector<std::string>& warnings) {
    v.is_end.assign(v.texts.size(), 0);
    for (const char* key : kEndKeys) {
        int32_t id = special_id(file, key, v.n_tokens(), warnings);
        if (id >= 0) v.is_end[size_t(id)] = 1;
    }
    for (std::string_view text : kEndTexts) {
        int32_t id = v.find(text);
        if (id < 0) continue;
        v.is_end[size_t(id)] = 1;
        v.kinds[size_t(id)] = TokenKind::kControl;
    }
    // gpt-oss: "<|end|>" ends a message, not the turn, and the harmony marks are to be seen.
    int32_t end = v.find("<|end|>"), back = v.find("<|return|>"), call = v.find("<|call|>");
    if (end < 0 || back < 0 || call < 0) return;
    v.is_end[size_t(end)] = 0;
    for (std::string_view text : {"<|end|>", "<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}) {
        int32_t id = v.find(text);
        if (id >= 0) v.kinds[size_t(id)] = TokenKind::kUserDefined;
    }
}

void load_strip_flags(const GgufFile& file, TokenVocabulary& v) {
    v.strips_right.assign(v.texts.size(), 0);
    Result<std::string_view> name = file.get_string("general.name");
    if (!name) return;
    std::string lower(*name);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    if (lower.find("phi-3") == std::string::npos && lower.find("phi3") == std::string::npos) return;
    for (int32_t id = 0; id < v.n_tokens(); ++id) v.strips_right[size_t(id)] = v.is_special(id);
    for (std::string_view text : {"<unk>", "<s>", "<|endoftext|>"}) {
        int32_t id = v.find(text);
        if (id >= 0) v.strips_right[size_t(id)] = 0;
    }
}

void choose_pre(const GgufFile& file, TokenVocabulary& v, std::vector<std::string>& warnings, std::string_view pre_override) {
    v.pre = "default";
    if (v.model != "gpt2") return;
    std::string wanted(pre_override);
    if (wanted.empty()) {
        Result<std::string_view> name = file.get_string("tokenizer.ggml.pre");
        if (name) wanted = std::string(*name);
    }
    if (wanted.empty()) {
        warnings.push_back("The file names no pre-tokenizer (tokenizer.ggml.pre); using \"default\", the text may be cut in other places "
                           "than the model was trained with");
    } else if (find_pre_tokenizer(wanted) == nullptr) {
        warnings.push_back("The pre-tokenizer \"" + sanitise_for_display(wanted, 40) + "\" is unknown; using \"default\", the text may be "
                           "cut in other places than the model was trained with");
    } else {
        v.pre = wanted;
    }
}

void load_flags(const GgufFile& file, TokenVocabulary& v, std::vector<std::string>& warnings) {
    bool is_spm = v.model == "llama";
    v.bos = special_id(file, "tokenizer.ggml.bos_token_id", v.n_tokens(), warnings);
    v.eos = special_id(file, "tokenizer.ggml.eos_token_id", v.n_tokens(), warnings);
    if (is_spm && !file.has("tokenizer.ggml.bos_token_id")) v.bos = v.n_tokens() > 1 ? 1 : -1;   // <s>, section 3
    if (is_spm && !file.has("tokenizer.ggml.eos_token_id")) v.eos = v.n_tokens() > 2 ? 2 : -1;   // </s>
    v.unknown = special_id(file, "tokenizer.ggml.unknown_token_id", v.n_tokens(), warnings);
    bool adds_bos = is_spm || find_pre_tokenizer(v.pre)->adds_bos;
    v.add_bos = flag(file, "tokenizer.ggml.add_bos_token", adds_bos, warnings);
    v.add_eos = flag(file, "tokenizer.ggml.add_eos_token", false, warnings);
    v.add_space_prefix = flag(file, "tokenizer.ggml.add_space_prefix", is_spm, warnings);
}

}  // namespace

Error bad_tokenizer(std::string why) {
    return Error{ErrorKind::kInput, "bad_tokenizer", "Cannot use the model's vocabulary", std::move(why),
                 "The file is damaged or was written by a faulty converter; fetch or convert it again"};
}

Result<std::shared_ptr<TokenVocabulary>> TokenVocabulary::load(const GgufFile& file, std::vector<std::string>& warnings,
                                                               std::string_view pre_override) {
    auto v = std::make_shared<TokenVocabulary>();
    GS_TRY(std::string_view model, file.get_string("tokenizer.ggml.model"));
    v->model = std::string(model);
    if (v->model != "gpt2" && v->model != "llama") {
        return Error{ErrorKind::kInput, "bad_tokenizer", "Cannot use the model's vocabulary",
                     "its kind \"" + sanitise_for_display(v->model, 40) + "\" is not supported",
                     "Use a model with a byte-level BPE (\"gpt2\") or SentencePiece (\"llama\") vocabulary"};
    }
    GS_TRY_VOID(load_texts(file, *v));
    GS_TRY_VOID(load_kinds(file, *v));
    if (v->model == "llama") GS_TRY_VOID(load_scores(file, *v, warnings));
    index_texts(*v);
    choose_pre(file, *v, warnings, pre_override);
    load_flags(file, *v, warnings);
    load_ends(file, *v, warnings);
    if (v->eos >= 0) v->is_end[size_t(v->eos)] = 1;   // the default of section 3, too
    load_strip_flags(file, *v);
    return v;
}

}  // namespace gs
