// The expressions of tokenizers.md section 5.2 and the flags of section 6. "deepseek-coder" is not in the specification; its list is that
// of llama.cpp (src/llama-vocab.cpp), with wide spaces outside the CJK range as the goldens have them.
#include <array>

#include "engine/model/pre_tokenizer.h"

namespace gs {

namespace {

// (?i:…) spelled out: caseless matching would let U+017F, the long s, count as an s.
#define GS_CONTRACTION "'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"
#define GS_GPT2 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
#define GS_LLAMA3(digits) \
    GS_CONTRACTION R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define GS_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define GS_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define GS_O200K(contraction, digits)                                                                                          \
    R"([^\r\n\p{L}\p{N}]?)" GS_UPPER "*" GS_LOWER "+" contraction R"(|[^\r\n\p{L}\p{N}]?)" GS_UPPER "+" GS_LOWER "*" contraction \
    "|" digits R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"

constexpr std::array<const char*, 1> kGpt2 = {GS_GPT2};
constexpr std::array<const char*, 1> kLlama3 = {GS_LLAMA3(R"(\p{N}{1,3})")};
constexpr std::array<const char*, 1> kQwen2 = {GS_LLAMA3(R"(\p{N})")};
constexpr std::array<const char*, 2> kRefact = {R"(\p{N})", GS_GPT2};
constexpr std::array<const char*, 1> kO200k = {GS_O200K("(?:" GS_CONTRACTION ")?", R"(\p{N}{1,3})")};
constexpr std::array<const char*, 1> kTekken = {GS_O200K("", R"(\p{N})")};
constexpr std::array<const char*, 4> kDefault = {R"([\p{P}\$\+<=>\^~\|]+)", GS_GPT2, R"(\p{N}+)", "[0-9][0-9][0-9]"};
constexpr std::array<const char*, 3> kDeepseek3 = {
    R"(\p{N}{1,3})", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

#define GS_DEEPSEEK_LETTERS                                                                                                        \
    R"(\x41-\x5A\x61-\x7A\xB5\xC0-\xD6\xD8-\xF6\xF8-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376})"    \
    R"(\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F})"    \
    R"(\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B})"      \
    R"(\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57})"    \
    R"(\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"      \
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113})"    \
    R"(\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"              \
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3})"              \
    R"(\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06})"    \
    R"(\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"              \
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"
#define GS_DEEPSEEK_CJK R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)"

// Step 4 is \s+$ in the specification. A match can only begin where a run of white space begins, and saying so keeps it linear when the
// run does not reach the end.
constexpr std::array<const char*, 6> kDeepseekLlm = {
    R"([\r\n])", R"(\s?[)" GS_DEEPSEEK_LETTERS "]+",
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)", R"((?<!\s)\s++$)", GS_DEEPSEEK_CJK, R"(\p{N}+)"};
constexpr const char* kDeepseekCoderCjk =
    R"([\x{4E00}-\x{9FA5}\x{AC00}-\x{D7FF}\x{0800}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E})"
    R"(\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{4E00}]+)";
constexpr std::array<const char*, 5> kDeepseekCoder = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCoderCjk, R"(\p{N})"};

constexpr PreTokenizerRow kRows[] = {
    // name, expressions, ignores_merges, adds_bos
    {"gpt-2", kGpt2, false, false},
    {"mpt", kGpt2, false, false},
    {"olmo", kGpt2, false, false},
    {"llama3", kLlama3, true, true},
    {"llama-v3", kLlama3, true, true},
    {"llama-bpe", kLlama3, true, true},
    {"dbrx", kLlama3, false, false},
    {"smaug-bpe", kLlama3, false, false},
    {"glm4", kLlama3, true, false},
    {"chatglm-bpe", kLlama3, false, false},
    {"qwen2", kQwen2, false, false},
    {"deepseek-r1-qwen", kQwen2, false, false},
    {"hunyuan", kQwen2, false, false},
    {"grok-2", kQwen2, false, false},
    {"stablelm2", kQwen2, false, false},
    {"megrez", kQwen2, false, false},
    {"solar-open", kQwen2, false, false},
    {"bailingmoe2", kQwen2, false, false},
    {"refact", kRefact, false, false},
    {"starcoder", kRefact, false, false},
    {"command-r", kRefact, false, false},
    {"smollm", kRefact, false, false},
    {"codeshell", kRefact, false, false},
    {"exaone", kRefact, false, false},
    {"minerva-7b", kRefact, false, false},
    {"deepseek-v3", kDeepseek3, false, false},
    {"hunyuan-dense", kDeepseek3, false, false},
    {"deepseek-llm", kDeepseekLlm, false, false},
    {"deepseek-coder", kDeepseekCoder, false, false},
    {"gpt-4o", kO200k, false, false},
    {"llama4", kO200k, false, false},
    {"minimax-m2", kO200k, false, false},
    {"tekken", kTekken, true, true},
    {"default", kDefault, false, false},
};

}  // namespace

const PreTokenizerRow* find_pre_tokenizer(std::string_view name) {
    for (const PreTokenizerRow& row : kRows) {
        if (row.name == name) return &row;
    }
    return nullptr;
}

std::span<const PreTokenizerRow> pre_tokenizer_rows() { return kRows; }

}  // namespace gs
