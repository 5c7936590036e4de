// Two CSV formats of programs that stream experts.
//
// moe-trace CSV, moe_trace.csv of examples/moe-trace/moe-trace.cpp, in two forms. Rows are those of the id tensors (ffn_moe_topk-N) in the order of evaluation:
// for each pass over the model, for each MoE layer, the k experts of each token of the pass, best first. Layers and ids count from 0.
//   - ggml-org/llama.cpp pull request 28544 (read in savoflux-spec/AI.local at f830d47): "layer,expert" without a header, no more. Neither k nor the passes are
//     marked, so that both are concluded: a new pass begins where the layer does not grow, and k is the largest divisor of all layer blocks for which no
//     token has an expert twice. A header "layer,expert" is read as well. This program copies the first tokens × k ids of a tensor that is a view into the
//     ranking of all experts, with rows as long as that: what it writes of a pass of several tokens is the ranking of all experts for its first tokens
//     (see holds_rankings), of which the first k of each are the choices.
//   - Cartaz/llama.cpp-vulkan-moe (at 9149912): header "phase,token,layer,rank,expert", phase "prefill" or "decode", rows right. Its token is the number of the
//     row, so that it is wrong where the last layer has fewer, and not used.
// llama.cpp computes the last layer only for tokens whose output is wanted: tokens of a pass are matched from its end.
//
// BigMoeOnEdge CSV: --route-trace of Helldez/BigMoeOnEdge (core/src/metrics/route_trace_sink.cpp and core/include/bmoe/route_trace.h at commit 2d4f2b1):
// "# route_trace v1", "# model=… arch=… n_layer=… n_expert=… n_expert_used=…", "# layer=… expert_bytes=… dense_bytes=…", then
// "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped" (earlier without the last, in Indoroid/meitte with media_kind after it). phase 0 is prefill; step is the place in the context; slots are in rank order;
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
    std::string_view phase = {};                 ///< "prefill", "decode"; empty: the file does not say
};

struct Blocks {
    std::vector<Block> blocks;
    size_t k = 0;                                ///< 0: the file does not say
    int64_t n_experts = 0;                       ///< the largest id, and one
};

/// Whether no id comes twice in any group of `width`, of which the last may be shorter.
bool distinct_in_groups(const Block& block, size_t width) {
    std::vector<int64_t> group;
    for (size_t begin = 0; begin < block.experts.size(); begin += width) {
        const size_t end = std::min(begin + width, block.experts.size());
        group.assign(block.experts.begin() + static_cast<std::ptrdiff_t>(begin), block.experts.begin() + static_cast<std::ptrdiff_t>(end));
        std::sort(group.begin(), group.end());
        if (std::adjacent_find(group.begin(), group.end()) != group.end()) return false;
    }
    return true;
}

/// 0 when there is none, which only an expert twice in a row of one can cause. Rankings (see holds_rankings) need not be whole multiples of k.
size_t concluded_k(const Blocks& in) {
    size_t common = 0;
    for (const Block& block : in.blocks) common = std::gcd(common, block.experts.size());
    const auto fits = [&](const Block& block, size_t k) { return distinct_in_groups(block, k) || distinct_in_groups(block, static_cast<size_t>(in.n_experts)); };
    for (size_t k = std::min<size_t>(common, 1024); k > 0; --k)
        if (common % k == 0 && std::all_of(in.blocks.begin(), in.blocks.end(), [&](const Block& block) { return fits(block, k); })) return k;
    return 0;
}

constexpr std::string_view kPairs = "layer,expert", kRanked = "phase,token,layer,rank,expert";

Result<Blocks> read_blocks(std::string_view text) {
    Blocks out;
    size_t at = 0;
    const std::string_view header = next_line(text, at);
    const bool ranked = header == kRanked;
    if (!ranked && header != kPairs) at = 0;
    for (int64_t row = 1; at < text.size(); ++row) {
        const std::string_view line = next_line(text, at);
        if (line.empty()) continue;
        size_t place = 0;
        int64_t layer = 0, expert = 0, rank = 0;
        const std::string_view phase = ranked ? next_field(line, place, ',') : std::string_view();
        if (ranked) next_field(line, place, ',');
        const bool read = parse_whole(next_field(line, place, ','), layer) && (!ranked || parse_whole(next_field(line, place, ','), rank)) &&
                          parse_whole(next_field(line, place, ','), expert);
        if (!read || place <= line.size() || rank < 0 || rank >= 1024) return bad_import("bad_value", fmt::format("row {} is not \"{}\"", row, ranked ? kRanked : kPairs));
        if (out.blocks.empty() || out.blocks.back().layer != layer || out.blocks.back().phase != phase) out.blocks.push_back({layer, {}, phase});
        out.blocks.back().experts.push_back(expert);
        if (ranked) out.k = std::max(out.k, static_cast<size_t>(rank) + 1);
        out.n_experts = std::max(out.n_experts, expert + 1);
    }
    const auto whole = [&](const Block& block) { return block.experts.size() % std::max<size_t>(out.k, 1) == 0; };
    if (!std::all_of(out.blocks.begin(), out.blocks.end(), whole)) return bad_import("bad_value", fmt::format("a layer has no multiple of {} rows in a pass", out.k));
    return out;
}

/// Whether the rows of a pass are rankings of all experts rather than choices: no id comes twice in any stretch as long as a ranking, where choices of
/// different tokens would have been alike 20 times or more if experts were drawn evenly (and more often with any preference).
bool holds_rankings(std::span<const Block> pass, size_t k, size_t n_experts) {
    double expected = 0;
    for (const Block& block : pass) {
        if (!distinct_in_groups(block, n_experts)) return false;
        for (size_t begin = 0; begin < block.experts.size(); begin += n_experts) {
            const auto n = static_cast<double>(std::min(n_experts, block.experts.size() - begin));
            expected += n * std::max(n - static_cast<double>(k), 0.0) / (2 * static_cast<double>(n_experts));   // pairs of different tokens, each alike once in n_experts
        }
    }
    return expected >= 20;
}

/// Of a pass that holds rankings, the tokens that can be told; returns how many more there were.
Result<size_t> add_rankings(ImportBuilder& out, std::span<const Block> pass, size_t k, size_t n_experts) {
    size_t n_rows = 0;
    for (const Block& block : pass) n_rows = std::max(n_rows, block.experts.size());
    const size_t n_told = 1 + (n_rows - k) / n_experts;
    const int first = out.n_tokens();
    for (size_t t = 0; t < n_told; ++t) {
        GS_TRY([[maybe_unused]] const int token, out.add_token(-1, Phase::kPrefill));
    }
    for (const Block& block : pass) {
        if (block.experts.size() < n_rows) continue;   // the last layer: of tokens that are not told
        for (size_t t = 0; t < n_told; ++t)
            for (size_t j = 0; j < k; ++j) GS_TRY_VOID(out.add(first + static_cast<int>(t), block.layer, block.experts[t * n_experts + j]));
    }
    return n_rows / k - n_told;
}

/// Tokens and choices of one pass.
Result<void> add_pass(ImportBuilder& out, std::span<const Block> blocks, size_t k) {
    size_t n_tokens = 0;
    for (const Block& block : blocks) n_tokens = std::max(n_tokens, block.experts.size() / k);
    const bool decodes = blocks.front().phase.empty() ? n_tokens == 1 : blocks.front().phase == "decode";
    const int first = out.n_tokens();
    for (size_t t = 0; t < n_tokens; ++t) {
        GS_TRY([[maybe_unused]] const int token, out.add_token(-1, decodes ? Phase::kDecode : Phase::kPrefill));
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
    if (line == kPairs || line == kRanked) return true;
    int64_t number = 0;
    size_t place = 0;
    return parse_whole(next_field(line, place, ','), number) && parse_whole(next_field(line, place, ','), number) && place > line.size();
}

Result<TraceSnapshot> read_moe_trace_csv(const std::filesystem::path& path) {
    GS_TRY(const std::string text, read_whole_file(path));
    GS_TRY(const Blocks read, read_blocks(text));
    const std::vector<Block>& blocks = read.blocks;
    if (blocks.empty()) return bad_import("no_routes", "it has no rows");
    if (read.n_experts < 1 || read.n_experts > 1024) return bad_import("bad_value", fmt::format("expert {} is none that can be shown", read.n_experts - 1));
    const bool concludes = read.k == 0;
    const size_t k = concludes ? concluded_k(read) : read.k;
    if (k == 0) return bad_import("no_routes", "a token has an expert twice");
    const auto n_experts = static_cast<size_t>(read.n_experts);
    ImportBuilder out;
    out.info.lacks.text = true;
    size_t n_untold = 0;
    for (size_t begin = 0; begin < blocks.size();) {
        size_t end = begin + 1;
        while (end < blocks.size() && blocks[end].layer > blocks[end - 1].layer && blocks[end].phase == blocks[begin].phase) ++end;
        const std::span<const Block> pass = std::span(blocks).subspan(begin, end - begin);
        if (concludes && holds_rankings(pass, k, n_experts)) {
            GS_TRY(const size_t more, add_rankings(out, pass, k, n_experts));
            n_untold += more;
        } else {
            GS_TRY_VOID(add_pass(out, pass, k));
        }
        begin = end;
    }
    if (n_untold > 0)
        out.info.notes.push_back(fmt::format("{} tokens of the prompt are left out: moe-trace wrote the ranking of all experts for the first ones in place of everyone's choices.", n_untold));
    if (concludes) {
        out.info.notes.push_back(fmt::format("k is not in the file: {} is the largest number for which no token has an expert twice.", k));
        out.info.notes.push_back("Passes of one token count as decoding.");
    }
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
