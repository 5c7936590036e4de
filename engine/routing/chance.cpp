#include "engine/routing/chance.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace gs {
namespace {

constexpr double kTail = 0.025, kNegligible = 1e-15;

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
