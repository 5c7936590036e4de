#include "app/views/coactivation_data.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "app/views/log_ratio.h"
#include "app/views/route_data.h"
#include "app/widgets/hover_card.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr int kShuffles = 40;
constexpr uint64_t kSeed = 99;

std::string beyond_text(int beyond, int all) { return fmt::format("{} of {} pairs outside the 95 % of chance (about {:.0f} by chance)", beyond, all, 0.05 * all); }

}  // namespace

float PairTable::value(int e, int other, bool ratio) const {
    const double s = share[at(e, other)], x = expected[at(e, other)];
    if (!ratio || std::isnan(s)) return static_cast<float>(s);
    if (!(x > 0)) return kNoValue;
    return log2_ratio(s / x);
}

float PairTable::most(bool ratio) const {
    float high = 0;
    for (int e = 0; e < n_experts; ++e)
        for (int other = 0; other < n_experts; ++other) {
            const float v = std::abs(value(e, other, ratio));
            if (std::isfinite(v)) high = std::max(high, v);
        }
    return ratio ? log2_reach(high) : high > 0 ? high : 1;
}

void RoutedSource::clear() {
    ++m_revision;
    m_layers.clear();
    m_repeated.clear();
    m_curves = {};
    m_table_key[0] = -1;
}

void RoutedSource::set_study(const std::shared_ptr<const gs::ExpertStudy>& study) {
    if (study == m_study) return;
    clear();
    m_study = study;
    m_trace = study->trace;
    m_trace_revision = m_trace.revision();
    m_tokens = study->tokens;
    for (const gs::LayerStudy& layer : study->layers) m_layers.push_back(layer.routes);
}

void RoutedSource::set_run(const gs::TraceSnapshot& trace) {
    if (!m_study && trace.revision() == m_trace_revision && !m_layers.empty()) return;
    clear();
    m_study.reset();
    m_trace = trace;
    m_trace_revision = trace.revision();
    const gs::StudiedText whole{.domain = "run", .begin = 0, .end = trace.n_tokens()};
    m_tokens = gs::study_tokens(trace, {&whole, 1});
    for (int m = 0; m < trace.n_moe_layers(); ++m) m_layers.push_back(gs::layer_routes(trace, m, m_tokens.rows));
}

bool RoutedSource::is_table_of(std::array<int, 3> key) { return std::exchange(m_table_key, key) == key; }

const PairTable& RoutedSource::pair_table(int moe_layer, gs::PairMode mode) {
    if (is_table_of({0, moe_layer, static_cast<int>(mode)})) return m_table;
    const gs::CoActivation p = pairs(moe_layer, mode);
    int beyond = 0, all = 0;
    p.count_beyond(beyond, all);
    m_table = {.n_experts = p.n_experts, .revision = ++m_revision, .tokens = p.tokens, .both = p.pairs};
    m_table.title = fmt::format("layer {}", m_trace.info().moe_layers[static_cast<size_t>(moe_layer)]);
    m_table.caption = fmt::format("{} tokens, {}; uniform {}; {}; {}", p.n_tokens, gs::name_of(mode), format_percent(p.uniform), beyond_text(beyond, all), gs::name_of(m_trace.info().provenance));
    for (int i = 0; i < p.n_experts; ++i)
        for (int j = 0; j < p.n_experts; ++j) {
            m_table.share.push_back(p.share(i, j));
            m_table.expected.push_back(p.expected_share(i, j));
            m_table.bands.push_back(p.band(i, j));
        }
    return m_table;
}

const PairTable& RoutedSource::flow_table(int from, int to) {
    if (is_table_of({1, from, to})) return m_table;
    const gs::CrossLayerFlow f = flow(from, to);
    int beyond = 0, all = 0;
    f.count_beyond(beyond, all);
    m_table = {.n_experts = f.n_experts, .revision = ++m_revision, .tokens = f.from, .both = f.pairs};
    const auto& layers = m_trace.info().moe_layers;
    m_table.title = fmt::format("layer {} → {}", layers[static_cast<size_t>(from)], layers[static_cast<size_t>(to)]);
    m_table.caption = fmt::format("{} tokens, all pairs of the two sets; uniform {}; {}; {}", f.n_tokens, format_percent(f.uniform), beyond_text(beyond, all), gs::name_of(m_trace.info().provenance));
    for (int e = 0; e < f.n_experts; ++e)
        for (int next = 0; next < f.n_experts; ++next) {
            m_table.share.push_back(f.share(e, next));
            m_table.expected.push_back(f.expected_share(next));
            m_table.bands.push_back(f.band(e, next));
        }
    return m_table;
}

const RoutedSource::Repeated& RoutedSource::repeated() {
    if (!m_repeated.empty()) return m_repeated;
    for (size_t m = 0; m < m_layers.size(); ++m) {
        if (m_study) m_repeated.push_back({m_study->layers[m].repetition, m_study->layers[m].id_effect});
        else m_repeated.push_back({gs::consecutive_repetition(m_layers[m], m_tokens.text, kShuffles, kSeed), gs::token_id_effect(m_layers[m], m_tokens.ids, 16, kShuffles, kSeed)});
    }
    return m_repeated;
}

const RepetitionCurves& RoutedSource::repetition() {
    if (!m_curves.curves.empty()) return m_curves;
    LayerCurve first{.name = "same first choice", .color = pinned_color(0)}, any{.name = "any expert of the token before", .color = pinned_color(1)},
        id{.name = "same token id: sets in common", .color = pinned_color(2)};
    const auto add = [](LayerCurve& curve, double value, const gs::ShuffleNull& null) {
        curve.values.push_back(100 * value);
        curve.low.push_back(100 * null.band.low);
        curve.high.push_back(100 * null.band.high);
    };
    for (const auto& [r, e] : repeated()) {
        add(first, r.first, r.shuffled_first);
        add(any, r.any, r.shuffled_any);
        add(id, e.jaccard, e.shuffled);
    }
    if (!m_repeated.empty()) {
        const auto& [r, e] = m_repeated.front();
        m_curves.caption = fmt::format("{} pairs of neighbouring tokens; {} ids that occur twice or more. Shaded: the same tokens in another order, 95 %. Uniform: first choice {}, any {}, same id {}; {}", r.n_pairs,
                                       e.n_ids, format_percent(r.uniform_first), format_percent(r.uniform_any), format_percent(e.uniform), gs::name_of(m_trace.info().provenance));
    }
    m_curves.curves = {std::move(first), std::move(any), std::move(id)};
    return m_curves;
}

std::string RoutedSource::repetition_csv() {
    std::string csv = "layer,pairs,first_choice,first_choice_low,first_choice_high,any_overlap,any_overlap_low,any_overlap_high,ids,same_id_jaccard,jaccard_low,jaccard_high\n";
    for (size_t m = 0; m < repeated().size(); ++m) {
        const auto& [r, e] = m_repeated[m];
        csv += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\n", m_trace.info().moe_layers[m], r.n_pairs, r.first, r.shuffled_first.band.low, r.shuffled_first.band.high, r.any,
                           r.shuffled_any.band.low, r.shuffled_any.band.high, e.n_ids, e.jaccard, e.shuffled.band.low, e.shuffled.band.high);
    }
    return csv;
}

void pair_card(const PairTable& table, int expert, int other) {
    HoverCard card(fmt::format("{}: expert {} and {}", table.title, expert, other));
    const size_t at = table.at(expert, other);
    if (std::isnan(table.share[at])) return card.note(table.tokens[static_cast<size_t>(expert)] == 0 ? "The expert is not used." : "An expert with itself: not counted.");
    card.row("together", fmt::format("{} of the {} tokens of expert {}  ({})", table.both[at], table.tokens[static_cast<size_t>(expert)], expert, format_percent(table.share[at])));
    card.row("loads alone", format_percent(table.expected[at]));
    card.row("ratio", format_number(table.expected[at] > 0 ? table.share[at] / table.expected[at] : std::nan("")));
    card.row("95 % of chance", fmt::format("{} to {}", format_percent(table.bands[at].low), format_percent(table.bands[at].high)));
}

void repetition_card(RoutedSource& source, int moe_layer) {
    const gs::Repetition& r = source.repetition_of(moe_layer);
    const gs::IdEffect& e = source.id_effect_of(moe_layer);
    HoverCard card(fmt::format("layer {}", source.trace().info().moe_layers[static_cast<size_t>(moe_layer)]));
    const auto row = [&](const char* name, double value, const gs::ShuffleNull& null, double uniform) {
        card.row(name, fmt::format("{}; shuffled {} ({} to {}), uniform {}", format_percent(value), format_percent(null.mean), format_percent(null.band.low), format_percent(null.band.high), format_percent(uniform)));
    };
    row("first choice", r.first, r.shuffled_first, r.uniform_first);
    row("any overlap", r.any, r.shuffled_any, r.uniform_any);
    row("same id", e.jaccard, e.shuffled, e.uniform);
    card.note(fmt::format("{} pairs of neighbours; {} pairs of occurrences of {} ids, |A ∩ B| / |A ∪ B|", r.n_pairs, e.n_pairs, e.n_ids));
}

int draw_pair_table(ViewContext& context, const PairTable& table, const Pick& pick, ImVec2 size) {
    std::vector<std::pair<int, int>> order;
    for (int e = 0; e < table.n_experts; ++e)
        for (int other = 0; other < table.n_experts; ++other)
            if (!std::isnan(table.share[table.at(e, other)])) order.push_back({e, other});
    std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) { return table.share[table.at(a.first, a.second)] > table.share[table.at(b.first, b.second)]; });
    int clicked = -1;
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersInnerV;
    if (!ImGui::BeginTable("###pair_table", 6, kFlags, size)) return clicked;
    ImGui::TableSetupScrollFreeze(0, 1);
    for (const char* name : {"expert", "with", "tokens", "share", "loads alone", "95 % of chance"}) ImGui::TableSetupColumn(name);
    ImGui::TableHeadersRow();
    ImGuiListClipper clipper;
    clipper.Begin(static_cast<int>(order.size()));
    while (clipper.Step())
        for (int i = clipper.DisplayStart; i < clipper.DisplayEnd; ++i) {
            const auto [e, other] = order[static_cast<size_t>(i)];
            const size_t at = table.at(e, other);
            ImGui::TableNextRow();
            ImGui::TableNextColumn();
            if (ImGui::Selectable(fmt::format("{}###pair{}_{}", e, e, other).c_str(), context.selected.expert == e, ImGuiSelectableFlags_SpanAllColumns)) clicked = e;
            if (ImGui::IsItemHovered()) context.hovered_next.moe_layer = pick.moe_layer, context.hovered_next.expert = e;
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(std::to_string(other).c_str());
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(fmt::format("{} of {}", table.both[at], table.tokens[static_cast<size_t>(e)]).c_str());
            ImGui::TableNextColumn();
            const gs::Band& band = table.bands[at];
            ImGui::TextUnformatted((format_percent(table.share[at]) + (table.share[at] > band.high ? " ▲" : table.share[at] < band.low ? " ▼" : "")).c_str());
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(format_percent(table.expected[at]).c_str());
            ImGui::TableNextColumn();
            ImGui::TextUnformatted(fmt::format("{} to {}", format_percent(band.low), format_percent(band.high)).c_str());
        }
    ImGui::EndTable();
    return clicked;
}

}  // namespace app
