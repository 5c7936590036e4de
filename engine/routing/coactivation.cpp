#include "engine/routing/coactivation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"

namespace gs {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// x with x_i Σ_{j≠i} x_j = rows_i. Newton-free: each step puts one row right, damped where a single expert is in nearly every pair.
std::vector<double> quasi_independent(const std::vector<double>& rows) {
    double total = 0;
    for (const double r : rows) total += r;
    std::vector<double> x(rows.size(), 0.0);
    if (total == 0) return x;
    for (size_t i = 0; i < rows.size(); ++i) x[i] = rows[i] / std::sqrt(total);
    constexpr int kMostRounds = 500;
    for (int round = 0; round < kMostRounds; ++round) {
        double sum = 0, change = 0;
        for (const double v : x) sum += v;
        for (size_t i = 0; i < x.size(); ++i) {
            if (rows[i] == 0) continue;
            const double others = sum - x[i];
            if (others <= 0) return std::vector<double>(rows.size(), 0.0);
            const double next = std::sqrt(x[i] * rows[i] / others);
            change = std::max(change, std::abs(next - x[i]) / next);
            sum += next - x[i];
            x[i] = next;
        }
        if (change < 1e-10) break;
    }
    return x;
}

}  // namespace

const char* name_of(PairMode mode) { return mode == PairMode::kAll ? "all pairs" : "rank-adjacent pairs"; }

double CoActivation::share(int i, int j) const {
    const uint32_t n = tokens[static_cast<size_t>(i)];
    return i == j || n == 0 ? kNan : static_cast<double>(pairs[at(i, j)]) / n;
}

double CoActivation::expected_share(int i, int j) const {
    const uint32_t n = tokens[static_cast<size_t>(i)];
    return i == j || n == 0 ? kNan : std::min(1.0, expected[at(i, j)] / n);
}

double CoActivation::ratio(int i, int j) const { return expected[at(i, j)] > 0 ? pairs[at(i, j)] / expected[at(i, j)] : kNan; }

double CoActivation::jaccard(int i, int j) const {
    const double both = pairs[at(i, j)], either = static_cast<double>(tokens[static_cast<size_t>(i)]) + tokens[static_cast<size_t>(j)] - both;
    return i == j || either == 0 ? kNan : both / either;
}

double CoActivation::lift(int i, int j) const {
    const double product = static_cast<double>(tokens[static_cast<size_t>(i)]) * tokens[static_cast<size_t>(j)];
    return i == j || product == 0 ? kNan : pairs[at(i, j)] * static_cast<double>(n_tokens) / product;
}

Band CoActivation::band(int i, int j) const {
    const uint32_t n = tokens[static_cast<size_t>(i)];
    return i == j || n == 0 ? Band{} : binomial_band(n, expected_share(i, j)).divided_by(n);
}

void CoActivation::count_beyond(int& beyond, int& all) const {
    beyond = all = 0;
    for (int i = 0; i < n_experts; ++i)
        for (int j = i + 1; j < n_experts; ++j) {
            // Of the two ways to read a pair the rarer expert's has the more to say: its band is the hypergeometric one's neighbour.
            const bool rarer_first = tokens[static_cast<size_t>(i)] <= tokens[static_cast<size_t>(j)];
            const int a = rarer_first ? i : j, b = rarer_first ? j : i;
            if (tokens[static_cast<size_t>(a)] == 0) continue;
            ++all;
            beyond += !band(a, b).holds(share(a, b));
        }
}

CoActivation co_activation(const LayerRoutes& routes, PairMode mode) {
    const auto n = static_cast<size_t>(routes.n_experts);
    CoActivation out{.mode = mode, .n_experts = routes.n_experts, .n_tokens = static_cast<uint32_t>(routes.n_tokens())};
    out.pairs.assign(n * n, 0);
    out.tokens.assign(n, 0);
    for (int t = 0; t < routes.n_tokens(); ++t) {
        const auto ids = routes.of(t);
        for (size_t a = 0; a < ids.size(); ++a) {
            ++out.tokens[ids[a]];
            const size_t end = mode == PairMode::kAll ? ids.size() : std::min(ids.size(), a + 2);
            for (size_t b = a + 1; b < end; ++b) {
                ++out.pairs[ids[a] * n + ids[b]];
                ++out.pairs[ids[b] * n + ids[a]];
            }
        }
    }
    std::vector<double> rows(n);
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < n; ++j) rows[i] += out.pairs[i * n + j];
    const std::vector<double> x = quasi_independent(rows);
    out.expected.assign(n * n, 0.0);
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < n; ++j) out.expected[i * n + j] = i == j ? 0 : x[i] * x[j];
    const double k = routes.mean_k(), others = routes.n_experts - 1;
    if (others > 0 && k > 0) out.uniform = mode == PairMode::kAll ? (k - 1) / others : 2 * (k - 1) / (k * others);
    return out;
}

double CrossLayerFlow::share(int e, int next) const {
    const uint32_t n = from[static_cast<size_t>(e)];
    return n == 0 ? kNan : static_cast<double>(pairs[at(e, next)]) / n;
}

double CrossLayerFlow::expected_share(int next) const { return n_tokens > 0 ? static_cast<double>(to[static_cast<size_t>(next)]) / n_tokens : kNan; }

double CrossLayerFlow::lift(int e, int next) const {
    const double expected = expected_share(next);
    return expected > 0 ? share(e, next) / expected : kNan;
}

Band CrossLayerFlow::band(int e, int next) const {
    const uint32_t n = from[static_cast<size_t>(e)];
    return hypergeometric_band(n_tokens, to[static_cast<size_t>(next)], n).divided_by(n);
}

void CrossLayerFlow::count_beyond(int& beyond, int& all) const {
    beyond = all = 0;
    for (int e = 0; e < n_experts; ++e)
        for (int next = 0; next < n_experts; ++next) {
            if (from[static_cast<size_t>(e)] == 0 || to[static_cast<size_t>(next)] == 0) continue;
            ++all;
            beyond += !band(e, next).holds(share(e, next));
        }
}

CrossLayerFlow cross_layer_flow(const LayerRoutes& from, const LayerRoutes& to) {
    GS_CHECK(from.n_tokens() == to.n_tokens() && from.n_experts == to.n_experts, "two layers of the same tokens");
    const auto n = static_cast<size_t>(from.n_experts);
    CrossLayerFlow out{.n_experts = from.n_experts, .n_tokens = static_cast<uint32_t>(from.n_tokens())};
    out.pairs.assign(n * n, 0);
    out.from.assign(n, 0);
    out.to.assign(n, 0);
    for (int t = 0; t < from.n_tokens(); ++t) {
        for (const uint16_t e : from.of(t)) {
            ++out.from[e];
            for (const uint16_t next : to.of(t)) ++out.pairs[e * n + next];
        }
        for (const uint16_t next : to.of(t)) ++out.to[next];
    }
    if (n > 0) out.uniform = to.mean_k() / static_cast<double>(n);
    return out;
}

}  // namespace gs
