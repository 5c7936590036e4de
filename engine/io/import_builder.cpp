#include "engine/io/import_builder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <system_error>

#include <fmt/format.h>

namespace gs {
namespace {

constexpr int64_t kMaxTokens = 1 << 24, kMaxLayers = 512, kMaxExperts = 1024;

}  // namespace

Error bad_import(std::string code, std::string why) {
    return {ErrorKind::kInput, std::move(code), "Cannot import the file", std::move(why), "Check that it is whole and of the format that its name says"};
}

Result<std::string> read_whole_file(const std::filesystem::path& path) {
    std::error_code error;
    const uintmax_t size = std::filesystem::file_size(path, error);
    if (error) return bad_import("cannot_open", error.message());
    if (size > kMaxImportBytes) return bad_import("too_large", fmt::format("it has {} MB; {} MB can be imported", size >> 20, kMaxImportBytes >> 20));
    std::ifstream in(path, std::ios::binary);
    std::string text(static_cast<size_t>(size), '\0');
    if (!in.read(text.data(), static_cast<std::streamsize>(size))) return bad_import("cannot_open", "it could not be read");
    return text;
}

std::string_view next_line(std::string_view text, size_t& at) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

std::string_view next_field(std::string_view line, size_t& at, char separator) {
    if (at > line.size()) return {};
    const size_t end = std::min(line.find(separator, at), line.size());
    const std::string_view field = line.substr(at, end - at);
    at = end + 1;
    return field;
}

bool parse_whole(std::string_view text, int64_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

bool parse_float(std::string_view text, float& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
}

Result<int> ImportBuilder::add_token(int64_t id, Phase phase) {
    if (n_tokens() >= kMaxTokens) return bad_import("too_large", fmt::format("it has more than {} tokens", kMaxTokens));
    if (id > std::numeric_limits<int32_t>::max()) return bad_import("bad_value", fmt::format("token {} has id {}", n_tokens(), id));
    if (id < 0) info.lacks.token_ids = true;
    const float none = std::numeric_limits<float>::quiet_NaN();
    m_tokens.push_back({.id = static_cast<int32_t>(std::max<int64_t>(id, 0)), .phase = phase, .logprob = none, .entropy = none});
    return n_tokens() - 1;
}

Result<void> ImportBuilder::add(int token, int64_t layer, int64_t expert, float weight) {
    const int64_t most = n_experts > 0 ? n_experts : kMaxExperts;
    if (layer < 0 || layer >= kMaxLayers) return bad_import("bad_value", fmt::format("token {} has a layer {}: 0 to {} are possible", token, layer, kMaxLayers - 1));
    if (expert < 0 || expert >= most) return bad_import("bad_value", fmt::format("token {} uses expert {} of {}", token, expert, most));
    if (std::isinf(weight)) return bad_import("bad_value", fmt::format("token {} has a weight that is not finite", token));
    m_choices.push_back({token, static_cast<int>(layer), static_cast<uint16_t>(expert), weight});
    return {};
}

/// Also leaves out, from the choices, layers and tokens that are not whole.
std::vector<int> ImportBuilder::kept_layers() {
    std::map<int, int> tokens_of;                // layer -> tokens that have it
    for (size_t i = 0; i < m_choices.size(); ++i) {
        const bool first = i == 0 || m_choices[i].token != m_choices[i - 1].token || m_choices[i].layer != m_choices[i - 1].layer;
        tokens_of[m_choices[i].layer] += first;
    }
    std::vector<int> layers;
    for (const auto& [layer, n] : tokens_of) {
        if (2 * n >= n_tokens())
            layers.push_back(layer);
        else
            note(fmt::format("Layer {} is left out: it was recorded for {} of {} tokens only.", layer, n, n_tokens()));
    }
    const auto is_kept = [&](int layer) { return std::binary_search(layers.begin(), layers.end(), layer); };
    std::erase_if(m_choices, [&](const Choice& c) { return !is_kept(c.layer); });
    std::vector<size_t> n_layers(m_tokens.size(), 0);
    for (size_t i = 0; i < m_choices.size(); ++i)
        n_layers[static_cast<size_t>(m_choices[i].token)] += i == 0 || m_choices[i].token != m_choices[i - 1].token || m_choices[i].layer != m_choices[i - 1].layer;
    const auto is_whole = [&](int token) { return n_layers[static_cast<size_t>(token)] == layers.size(); };
    std::erase_if(m_choices, [&](const Choice& c) { return !is_whole(c.token); });
    std::vector<int> number(m_tokens.size(), -1);
    std::vector<TokenRow> kept;
    for (int t = 0; t < n_tokens(); ++t) {
        if (!is_whole(t)) continue;
        number[static_cast<size_t>(t)] = static_cast<int>(kept.size());
        kept.push_back(m_tokens[static_cast<size_t>(t)]);
    }
    if (kept.size() < m_tokens.size()) {
        note(fmt::format("{} of {} tokens are left out: not every layer was recorded for them.", m_tokens.size() - kept.size(), m_tokens.size()));
        logits.clear();
        info.lacks.logits = true;
    }
    for (Choice& c : m_choices) c.token = number[static_cast<size_t>(c.token)];
    m_tokens = std::move(kept);
    return layers;
}

/// Best first where the weights tell, no expert twice.
Result<void> ImportBuilder::check_rows(const std::vector<int>& layers) {
    std::vector<int> seen(kMaxExperts, -1);
    int row = 0, most = 0, largest = 0;
    for (size_t begin = 0; begin < m_choices.size(); ++row) {
        size_t end = begin;
        for (; end < m_choices.size() && m_choices[end].token == m_choices[begin].token && m_choices[end].layer == m_choices[begin].layer; ++end) {
            int& last = seen[m_choices[end].expert];
            if (last == row)
                return bad_import("bad_value", fmt::format("token {} uses expert {} twice at layer {}", m_choices[end].token, m_choices[end].expert, m_choices[end].layer));
            last = row;
            largest = std::max<int>(largest, m_choices[end].expert);
        }
        if (!info.lacks.weights)
            std::stable_sort(m_choices.begin() + static_cast<std::ptrdiff_t>(begin), m_choices.begin() + static_cast<std::ptrdiff_t>(end),
                             [](const Choice& a, const Choice& b) { return a.weight > b.weight; });
        most = std::max(most, static_cast<int>(end - begin));
        begin = end;
    }
    if (n_experts == 0) {
        n_experts = largest + 1;
        note(fmt::format("The number of experts is not in the file: {} is the largest that was chosen, so that there are at least {}.", largest, n_experts));
    }
    info.router.n_experts = n_experts;
    info.router.n_used = most;
    info.moe_layers = layers;
    info.n_layers = std::max(info.n_layers, layers.back() + 1);
    return {};
}

Result<TraceSnapshot> ImportBuilder::build(const char* source, const std::filesystem::path& path) {
    info.lacks.weights = info.lacks.weights || std::any_of(m_choices.begin(), m_choices.end(), [](const Choice& c) { return std::isnan(c.weight); });
    info.lacks.logits = logits.empty();
    std::stable_sort(m_choices.begin(), m_choices.end(), [](const Choice& a, const Choice& b) { return a.token != b.token ? a.token < b.token : a.layer < b.layer; });
    const std::vector<int> layers = kept_layers();
    if (m_choices.empty() || layers.empty()) return bad_import("no_routes", "no token has experts at every layer");
    GS_TRY_VOID(check_rows(layers));
    const auto n_experts_each = static_cast<size_t>(n_experts);
    if (!info.lacks.logits && logits.size() != m_tokens.size() * layers.size() * n_experts_each) return bad_import("bad_value", "the router logits do not fit the routes");
    info.source = source;
    info.model_file = path.filename().string();
    if (info.model_name.empty()) info.model_name = info.model_file;
    info.engine = source;
    info.template_name = "raw";
    info.provenance = Provenance::kReplayed;
    TraceWriter writer(info);
    std::vector<int32_t> ids;
    std::vector<float> weights;
    size_t at = 0, row = 0;
    for (int t = 0; t < n_tokens(); ++t) {
        writer.begin_tokens(std::span(&m_tokens[static_cast<size_t>(t)], 1), Policy{});
        for (int m = 0; m < static_cast<int>(layers.size()); ++m, ++row) {
            ids.clear(), weights.clear();
            for (; at < m_choices.size() && m_choices[at].token == t && m_choices[at].layer == layers[static_cast<size_t>(m)]; ++at) {
                ids.push_back(m_choices[at].expert);
                weights.push_back(info.lacks.weights ? std::numeric_limits<float>::quiet_NaN() : m_choices[at].weight);
            }
            const std::span<const float> of_row = info.lacks.logits ? std::span<const float>() : std::span(logits).subspan(row * n_experts_each, n_experts_each);
            writer.set_route(m, 0, of_row, ids, weights);
        }
        writer.publish();
    }
    return writer.snapshot();
}

}  // namespace gs
