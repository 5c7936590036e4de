#include "engine/routing/chance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/routing/metrics.h"

namespace gs {
namespace {

double choose(int n, int k) { return k < 0 || k > n ? 0 : std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0)); }

/// The definition: first counts at which the cumulated probability reaches 2.5 % and 97.5 %.
Band by_summing(const std::vector<double>& p) {
    Band band{-1, static_cast<double>(p.size()) - 1};
    double sum = 0;
    for (size_t c = 0; c < p.size(); ++c) {
        sum += p[c];
        if (band.low < 0 && sum >= 0.025) band.low = static_cast<double>(c);
        if (sum >= 0.975) {
            band.high = static_cast<double>(c);
            break;
        }
    }
    return band;
}

TEST(Chance, BandsAreThoseOfTheSummedDistributions) {
    for (const int all : {1, 7, 40, 90})
        for (int marked = 0; marked <= all; marked += std::max(1, all / 9))
            for (int drawn = 0; drawn <= all; drawn += std::max(1, all / 11)) {
                std::vector<double> p;
                for (int c = 0; c <= drawn; ++c) p.push_back(choose(marked, c) * choose(all - marked, drawn - c) / choose(all, drawn));
                const Band band = hypergeometric_band(static_cast<uint32_t>(all), static_cast<uint32_t>(marked), static_cast<uint32_t>(drawn)), expected = by_summing(p);
                EXPECT_EQ(band.low, expected.low) << all << ' ' << marked << ' ' << drawn;
                EXPECT_EQ(band.high, expected.high) << all << ' ' << marked << ' ' << drawn;
            }
    for (const int n : {1, 20, 150})
        for (const double q : {0.01, 0.25, 0.6, 0.99}) {
            std::vector<double> p;
            for (int c = 0; c <= n; ++c) p.push_back(choose(n, c) * std::pow(q, c) * std::pow(1 - q, n - c));
            const Band band = binomial_band(static_cast<uint32_t>(n), q), expected = by_summing(p);
            EXPECT_EQ(band.low, expected.low) << n << ' ' << q;
            EXPECT_EQ(band.high, expected.high) << n << ' ' << q;
        }
}

TEST(Chance, LargeCountsAgreeWithTheBandOfLoads) {
    const UniformNull null = uniform_null(16, 4, 10000);
    const Band band = binomial_band(10000, 0.25).divided_by(10000);
    EXPECT_NEAR(band.low, null.band_low, 1e-12);
    EXPECT_NEAR(band.high, null.band_high, 1e-12);
}

TEST(Chance, BandsAreEmptyOrCertainAtTheEnds) {
    EXPECT_EQ(binomial_band(10, 0).high, 0);
    EXPECT_EQ(binomial_band(10, 1).low, 10);
    EXPECT_EQ(hypergeometric_band(10, 10, 4).low, 4);
    EXPECT_EQ(hypergeometric_band(10, 0, 4).high, 0);
    EXPECT_EQ(hypergeometric_band(0, 0, 0).high, 0);
}

TEST(Chance, ShufflesRepeatAndReachEveryOrderAboutEquallyOften) {
    std::vector<int> a = {1, 2, 3, 4, 5, 6}, b = a;
    Shuffler(7).shuffle(std::span(a));
    Shuffler(7).shuffle(std::span(b));
    EXPECT_EQ(a, b);
    std::vector<int> first(4, 0);
    constexpr int kDraws = 40000;
    for (int i = 0; i < kDraws; ++i) {   // a fresh seed each: they must not resemble one another either
        std::vector<int> v = {0, 1, 2, 3};
        Shuffler(static_cast<uint64_t>(i)).shuffle(std::span(v));
        ++first[static_cast<size_t>(v[0])];
    }
    for (const int n : first) EXPECT_NEAR(n, kDraws / 4.0, 4 * std::sqrt(kDraws * 0.25 * 0.75));
}

TEST(Chance, SummariesHoldTheMiddleOfTheSamples) {
    std::vector<double> samples(201);
    std::iota(samples.begin(), samples.end(), 0.0);
    const ShuffleNull null = summarise(samples);
    EXPECT_EQ(null.n, 201);
    EXPECT_DOUBLE_EQ(null.mean, 100);
    EXPECT_EQ(null.band.low, 5);
    EXPECT_EQ(null.band.high, 195);
    EXPECT_EQ(summarise({}).n, 0);
}

}  // namespace
}  // namespace gs
