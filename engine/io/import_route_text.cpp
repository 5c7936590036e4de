// ROUTE_TRACE text of JustVugg/colibri (c/route_trace.h, "trace format"): one line for each call of an MoE layer and row of its batch,
// "<call> <row> <layer> <id>:<gate> <id>:<gate> …", gates with four decimals as the layer applies them. The call counts up by one with every layer of
// every pass; a new pass begins where the layer does not grow. Passes of one row count as decoding. Rows of a speculative draft that was rejected cannot be
// told from others; the draft layer itself is left out where it was recorded for fewer than half of the tokens.
#include <fmt/format.h>

#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"

namespace gs {
namespace {

struct Line {
    int64_t call = 0, row = 0, layer = 0;
    std::vector<std::pair<int64_t, float>> experts;   ///< id, gate
};

bool parse_line(std::string_view text, Line& out) {
    size_t at = 0;
    for (int64_t* number : {&out.call, &out.row, &out.layer})
        if (!parse_whole(next_field(text, at, ' '), *number) || *number < 0) return false;
    out.experts.clear();
    while (at <= text.size()) {
        const std::string_view field = next_field(text, at, ' ');
        if (field.empty()) continue;
        const size_t colon = field.find(':');
        int64_t id = 0;
        float gate = 0;
        if (colon == std::string_view::npos || !parse_whole(field.substr(0, colon), id) || !parse_float(field.substr(colon + 1), gate)) return false;
        out.experts.emplace_back(id, gate);
    }
    return !out.experts.empty();
}

/// Passes in the order of the file; rows of a pass are tokens.
class Passes {
public:
    explicit Passes(std::vector<Line> lines) : m_lines(std::move(lines)) {}

    Result<void> add_to(ImportBuilder& out) const {
        for (size_t begin = 0; begin < m_lines.size();) {
            size_t end = begin + 1;
            int64_t most = m_lines[begin].row;
            while (end < m_lines.size() && !begins_pass(end)) most = std::max(most, m_lines[end++].row);
            if (most >= static_cast<int64_t>(m_lines.size())) return bad_import("bad_value", fmt::format("row {} of a pass of {} lines", most, end - begin));
            const int first = out.n_tokens();
            for (int64_t row = 0; row <= most; ++row) {
                GS_TRY([[maybe_unused]] const int token, out.add_token(-1, most == 0 ? Phase::kDecode : Phase::kPrefill));
            }
            for (; begin < end; ++begin)
                for (const auto& [id, gate] : m_lines[begin].experts) GS_TRY_VOID(out.add(first + static_cast<int>(m_lines[begin].row), m_lines[begin].layer, id, gate));
        }
        return {};
    }

private:
    bool begins_pass(size_t i) const { return m_lines[i].call != m_lines[i - 1].call && m_lines[i].layer <= m_lines[i - 1].layer; }
    std::vector<Line> m_lines;
};

}  // namespace

bool is_route_text(std::string_view head) {
    size_t at = 0;
    Line line;
    const std::string_view first = next_line(head, at);
    return at <= head.size() && parse_line(first, line) && line.row == 0;
}

Result<TraceSnapshot> read_route_text(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    std::vector<Line> lines;
    int64_t number = 0;
    for (size_t at = 0; at < text.size();) {
        const std::string_view line = next_line(text, at);
        ++number;
        if (line.empty()) continue;
        if (!parse_line(line, lines.emplace_back())) return bad_import("bad_value", fmt::format("line {} is not \"call row layer id:gate …\"", number));
    }
    ImportBuilder out;
    out.info.lacks.text = true;
    GS_TRY_VOID(Passes(std::move(lines)).add_to(out));
    out.info.notes.push_back("Passes of one token count as decoding; gates have four decimals.");
    return out.build("ROUTE_TRACE text", path);
}

}  // namespace gs
