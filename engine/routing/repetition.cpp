#include "engine/routing/repetition.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "engine/core/check.h"
#include "engine/routing/metrics.h"

namespace gs {
namespace {

bool same_first(std::span<const uint16_t> a, std::span<const uint16_t> b) { return !a.empty() && !b.empty() && a[0] == b[0]; }

size_t common(std::span<const uint16_t> a, std::span<const uint16_t> b) {
    size_t n = 0;                            // sets of a few: quicker than marking
    for (const uint16_t x : a) n += std::find(b.begin(), b.end(), x) != b.end();
    return n;
}

double jaccard(std::span<const uint16_t> a, std::span<const uint16_t> b) {
    const size_t n = common(a, b), either = a.size() + b.size() - n;
    return either > 0 ? static_cast<double>(n) / static_cast<double>(either) : 1;
}

/// Shares over consecutive tokens when place t holds token order[t].
void measure_order(const LayerRoutes& routes, std::span<const int16_t> segments, std::span<const int> order, Repetition& out) {
    uint32_t n = 0, first = 0, any = 0;
    for (size_t t = 0; t + 1 < order.size(); ++t) {
        if (segments[t] != segments[t + 1]) continue;
        const auto a = routes.of(order[t]), b = routes.of(order[t + 1]);
        ++n;
        first += same_first(a, b);
        any += common(a, b) > 0;
    }
    out.n_pairs = n;
    out.first = n > 0 ? static_cast<double>(first) / n : 0;
    out.any = n > 0 ? static_cast<double>(any) / n : 0;
}

/// E[J] of two independent uniform sets of k out of n: Σ_o h(o) o / (2k - o), h hypergeometric.
double uniform_jaccard(int n_experts, double mean_k) {
    const int k = static_cast<int>(std::lround(mean_k)), n = n_experts;
    if (k < 1 || k > n) return 0;
    const auto log_choose = [](int a, int b) { return std::lgamma(a + 1.0) - std::lgamma(b + 1.0) - std::lgamma(a - b + 1.0); };
    double sum = 0;
    for (int o = std::max(0, 2 * k - n); o <= k; ++o)
        sum += std::exp(log_choose(k, o) + log_choose(n - k, k - o) - log_choose(n, k)) * o / (2 * k - o);
    return sum;
}

struct Pair {
    int a, b;
};

/// Pairs of each id's occurrences: neighbours first, then those two apart, and so on, up to a limit.
std::vector<std::vector<Pair>> pairs_of_ids(std::span<const int32_t> token_ids, int most) {
    std::map<int32_t, std::vector<int>> places;
    for (size_t t = 0; t < token_ids.size(); ++t) places[token_ids[t]].push_back(static_cast<int>(t));
    std::vector<std::vector<Pair>> out;
    for (const auto& [id, at] : places) {
        if (at.size() < 2) continue;
        std::vector<Pair> pairs;
        for (size_t step = 1; step < at.size() && static_cast<int>(pairs.size()) < most; ++step)
            for (size_t i = 0; i + step < at.size() && static_cast<int>(pairs.size()) < most; ++i) pairs.push_back({at[i], at[i + step]});
        out.push_back(std::move(pairs));
    }
    return out;
}

double mean_jaccard(const LayerRoutes& routes, const std::vector<std::vector<Pair>>& ids, std::span<const int> route_of) {
    double sum = 0;
    for (const std::vector<Pair>& pairs : ids) {
        double of_id = 0;
        for (const Pair& p : pairs) of_id += jaccard(routes.of(route_of[static_cast<size_t>(p.a)]), routes.of(route_of[static_cast<size_t>(p.b)]));
        sum += of_id / static_cast<double>(pairs.size());
    }
    return ids.empty() ? 0 : sum / static_cast<double>(ids.size());
}

}  // namespace

Repetition consecutive_repetition(const LayerRoutes& routes, std::span<const int16_t> segments, int n_shuffles, uint64_t seed) {
    GS_CHECK(segments.size() == static_cast<size_t>(routes.n_tokens()), "a segment for every token");
    Repetition out;
    std::vector<int> order(segments.size());
    std::iota(order.begin(), order.end(), 0);
    measure_order(routes, segments, order, out);
    if (routes.n_experts > 0 && routes.mean_k() > 0) {
        out.uniform_first = 1.0 / routes.n_experts;
        out.uniform_any = uniform_null(routes.n_experts, routes.mean_k(), 0).consecutive_overlap;
    }
    std::vector<double> first, any;
    Shuffler shuffler(seed);
    for (int i = 0; i < n_shuffles; ++i) {
        for (size_t t = 0; t < order.size();) {
            size_t end = t;
            while (end < order.size() && segments[end] == segments[t]) ++end;
            shuffler.shuffle(std::span(order).subspan(t, end - t));
            t = end;
        }
        Repetition drawn;
        measure_order(routes, segments, order, drawn);
        first.push_back(drawn.first);
        any.push_back(drawn.any);
    }
    out.shuffled_first = summarise(std::move(first));
    out.shuffled_any = summarise(std::move(any));
    return out;
}

IdEffect token_id_effect(const LayerRoutes& routes, std::span<const int32_t> token_ids, int pairs_per_id, int n_shuffles, uint64_t seed) {
    GS_CHECK(token_ids.size() == static_cast<size_t>(routes.n_tokens()), "an id for every token");
    const std::vector<std::vector<Pair>> ids = pairs_of_ids(token_ids, pairs_per_id);
    std::vector<int> route_of(token_ids.size());
    std::iota(route_of.begin(), route_of.end(), 0);
    IdEffect out{.n_ids = static_cast<int>(ids.size()), .jaccard = mean_jaccard(routes, ids, route_of), .uniform = uniform_jaccard(routes.n_experts, routes.mean_k())};
    for (const std::vector<Pair>& pairs : ids) {
        out.n_pairs += static_cast<uint32_t>(pairs.size());
        const auto same = std::count_if(pairs.begin(), pairs.end(), [&](const Pair& p) { return same_first(routes.of(p.a), routes.of(p.b)); });
        out.same_first += static_cast<double>(same) / static_cast<double>(pairs.size()) / static_cast<double>(ids.size());
    }
    std::vector<double> samples;
    Shuffler shuffler(seed);
    for (int i = 0; i < n_shuffles; ++i) {
        shuffler.shuffle(std::span(route_of));
        samples.push_back(mean_jaccard(routes, ids, route_of));
    }
    out.shuffled = summarise(std::move(samples));
    return out;
}

}  // namespace gs
