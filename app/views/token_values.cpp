#include "app/views/token_values.h"

#include <algorithm>
#include <cmath>

namespace app {

const char* name_of(TokenColor what) {
    switch (what) {
        case TokenColor::kTopExpert:
            return "top expert";
        case TokenColor::kEntropy:
            return "router entropy";
        case TokenColor::kMargin:
            return "margin at k";
        case TokenColor::kLogprob:
            return "surprise";
    }
    return "";
}

float TokenValues::compute(int token) {
    const gs::TraceSnapshot& trace = m_reader.trace();
    if (m_what == TokenColor::kLogprob) return -trace.token(token).logprob;
    if (m_layer < 0 || m_layer >= trace.n_moe_layers()) return kNoValue;
    if (m_what == TokenColor::kTopExpert) {
        const auto ids = trace.ids(m_layer, token);
        return ids.empty() ? kNoValue : static_cast<float>(ids[0]);
    }
    return m_reader.scalar(m_what == TokenColor::kEntropy ? RouteScalar::kEntropy : RouteScalar::kMargin, m_layer, token);
}

void TokenValues::count_experts(int n_experts) {
    std::vector<int> counts(static_cast<size_t>(n_experts), 0);
    for (const float v : m_values)
        if (!std::isnan(v)) ++counts[static_cast<size_t>(v)];
    m_frequent.clear();
    for (int e = 0; e < n_experts; ++e)
        if (counts[static_cast<size_t>(e)] > 0) m_frequent.emplace_back(e, counts[static_cast<size_t>(e)]);
    std::stable_sort(m_frequent.begin(), m_frequent.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    if (m_frequent.size() > 8) m_frequent.resize(8);
    m_hue.assign(static_cast<size_t>(n_experts), -1);
    for (size_t i = 0; i < m_frequent.size(); ++i) m_hue[static_cast<size_t>(m_frequent[i].first)] = static_cast<int>(i);
}

void TokenValues::update(const gs::TraceSnapshot& trace, TokenColor what, int moe_layer) {
    int first = m_follower.update(trace);
    if (what != m_what || moe_layer != m_layer || m_generation != m_follower.generation()) first = 0;
    m_what = what, m_layer = moe_layer, m_generation = m_follower.generation();
    if (first >= trace.n_tokens() && static_cast<int>(m_values.size()) == trace.n_tokens()) return;
    m_reader.set_trace(trace);
    m_values.resize(static_cast<size_t>(first));
    for (int t = first; t < trace.n_tokens(); ++t) m_values.push_back(compute(t));
    m_high = 1;
    if (what == TokenColor::kTopExpert) count_experts(trace.n_experts());
    if (what == TokenColor::kEntropy) m_high = std::log(static_cast<float>(std::max(2, trace.n_experts())));
    if (what == TokenColor::kLogprob) m_high = 8;
    if (what == TokenColor::kMargin) {
        m_high = 0;
        for (const float v : m_values)
            if (std::isfinite(v)) m_high = std::max(m_high, v);
        if (m_high <= 0) m_high = 1;
    }
}

ImU32 TokenValues::color(int token, ColorMap map) const {
    const float v = value(token);
    if (std::isnan(v)) return 0;
    if (m_what != TokenColor::kTopExpert) return sample(map, v / m_high);
    const int hue = m_hue[static_cast<size_t>(v)];
    return hue < 0 ? no_value_color() : pinned_color(hue);
}

}  // namespace app
