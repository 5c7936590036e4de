#include "engine/routing/metrics.h"

#include <algorithm>
#include <bitset>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/core/check.h"

namespace gs {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Up to here the binomial band is exact; beyond, the normal approximation is off by less than a token.
constexpr uint32_t kExactBand = 20000;

bool counts_in(PhaseFilter filter, Phase phase) {
    if (filter == PhaseFilter::kBoth) return true;
    return (filter == PhaseFilter::kPrefill) == (phase == Phase::kPrefill);
}

double gini(std::span<const uint32_t> counts, double sum) {
    std::vector<uint32_t> sorted(counts.begin(), counts.end());
    std::sort(sorted.begin(), sorted.end());
    const auto n = static_cast<double>(sorted.size());
    double weighted = 0;
    for (size_t i = 0; i < sorted.size(); ++i) weighted += (2.0 * static_cast<double>(i + 1) - n - 1) * sorted[i];
    return weighted / (n * sum);
}

/// Smallest c with P(X <= c) >= low, and the same for high, of a binomial of n trials.
std::pair<double, double> binomial_quantiles(uint32_t n, double p, double low, double high) {
    if (n > kExactBand) {
        const double sd = std::sqrt(n * p * (1 - p));
        return {std::max(0.0, n * p - 1.96 * sd), std::min<double>(n, n * p + 1.96 * sd)};
    }
    double below = 0, c_low = -1;
    for (uint32_t c = 0; c <= n; ++c) {
        const double ways = std::lgamma(n + 1.0) - std::lgamma(c + 1.0) - std::lgamma(n - c + 1.0);
        below += std::exp(ways + c * std::log(p) + (n - c) * std::log1p(-p));
        if (c_low < 0 && below >= low) c_low = c;
        if (below >= high) return {std::max(c_low, 0.0), c};
    }
    return {std::max(c_low, 0.0), n};
}

double value_or_lowest(float logit) { return std::isnan(logit) ? -kInfinity : logit; }

/// a - b, where the difference of two equal infinities is no margin at all.
double margin(double a, double b) { return a == b ? 0 : a - b; }

}  // namespace

LayerLoad layer_load(const TraceSnapshot& trace, int moe_layer, PhaseFilter phase, int first_token, int last_token) {
    LayerLoad out;
    out.counts.assign(static_cast<size_t>(trace.n_experts()), 0);
    const int last = last_token < 0 ? trace.n_tokens() - 1 : std::min(last_token, trace.n_tokens() - 1);
    for (int token = std::max(first_token, 0); token <= last; ++token) {
        if (!counts_in(phase, trace.token(token).phase)) continue;
        const auto ids = trace.ids(moe_layer, token);
        for (uint16_t id : ids) ++out.counts[id];
        ++out.n_tokens;
        out.n_assignments += ids.size();
    }
    return out;
}

BalanceMetrics balance(std::span<const uint32_t> counts) {
    BalanceMetrics out;
    const auto n = static_cast<double>(counts.size());
    double sum = 0, squares = 0;
    uint32_t top = 0;
    for (uint32_t c : counts) {
        sum += c;
        squares += static_cast<double>(c) * c;
        top = std::max(top, c);
        out.n_idle += c == 0;
    }
    if (sum == 0) return out;
    double nats = 0;
    for (uint32_t c : counts) {
        if (c > 0) nats -= c / sum * std::log(c / sum);
    }
    const double mean = sum / n;
    out.entropy = counts.size() > 1 ? nats / std::log(n) : 1;
    out.effective_experts = std::exp(nats);
    out.cv = std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean;
    out.gini = gini(counts, sum);
    out.jain = sum * sum / (n * squares);
    out.max_vio = top / mean - 1;
    return out;
}

UniformNull uniform_null(int n_experts, double k, uint32_t n_tokens) {
    GS_CHECK(n_experts >= 1 && k >= 0 && k <= n_experts, "a router uses at most E experts");
    UniformNull out;
    if (k == 0) {   // no token was counted, or a capacity dropped all assignments
        out.idle_share = 1;
        out.band_high = n_tokens > 0 ? 0 : 1;
        return out;
    }
    const double q = k / n_experts, n = n_experts;
    out.share = out.agreement = q;
    out.band_high = 1;
    out.idle_share = std::pow(1 - q, n_tokens);
    if (n_tokens > 0 && q < 1) {
        const auto [low, high] = binomial_quantiles(n_tokens, q, 0.025, 0.975);
        out.band_low = low / n_tokens;
        out.band_high = high / n_tokens;
    } else if (n_tokens > 0) {
        out.band_low = 1;
    }
    // Each count is binomial with variance T q (1 - q), and H(u) falls by half the relative variance of a share, summed over the experts:
    // (E - k) / (2 T k). For k = 1 that is the (E - 1) / (2 T) of metrics.md; drawing k without replacement varies less.
    if (n_experts > 1 && n_tokens > 0) {
        const double least = std::log(std::max(k, 1.0)) / std::log(n);
        out.entropy = std::max(least, 1 - (n - k) / (2.0 * n_tokens * k) / std::log(n));
    } else {
        out.entropy = n_tokens > 0 ? 1 : 0;
    }
    // C(E-k, k) / C(E, k), through the gamma function so that a mean k has a value too.
    out.consecutive_overlap = 1;
    if (2 * k <= n) {
        out.consecutive_overlap -= std::exp(2 * std::lgamma(n - k + 1) - std::lgamma(n - 2 * k + 1) - std::lgamma(n + 1));
    }
    return out;
}

double router_entropy(std::span<const float> preference) {
    double sum = 0, weighted = 0;
    for (float p : preference) {
        if (!(p > 0)) continue;
        sum += p;
        weighted += p * std::log(static_cast<double>(p));
    }
    return sum > 0 ? std::log(sum) - weighted / sum : 0;
}

double selection_margin(std::span<const float> logits, std::span<const uint16_t> ids) {
    GS_CHECK(logits.size() <= 1024, "at most 1024 experts");
    std::bitset<1024> chosen;
    double worst = kInfinity, best = -kInfinity;
    for (uint16_t id : ids) {
        chosen.set(id);
        worst = std::min(worst, value_or_lowest(logits[id]));
    }
    if (chosen.count() == logits.size()) return kInfinity;
    for (size_t e = 0; e < logits.size(); ++e) {
        if (!chosen[e]) best = std::max(best, value_or_lowest(logits[e]));
    }
    return margin(worst, best);
}

double top1_margin(std::span<const float> logits) {
    double first = -kInfinity, second = -kInfinity;
    for (float z : logits) {
        const double value = value_or_lowest(z);
        if (value > first) {
            second = first;
            first = value;
        } else {
            second = std::max(second, value);
        }
    }
    return logits.size() < 2 ? kInfinity : margin(first, second);
}

size_t shared_ids(std::span<const uint16_t> a, std::span<const uint16_t> b) {
    std::bitset<1024> in_a;
    for (const uint16_t id : a) in_a.set(id);
    return static_cast<size_t>(std::count_if(b.begin(), b.end(), [&](uint16_t id) { return in_a[id]; }));
}

double route_agreement(const TraceSnapshot& a, const TraceSnapshot& b, int moe_layer, int n_tokens) {
    if (n_tokens <= 0) return kNan;
    GS_CHECK(a.n_experts() == b.n_experts(), "agreement needs two runs of routers of the same size");
    double sum = 0;
    for (int token = 0; token < n_tokens; ++token) {
        const auto x = a.ids(moe_layer, token), y = b.ids(moe_layer, token);
        const size_t larger = std::max(x.size(), y.size());
        sum += larger > 0 ? static_cast<double>(shared_ids(x, y)) / static_cast<double>(larger) : 1;
    }
    return sum / n_tokens;
}

double jensen_shannon_bits(std::span<const uint32_t> a, std::span<const uint32_t> b) {
    GS_CHECK(a.size() == b.size(), "two loads of the same experts");
    const double sum_a = std::accumulate(a.begin(), a.end(), 0.0), sum_b = std::accumulate(b.begin(), b.end(), 0.0);
    if (sum_a == 0 || sum_b == 0) return kNan;
    double bits = 0;
    for (size_t e = 0; e < a.size(); ++e) {
        const double p = a[e] / sum_a, q = b[e] / sum_b, mean = (p + q) / 2;
        if (p > 0) bits += p / 2 * std::log2(p / mean);
        if (q > 0) bits += q / 2 * std::log2(q / mean);
    }
    return std::max(0.0, bits);
}

}  // namespace gs
