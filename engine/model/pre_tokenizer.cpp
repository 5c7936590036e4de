#include "engine/model/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <string>

#include "engine/core/check.h"

namespace gs {

namespace {

struct CodeFree { void operator()(pcre2_code* p) const { pcre2_code_free(p); } };
struct MatchDataFree { void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); } };
struct MatchContextFree { void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); } };
struct JitStackFree { void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); } };

// PCRE2 counts U+180E as white space, Unicode (since 6.3) does not; so the class is written out.
constexpr const char* kWhiteSpace =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

std::string with_white_space_spelled_out(std::string_view expression) {
    std::string out;
    bool in_class = false;
    for (size_t i = 0; i < expression.size(); ++i) {
        char c = expression[i];
        if (c == '\\') {
            char kind = expression[++i];
            if (kind == 's') out += in_class ? kWhiteSpace : "[" + std::string(kWhiteSpace) + "]";
            else if (kind == 'S') out += "[^" + std::string(kWhiteSpace) + "]";
            else out += {c, kind};
            continue;
        }
        if (c == '[') in_class = true;
        if (c == ']') in_class = false;
        out += c;
    }
    return out;
}

}  // namespace

struct PreTokenizer::Expression {
    std::unique_ptr<pcre2_code, CodeFree> code;
};

/// What matching writes to; one for each call of split, so that split is thread-safe.
struct PreTokenizer::Scratch {
    std::unique_ptr<pcre2_match_context, MatchContextFree> context{pcre2_match_context_create(nullptr)};
    std::unique_ptr<pcre2_jit_stack, JitStackFree> stack{pcre2_jit_stack_create(32 << 10, 1 << 20, nullptr)};
    std::vector<std::unique_ptr<pcre2_match_data, MatchDataFree>> matches;   // one a stage

    explicit Scratch(const std::vector<Expression>& expressions) {
        // The limits guard against exponential expressions of strangers. Ours are linear, but a run of 10 million spaces is long.
        pcre2_set_match_limit(context.get(), UINT32_MAX);
        pcre2_set_depth_limit(context.get(), UINT32_MAX);
        pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
        for (const Expression& e : expressions) matches.emplace_back(pcre2_match_data_create_from_pattern(e.code.get(), nullptr));
    }
};

PreTokenizer::PreTokenizer(const PreTokenizerRow& row) {
    for (const char* expression : row.expressions) {
        std::string pattern = with_white_space_spelled_out(expression);
        int error = 0;
        size_t error_at = 0;
        pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                         PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY, &error, &error_at, nullptr);
        GS_CHECK(code != nullptr, "an expression of the pre-tokenizer table does not compile");
        pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);   // fails where memory may not be executable; then the interpreter matches
        m_expressions.push_back(Expression{std::unique_ptr<pcre2_code, CodeFree>(code)});
    }
}

PreTokenizer::~PreTokenizer() = default;

void PreTokenizer::split(std::string_view text, const Sink& sink) const {
    Scratch scratch(m_expressions);
    split_from(0, text, scratch, sink);
}

void PreTokenizer::split_from(size_t stage, std::string_view text, Scratch& scratch, const Sink& sink) const {
    if (text.empty()) return;
    if (stage == m_expressions.size()) {
        sink(text);
        return;
    }
    const pcre2_code* code = m_expressions[stage].code.get();
    pcre2_match_data* match = scratch.matches[stage].get();
    size_t from = 0, gap = 0;
    while (from < text.size()) {
        auto run = [&](uint32_t options) {
            return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                               PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | options, match, scratch.context.get());
        };
        int rc = run(0);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = run(PCRE2_NO_JIT);
        if (rc < 0) break;   // no match, or out of memory: the rest is one piece
        size_t begin = pcre2_get_ovector_pointer(match)[0], end = pcre2_get_ovector_pointer(match)[1];
        split_from(stage + 1, text.substr(gap, begin - gap), scratch, sink);
        split_from(stage + 1, text.substr(begin, end - begin), scratch, sink);
        from = gap = end;
    }
    split_from(stage + 1, text.substr(gap), scratch, sink);
}

}  // namespace gs
