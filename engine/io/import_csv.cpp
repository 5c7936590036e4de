// Two CSV formats of programs that stream experts.
//
// moe-trace CSV: examples/moe-trace of llama.cpp (ggml-org/llama.cpp pull request 28544, description), file moe_trace.csv: one row "layer,expert" for each
// routed activation, no more. The rows are those of the id tensors in the order of evaluation: for each pass over the model, for each MoE layer,
// the k experts of each token of the pass, token by token. Neither k nor the passes are marked, so that both are concluded: a new pass begins where the
// layer does not grow, and k is the largest divisor of all layer blocks for which no token has an expert twice. llama.cpp computes the last layer only for
// tokens whose output is wanted: tokens of a pass are matched from its end. A header line is optional.
//
// BigMoeOnEdge CSV: --route-trace of Helldez/BigMoeOnEdge (core/src/metrics/route_trace_sink.cpp and core/include/bmoe/route_trace.h at commit 2d4f2b1):
// "# route_trace v1", "# model=… arch=… n_layer=… n_expert=… n_expert_used=…", "# layer=… expert_bytes=… dense_bytes=…", then
// "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped". phase 0 is prefill; step is the place in the context; slots are in rank order;
// weight is the applied one, nan where the graph had none. dropped: chosen by the router, then not read by the cache policy; it counts as chosen.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include <fmt/format.h>

#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"

namespace gs {
namespace {

/// Experts of one layer in one pass.
struct Block {
    int64_t layer = 0;
    std::vector<int64_t> experts;
};

bool distinct_in_groups(const Block& block, size_t k) {
    std::vector<int64_t> group;
    for (size_t begin = 0; begin < block.experts.size(); begin += k) {
        group.assign(block.experts.begin() + static_cast<std::ptrdiff_t>(begin), block.experts.begin() + static_cast<std::ptrdiff_t>(begin + k));
        std::sort(group.begin(), group.end());
        if (std::adjacent_find(group.begin(), group.end()) != group.end()) return false;
    }
    return true;
}

/// 0 when there is none, which only an expert twice in a row of one can cause.
size_t concluded_k(const std::vector<Block>& blocks) {
    size_t common = 0;
    for (const Block& block : blocks) common = std::gcd(common, block.experts.size());
    for (size_t k = std::min<size_t>(common, 1024); k > 0; --k)
        if (common % k == 0 && std::all_of(blocks.begin(), blocks.end(), [&](const Block& block) { return distinct_in_groups(block, k); })) return k;
    return 0;
}

Result<std::vector<Block>> read_blocks(std::string_view text) {
    std::vector<Block> blocks;
    size_t at = text.starts_with("layer") ? text.find('\n') + 1 : 0;
    for (int64_t row = 1; at < text.size(); ++row) {
        const std::string_view line = next_line(text, at);
        if (line.empty()) continue;
        size_t place = 0;
        int64_t layer = 0, expert = 0;
        const bool read = parse_whole(next_field(line, place, ','), layer) && parse_whole(next_field(line, place, ','), expert);
        if (!read || place <= line.size()) return bad_import("bad_value", fmt::format("row {} is not \"layer,expert\"", row));
        if (blocks.empty() || blocks.back().layer != layer) blocks.push_back({layer, {}});
        blocks.back().experts.push_back(expert);
    }
    return blocks;
}

/// Tokens and choices of the blocks [begin, end), one pass.
Result<void> add_pass(ImportBuilder& out, std::span<const Block> blocks, size_t k) {
    size_t n_tokens = 0;
    for (const Block& block : blocks) n_tokens = std::max(n_tokens, block.experts.size() / k);
    const int first = out.n_tokens();
    for (size_t t = 0; t < n_tokens; ++t) {
        GS_TRY([[maybe_unused]] const int token, out.add_token(-1, n_tokens == 1 ? Phase::kDecode : Phase::kPrefill));
    }
    for (const Block& block : blocks) {
        const size_t skipped = n_tokens - block.experts.size() / k;
        for (size_t i = 0; i < block.experts.size(); ++i) GS_TRY_VOID(out.add(first + static_cast<int>(skipped + i / k), block.layer, block.experts[i]));
    }
    return {};
}

/// The value of "key=" in a line of blank-separated pairs.
std::string_view value_of(std::string_view line, std::string_view key) {
    const size_t at = line.find(key);
    if (at == std::string_view::npos) return {};
    return line.substr(at + key.size(), line.find(' ', at + key.size()) - at - key.size());
}

void read_preamble(std::string_view line, ImportBuilder& out) {
    int64_t number = 0;
    if (const std::string_view model = value_of(line, "# model="); !model.empty()) {
        out.info.model_name = std::filesystem::path(std::string(model)).filename().string();
        out.info.architecture = std::string(value_of(line, "arch="));
        if (parse_whole(value_of(line, "n_layer="), number) && number > 0 && number <= 512) out.info.n_layers = static_cast<int>(number);
        if (parse_whole(value_of(line, "n_expert="), number) && number > 0 && number <= 1024) out.n_experts = static_cast<int>(number);
    }
}

struct BigMoeRow {
    int64_t turn, phase, step, layer, slot, expert;
    float weight;
    bool dropped;
};

bool parse_row(std::string_view line, BigMoeRow& row) {
    size_t at = 0;
    for (int64_t* number : {&row.turn, &row.phase, &row.step, &row.layer, &row.slot, &row.expert})
        if (!parse_whole(next_field(line, at, ','), *number)) return false;
    if (!parse_float(next_field(line, at, ','), row.weight)) return false;
    next_field(line, at, ',');   // residency and bytes
    next_field(line, at, ',');
    row.dropped = next_field(line, at, ',') == "1";
    return row.phase == 0 || row.phase == 1;
}

}  // namespace

bool is_moe_trace_csv(std::string_view head) {
    size_t at = 0;
    std::string_view line = next_line(head, at);
    if (line == "layer,expert") return true;
    int64_t number = 0;
    size_t place = 0;
    return parse_whole(next_field(line, place, ','), number) && parse_whole(next_field(line, place, ','), number) && place > line.size();
}

Result<TraceSnapshot> read_moe_trace_csv(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    GS_TRY(const std::vector<Block> blocks, read_blocks(text));
    const size_t k = concluded_k(blocks);
    if (k == 0) return bad_import("no_routes", "it has no rows");
    ImportBuilder out;
    out.info.lacks.text = true;
    for (size_t begin = 0; begin < blocks.size();) {
        size_t end = begin + 1;
        while (end < blocks.size() && blocks[end].layer > blocks[end - 1].layer) ++end;
        GS_TRY_VOID(add_pass(out, std::span(blocks).subspan(begin, end - begin), k));
        begin = end;
    }
    out.info.notes.push_back(fmt::format("k is not in the file: {} is the largest number for which no token has an expert twice.", k));
    out.info.notes.push_back("Passes of one token count as decoding.");
    return out.build("moe-trace CSV", path);
}

bool is_big_moe_csv(std::string_view head) { return head.starts_with("# route_trace v1") || head.starts_with("turn,phase,step,layer,slot,expert,weight"); }

Result<TraceSnapshot> read_big_moe_csv(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    ImportBuilder out;
    out.info.lacks.text = true;
    std::map<std::pair<int64_t, int64_t>, int> token_of;   // (turn, step)
    int64_t n_dropped = 0, number = 0;
    for (size_t at = 0; at < text.size(); ++number) {
        const std::string_view line = next_line(text, at);
        if (line.starts_with('#')) read_preamble(line, out);
        if (line.empty() || line.starts_with('#') || line.starts_with("turn,")) continue;
        BigMoeRow row{};
        if (!parse_row(line, row)) return bad_import("bad_value", fmt::format("line {} is not a row of a route trace", number + 1));
        auto [known, is_new] = token_of.try_emplace({row.turn, row.step}, 0);
        if (is_new) {
            GS_TRY(known->second, out.add_token(-1, row.phase == 0 ? Phase::kPrefill : Phase::kDecode));
        }
        GS_TRY_VOID(out.add(known->second, row.layer, row.expert, row.weight));
        n_dropped += row.dropped;
    }
    if (n_dropped > 0) out.info.notes.push_back(fmt::format("{} choices were dropped by the cache policy after the router had made them; they count as chosen.", n_dropped));
    return out.build("BigMoeOnEdge CSV", path);
}

}  // namespace gs
