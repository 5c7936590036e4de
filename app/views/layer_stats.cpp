#include "app/views/layer_stats.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>

namespace app {

double LayerStats::share(int expert) const {
    return load.n_tokens == 0 ? kNoValue : static_cast<double>(load.counts[static_cast<size_t>(expert)]) / load.n_tokens;
}

int LayerStats::rank(int expert) const {
    int rank = 1;
    const uint32_t own = load.counts[static_cast<size_t>(expert)];
    for (int e = 0; e < static_cast<int>(load.counts.size()); ++e) {
        const uint32_t other = load.counts[static_cast<size_t>(e)];
        rank += other > own || (other == own && e < expert);
    }
    return rank;
}

bool RunStats::update(const gs::TraceSnapshot& trace, gs::PhaseFilter phase) {
    const uint64_t generation = m_follower.generation();
    const int first_new = m_follower.update(trace);
    const bool other_run = m_follower.generation() != generation;
    if (!other_run && first_new == trace.n_tokens() && phase == m_phase) return false;
    if (other_run) {
        gs::LayerLoad empty;
        empty.counts.assign(static_cast<size_t>(trace.n_experts()), 0);
        for (auto& loads : m_loads) loads.assign(static_cast<size_t>(trace.n_moe_layers()), empty);
    }
    count(trace, other_run ? 0 : first_new);
    summarize(phase);
    m_phase = phase;
    ++m_revision;
    return true;
}

void RunStats::count(const gs::TraceSnapshot& trace, int first_token) {
    for (int token = first_token; token < trace.n_tokens(); ++token) {
        auto& loads = m_loads[static_cast<size_t>(trace.token(token).phase)];
        for (int m = 0; m < trace.n_moe_layers(); ++m) {
            gs::LayerLoad& load = loads[static_cast<size_t>(m)];
            const auto ids = trace.ids(m, token);
            for (uint16_t id : ids) ++load.counts[id];
            load.n_tokens += 1;
            load.n_assignments += ids.size();
        }
    }
}

void RunStats::summarize(gs::PhaseFilter phase) {
    const size_t n_layers = m_loads[0].size();
    m_layers.assign(n_layers, {});
    m_max_share = 0;
    std::map<std::pair<uint32_t, uint64_t>, gs::UniformNull> nulls;   // layers of one run mostly share T and k
    for (size_t m = 0; m < n_layers; ++m) {
        LayerStats& stats = m_layers[m];
        stats.load.counts.assign(m_loads[0][m].counts.size(), 0);
        for (const gs::Phase part : {gs::Phase::kPrefill, gs::Phase::kDecode}) {
            if (phase == gs::PhaseFilter::kPrefill && part != gs::Phase::kPrefill) continue;
            if (phase == gs::PhaseFilter::kDecode && part != gs::Phase::kDecode) continue;
            const gs::LayerLoad& load = m_loads[static_cast<size_t>(part)][m];
            for (size_t e = 0; e < load.counts.size(); ++e) stats.load.counts[e] += load.counts[e];
            stats.load.n_tokens += load.n_tokens;
            stats.load.n_assignments += load.n_assignments;
        }
        if (stats.load.n_tokens == 0) continue;
        stats.mean_k = static_cast<double>(stats.load.n_assignments) / stats.load.n_tokens;
        stats.balance = gs::balance(stats.load.counts);
        const auto [null, fresh] = nulls.try_emplace({stats.load.n_tokens, stats.load.n_assignments});
        if (fresh) null->second = gs::uniform_null(static_cast<int>(stats.load.counts.size()), stats.mean_k, stats.load.n_tokens);
        stats.null = null->second;
        const uint32_t most = *std::max_element(stats.load.counts.begin(), stats.load.counts.end());
        m_max_share = std::max(m_max_share, static_cast<double>(most) / stats.load.n_tokens);
    }
}

MetricFact fact_of(BalanceMetric metric) {
    switch (metric) {
        case BalanceMetric::kEntropy: return {"Entropy", "H(u) / ln E, with u = counts / Σ counts", "0 to 1; 1 = perfectly even"};
        case BalanceMetric::kEffective: return {"Effective experts", "exp H(u)", "1 to E; E = perfectly even"};
        case BalanceMetric::kCv: return {"CV", "standard deviation / mean of the counts", "0 to √(E−1); 0 = perfectly even"};
        case BalanceMetric::kGini: return {"Gini", "Σ (2i − E − 1) c(i) / (E Σ c), counts c sorted ascending", "0 to (E−1)/E; 0 = perfectly even"};
        case BalanceMetric::kMaxVio: return {"MaxVio", "(largest count − mean) / mean", "0 to E−1; 0 = perfectly even"};
        case BalanceMetric::kIdle: break;
    }
    return {"Idle", "experts that received no token", "0 to E−k"};
}

double value_of(BalanceMetric metric, const LayerStats& stats) {
    if (stats.load.n_tokens == 0) return kNoValue;
    switch (metric) {
        case BalanceMetric::kEntropy: return stats.balance.entropy;
        case BalanceMetric::kEffective: return stats.balance.effective_experts;
        case BalanceMetric::kCv: return stats.balance.cv;
        case BalanceMetric::kGini: return stats.balance.gini;
        case BalanceMetric::kMaxVio: return stats.balance.max_vio;
        case BalanceMetric::kIdle: break;
    }
    return stats.balance.n_idle;
}

double null_of(BalanceMetric metric, const LayerStats& stats) {
    if (stats.load.n_tokens == 0) return kNoValue;
    const auto n_experts = static_cast<double>(stats.load.counts.size());
    // Var(c) = T p (1 − p) with p = k/E, and the mean count T p is exact.
    const double p = stats.null.share;
    const double cv = std::sqrt(std::max(0.0, 1 - p) / (p * stats.load.n_tokens));
    switch (metric) {
        case BalanceMetric::kEntropy: return stats.null.entropy;
        case BalanceMetric::kEffective: return std::exp(stats.null.entropy * std::log(n_experts));
        case BalanceMetric::kCv: return cv;
        case BalanceMetric::kGini: return cv * std::numbers::inv_sqrtpi;                     // mean difference of a normal: 2 SD / √π
        case BalanceMetric::kMaxVio: {
            if (n_experts < 2) return 0;
            // Largest of E normals: upper quantile at 1/E, first-order extreme-value correction by Euler's constant (Gumbel).
            const double b = std::sqrt(2 * std::log(n_experts));
            const double b_fine = b - (std::log(std::log(n_experts)) + std::log(4 * std::numbers::pi)) / (2 * b);
            return cv * std::max(0.0, b_fine + std::numbers::egamma / b);
        }
        case BalanceMetric::kIdle: break;
    }
    return n_experts * stats.null.idle_share;
}

std::vector<int> order_by_load(const gs::LayerLoad& load) {
    std::vector<int> order(load.counts.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return load.counts[static_cast<size_t>(a)] > load.counts[static_cast<size_t>(b)]; });
    return order;
}

}  // namespace app
