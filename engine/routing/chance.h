// What chance alone gives: 95 % bands of counts in closed form, and shuffles that repeat exactly. Every figure about experts is shown beside one of these.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace gs {

/// The central 95 %, both ends included.
struct Band {
    double low = 0, high = 0;
    bool holds(double value) const { return low <= value && value <= high; }
    Band divided_by(double n) const { return n > 0 ? Band{low / n, high / n} : Band{}; }
};

/// Count of successes in n trials of probability p.
Band binomial_band(uint32_t n, double p);
/// Count of marked ones among n_drawn, drawn without replacement from n_all of which n_marked are.
Band hypergeometric_band(uint32_t n_all, uint32_t n_marked, uint32_t n_drawn);

/// A figure by chance alone: expectation and central 95 %.
struct ChanceNull {
    double mean = 0;
    Band band;
    ChanceNull times(double n) const { return {mean * n, {band.low * n, band.high * n}}; }
};

/// N values, of which n are drawn at random without replacement.
class DrawnValues {
public:
    explicit DrawnValues(std::span<const float> values);
    /// Mean of n drawn ones, 0 < n ≤ N. With μ, σ², γ the population's mean, variance and skewness (Cochran, Sampling Techniques, chapter 2):
    /// E = μ, Var = σ²/n · (N − n)/(N − 1), skewness g = γ (N − 2n)/(N − 2) · √((N − 1)/(n (N − n))). Band: E + √Var (z + g (z² − 1)/6), z = ±1.96
    /// (Cornish-Fisher), within the means of the n smallest and of the n largest. Where |g| > 1, for a few values lie far from all others, that expansion
    /// does not hold: the band is then that of 200 to 600 draws, the same ones each time.
    ChanceNull mean_of(uint32_t n) const;
    /// The largest of n drawn ones, exact: P(largest ≤ r-th smallest) = C(r, n)/C(N, n).
    ChanceNull largest_of(uint32_t n) const;

private:
    std::vector<double> m_sorted;            ///< smallest first
    std::vector<double> m_sums;              ///< [N + 1] of the r smallest
    double m_variance = 0, m_skewness = 0;
};

/// What shuffles gave: mean and central 95 %. n = 0: none were made.
struct ShuffleNull {
    int n = 0;
    double mean = 0;
    Band band;
};
ShuffleNull summarise(std::vector<double> samples);

/// Fisher-Yates over a fixed generator: the same on every machine, which std::shuffle is not.
class Shuffler {
public:
    explicit Shuffler(uint64_t seed) : m_random(seed) {}
    /// 0..n-1, n > 0.
    uint64_t below(uint64_t n) { return m_random() % n; }
    template <class T>
    void shuffle(std::span<T> values) {
        for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
    }

private:
    std::mt19937_64 m_random;
};

}  // namespace gs
