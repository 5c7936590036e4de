#include "engine/run/verify_record.h"

#include <limits>

namespace gs {

double RoutedRow::margin(const RouterSpec& spec, std::span<const float> selection_bias, size_t k) const {
    RouteRow all;
    route(spec, {.rule = GateRule::kTopK, .k = spec.n_experts}, logits, selection_bias, all);
    if (k >= all.ids.size()) return std::numeric_limits<double>::infinity();
    const auto score = [&](size_t j) { return static_cast<double>(all.selection[static_cast<size_t>(all.ids[j])]); };
    return score(k - 1) - score(k);
}

void RunRecord::on_route(int moe_layer, int first_row, int n_rows, std::span<const float> all_logits, std::span<const int32_t> ids,
                         std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) {
    std::vector<RoutedRow>& rows = m_rows[static_cast<size_t>(moe_layer)];
    rows.resize(static_cast<size_t>(m_position + first_row + n_rows));
    const size_t n_experts = all_logits.size() / static_cast<size_t>(n_rows);
    for (int r = 0; r < n_rows; ++r) {
        const auto at = static_cast<size_t>(r), k = static_cast<size_t>(n_used[at]), slot = at * static_cast<size_t>(k_stride);
        RoutedRow& row = rows[static_cast<size_t>(m_position + first_row + r)];
        const auto copy = [](auto part) { return std::vector<typename decltype(part)::value_type>(part.begin(), part.end()); };
        row = {copy(all_logits.subspan(at * n_experts, n_experts)), copy(weights.subspan(slot, k)), copy(ids.subspan(slot, k))};
    }
}

void RunRecord::keep(Tap tap, int layer, int first_row, int n_rows, std::span<const float> values) {
    std::vector<float>& kept = m_taps[tap][layer];
    const size_t width = values.size() / static_cast<size_t>(n_rows), at = static_cast<size_t>(m_position + first_row) * width;
    if (kept.size() < at + values.size()) kept.resize(at + values.size());
    std::copy(values.begin(), values.end(), kept.begin() + static_cast<std::ptrdiff_t>(at));
}

std::vector<float> RunRecord::router_logits() const {
    std::vector<float> all;
    for (const std::vector<RoutedRow>& layer : m_rows)
        for (const RoutedRow& row : layer) all.insert(all.end(), row.logits.begin(), row.logits.end());
    return all;
}

std::vector<float> RunRecord::tapped(Tap tap) const {
    std::vector<float> all;
    const auto layers = m_taps.find(tap);
    if (layers == m_taps.end()) return all;
    for (const auto& [layer, values] : layers->second) all.insert(all.end(), values.begin(), values.end());
    return all;
}

}  // namespace gs
