#include "app/views/compare_difference.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace app {

const char* name_of(DifferenceOf what) {
    constexpr std::array names = {"applied weight", "preference", "chosen or not"};
    return names[static_cast<size_t>(what)];
}

bool can_subtract(DifferenceOf what, const gs::TraceSnapshot& a, const gs::TraceSnapshot& b) {
    if (what == DifferenceOf::kAppliedWeight) return a.has_weights() && b.has_weights();
    return what == DifferenceOf::kChosen || (a.has_logits() && b.has_logits());
}

void DifferencePicture::fill(RouteReader& reader, int token, std::span<float> out) {
    if (m_what == DifferenceOf::kPreference) return reader.column(Quantity::kPreference, m_layer, token, out);
    std::fill(out.begin(), out.end(), 0.0f);
    const auto ids = reader.trace().ids(m_layer, token);
    const auto weights = reader.trace().weights(m_layer, token);
    for (size_t slot = 0; slot < ids.size(); ++slot) out[ids[slot]] = m_what == DifferenceOf::kChosen ? 1.0f : weights[slot];
}

float DifferencePicture::of(RouteReader& reader, int token, int expert) {
    m_scratch.resize(static_cast<size_t>(m_n_experts));
    fill(reader, token, m_scratch);
    return m_scratch[static_cast<size_t>(expert)];
}

void DifferencePicture::update(std::shared_ptr<const gs::RunDiff> diff, const gs::TraceSnapshot& a, const gs::TraceSnapshot& b, int moe_layer, DifferenceOf what) {
    if (diff == m_diff && moe_layer == m_layer && what == m_what) return;
    m_diff = std::move(diff);
    m_layer = moe_layer, m_what = what;
    m_n_experts = a.n_experts();
    m_a.set_trace(a);
    m_b.set_trace(b);
    ++m_revision;
    const auto n_experts = static_cast<size_t>(m_n_experts);
    m_values.resize(m_diff->pairs.size() * n_experts);
    std::vector<float> before(n_experts);
    m_range = 0;
    for (size_t pair = 0; pair < m_diff->pairs.size(); ++pair) {
        const std::span<float> column = std::span(m_values).subspan(pair * n_experts, n_experts);
        fill(m_a, m_diff->pairs[pair].a, before);
        fill(m_b, m_diff->pairs[pair].b, column);
        for (size_t e = 0; e < n_experts; ++e) {
            column[e] -= before[e];
            if (std::isfinite(column[e])) m_range = std::max(m_range, std::abs(column[e]));
        }
    }
    if (m_range <= 0) m_range = 1;
}

int pair_of_b(const gs::RunDiff& diff, int token) {
    const auto found = std::lower_bound(diff.pairs.begin(), diff.pairs.end(), token, [](const gs::TokenPair& pair, int t) { return pair.b < t; });
    return found != diff.pairs.end() && found->b == token ? static_cast<int>(found - diff.pairs.begin()) : -1;
}

}  // namespace app
