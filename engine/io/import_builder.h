// What importers share: choices of experts in any order, made into a trace that keeps the promises of trace.h. Private to engine/io.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"
#include "engine/routing/trace.h"

namespace gs {

/// The largest file that is read as text or arrays.
inline constexpr size_t kMaxImportBytes = size_t{1} << 30;

Error bad_import(std::string code, std::string why);
/// Errors: kInput "cannot_open", "too_large".
Result<std::string> read_whole_file(const std::filesystem::path& path);
/// The next line of `text` from `at` on, without its end; moves `at` behind it.
std::string_view next_line(std::string_view text, size_t& at);
/// The next field before `separator`; moves `at` behind it. Whole numbers and floats of a whole field; false if it is none.
std::string_view next_field(std::string_view line, size_t& at, char separator);
bool parse_whole(std::string_view text, int64_t& out);
bool parse_float(std::string_view text, float& out);

class ImportBuilder {
public:
    TraceInfo info;                              ///< model name, architecture, lacks, notes; the builder fills in router, layers, source
    int n_experts = 0;                           ///< 0: the file does not say; the largest id seen decides

    /// A new token; returns its number. id < 0: unknown.
    Result<int> add_token(int64_t id, Phase phase);
    int n_tokens() const { return static_cast<int>(m_tokens.size()); }
    /// An expert that a token uses at a layer of the model (blk.N), best first. Errors: kInput "bad_value".
    Result<void> add(int token, int64_t layer, int64_t expert, float weight = std::numeric_limits<float>::quiet_NaN());
    /// Router logits of all tokens: [T][layers in ascending order][E]; only with the same layers for every token.
    std::vector<float> logits;

    /// Layers that fewer than half of the tokens have, and tokens without one of the others, are left out, with a note. Errors: kInput "bad_value" (an
    /// expert twice for a token), "no_routes".
    Result<TraceSnapshot> build(const char* source, const std::filesystem::path& path);

private:
    struct Choice {
        int token, layer;
        uint16_t expert;
        float weight;
    };
    std::vector<int> kept_layers();
    Result<void> check_rows(const std::vector<int>& layers);
    void note(std::string text) { info.notes.push_back(std::move(text)); }

    std::vector<TokenRow> m_tokens;
    std::vector<Choice> m_choices;
};

}  // namespace gs
