#include "engine/routing/chance.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace gs {
namespace {

constexpr double kTail = 0.025, kNegligible = 1e-15, kQuantile = 1.959963984540054, kMostSkewness = 1;
constexpr size_t kLeastDraws = 200, kMostDraws = 600, kMostDrawn = 60000;   // of simulations; values drawn in all, where 200 draws allow it
constexpr double kRounding = 1e-9;         // relative: a mean summed in another order is still the mean

/// Of a distribution with one mode on least..most, up(c) = P(c + 1) / P(c): walked from the mode outwards, so that nothing underflows.
template <class Up>
Band central_band(uint32_t least, uint32_t most, uint32_t mode, Up up) {
    std::vector<double> below, above = {1};            // P(mode - 1), P(mode - 2), …; P(mode), P(mode + 1), …: relative to P(mode)
    for (uint32_t c = mode; c < most && above.back() > kNegligible; ++c) above.push_back(above.back() * up(c));
    for (uint32_t c = mode; c > least && (below.empty() || below.back() > kNegligible); --c) below.push_back((below.empty() ? 1 : below.back()) / up(c - 1));
    double sum = 0;
    for (const double p : above) sum += p;
    for (const double p : below) sum += p;
    const auto first = mode - static_cast<uint32_t>(below.size());
    Band band{-1, static_cast<double>(most)};
    double cumulated = 0;
    for (size_t i = 0; i < below.size() + above.size(); ++i) {
        cumulated += (i < below.size() ? below[below.size() - 1 - i] : above[i - below.size()]) / sum;
        const double c = static_cast<double>(first) + static_cast<double>(i);
        if (band.low < 0 && cumulated >= kTail) band.low = c;
        if (cumulated < 1 - kTail) continue;
        band.high = c;
        break;
    }
    return band;
}

}  // namespace

Band binomial_band(uint32_t n, double p) {
    if (n == 0 || p <= 0) return {};
    if (p >= 1) return {static_cast<double>(n), static_cast<double>(n)};
    const auto mode = std::min(n, static_cast<uint32_t>((n + 1.0) * p));
    return central_band(0, n, mode, [&](uint32_t c) { return (n - c) / (c + 1.0) * p / (1 - p); });
}

Band hypergeometric_band(uint32_t n_all, uint32_t n_marked, uint32_t n_drawn) {
    GS_CHECK(n_marked <= n_all && n_drawn <= n_all, "no more can be drawn or marked than there are");
    const uint32_t least = n_drawn + n_marked > n_all ? n_drawn + n_marked - n_all : 0, most = std::min(n_marked, n_drawn);
    const double top = (n_drawn + 1.0) * (n_marked + 1.0) / (n_all + 2.0);
    const uint32_t mode = std::clamp(static_cast<uint32_t>(top), least, most);
    return central_band(least, most, mode, [&](uint32_t c) {
        return (n_marked - c) / (c + 1.0) * (n_drawn - c) / (static_cast<double>(n_all) - n_marked - n_drawn + c + 1.0);
    });
}

DrawnValues::DrawnValues(std::span<const float> values) : m_sorted(values.begin(), values.end()), m_sums(1, 0.0) {
    std::sort(m_sorted.begin(), m_sorted.end());
    for (const double v : m_sorted) m_sums.push_back(m_sums.back() + v);
    const double n = static_cast<double>(m_sorted.size());
    double third = 0;
    for (const double v : m_sorted) {
        const double away = v - m_sums.back() / n;
        m_variance += away * away / n;
        third += away * away * away / n;
    }
    if (m_variance > 0) m_skewness = third / std::pow(m_variance, 1.5);
}

/// Of the mean of n of the values. Beginnings of shuffles, each of the order that the one before left; indices by multiplication, for divisions would take
/// most of the time.
static Band simulated_band(std::vector<double> order, uint32_t n) {
    std::vector<double> means(std::clamp(kMostDrawn / n, kLeastDraws, kMostDraws));
    std::mt19937 random(n);
    for (double& mean : means) {
        for (size_t i = 0; i < n; ++i) {
            std::swap(order[i], order[i + (static_cast<uint64_t>(random()) * (order.size() - i) >> 32)]);
            mean += order[i];
        }
        mean /= n;
    }
    return summarise(std::move(means)).band;
}

ChanceNull DrawnValues::mean_of(uint32_t n) const {
    GS_CHECK(n > 0 && n <= m_sorted.size(), "some are drawn, and no more than there are");
    const double all = static_cast<double>(m_sorted.size()), drawn = n, mean = m_sums.back() / all;
    double sd = 0, skewness = 0;
    if (n < m_sorted.size()) {
        sd = std::sqrt(m_variance / drawn * (all - drawn) / (all - 1));
        if (m_sorted.size() > 2) skewness = m_skewness * (all - 2 * drawn) / (all - 2) * std::sqrt((all - 1) / (drawn * (all - drawn)));
    }
    const double shift = skewness * (kQuantile * kQuantile - 1) / 6;
    const double least = m_sums[n] / drawn, most = (m_sums.back() - m_sums[m_sorted.size() - n]) / drawn;
    const Band expanded{std::max(mean + sd * (shift - kQuantile), least), std::min(mean + sd * (shift + kQuantile), most)};
    const Band band = std::abs(skewness) > kMostSkewness ? simulated_band(m_sorted, n) : expanded;
    return {mean, {band.low - kRounding * std::abs(band.low), band.high + kRounding * std::abs(band.high)}};
}

ChanceNull DrawnValues::largest_of(uint32_t n) const {
    GS_CHECK(n > 0 && n <= m_sorted.size(), "some are drawn, and no more than there are");
    ChanceNull null{0, {m_sorted[n - 1], m_sorted.back()}};
    // From the largest down: p is the chance that the r-th smallest is the largest drawn, at_most that it or a smaller one is.
    double p = n / static_cast<double>(m_sorted.size()), at_most = 1;
    for (size_t r = m_sorted.size(); r >= n && at_most > kNegligible; --r) {
        null.mean += p * m_sorted[r - 1];
        if (at_most >= 1 - kTail) null.band.high = m_sorted[r - 1];
        if (at_most >= kTail) null.band.low = m_sorted[r - 1];
        at_most -= p;
        p *= static_cast<double>(r - n) / static_cast<double>(std::max<size_t>(r - 1, 1));
    }
    return null;
}

ShuffleNull summarise(std::vector<double> samples) {
    ShuffleNull null;
    null.n = static_cast<int>(samples.size());
    if (samples.empty()) return null;
    std::sort(samples.begin(), samples.end());
    for (const double value : samples) null.mean += value / static_cast<double>(samples.size());
    // Outwards, so that few samples give a wide band rather than a narrow one.
    const double last = static_cast<double>(samples.size() - 1);
    null.band = {samples[static_cast<size_t>(std::floor(kTail * last))], samples[static_cast<size_t>(std::ceil((1 - kTail) * last))]};
    return null;
}

}  // namespace gs
