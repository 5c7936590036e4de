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
