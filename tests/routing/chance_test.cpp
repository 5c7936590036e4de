#include "engine/routing/chance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
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

/// Every subset of n of the values.
template <class Visit>
void for_every_draw(const std::vector<float>& values, size_t n, Visit visit) {
    for (uint32_t set = 0; set < 1u << values.size(); ++set) {
        if (static_cast<size_t>(std::popcount(set)) != n) continue;
        std::vector<double> drawn;
        for (size_t i = 0; i < values.size(); ++i)
            if (set >> i & 1) drawn.push_back(static_cast<double>(values[i]));
        visit(drawn);
    }
}

TEST(Chance, MeanAndLargestOfDrawnValuesAreThoseOfAllDraws) {
    const std::vector<float> values = {0.5f, 3, 1.25f, 0.75f, 2, 7, 1, 0.25f, 1.5f, 12, 2};
    const DrawnValues population(values);
    int n_expanded = 0;
    for (size_t n = 1; n <= values.size(); ++n) {
        std::vector<double> means, largest;
        for_every_draw(values, n, [&](const std::vector<double>& drawn) {
            means.push_back(std::accumulate(drawn.begin(), drawn.end(), 0.0) / static_cast<double>(n));
            largest.push_back(*std::max_element(drawn.begin(), drawn.end()));
        });
        const double all = static_cast<double>(means.size());
        const double mean = std::accumulate(means.begin(), means.end(), 0.0) / all;
        double variance = 0, third = 0;
        for (const double m : means) variance += std::pow(m - mean, 2) / all, third += std::pow(m - mean, 3) / all;
        const double skewness = variance > 1e-12 ? third / std::pow(variance, 1.5) : 0, z = 1.959964;
        const auto [least, most] = std::minmax_element(means.begin(), means.end());
        const ChanceNull null = population.mean_of(static_cast<uint32_t>(n));
        EXPECT_NEAR(null.mean, mean, 1e-12);
        EXPECT_TRUE(null.band.holds(mean)) << n;
        n_expanded += std::abs(skewness) < 1;
        if (std::abs(skewness) < 1) {
            EXPECT_NEAR(null.band.low, std::max(*least, mean + std::sqrt(variance) * (-z + skewness * (z * z - 1) / 6)), 1e-6) << n;
            EXPECT_NEAR(null.band.high, std::min(*most, mean + std::sqrt(variance) * (z + skewness * (z * z - 1) / 6)), 1e-6) << n;
        }
        std::sort(largest.begin(), largest.end());
        const ChanceNull top = population.largest_of(static_cast<uint32_t>(n));
        EXPECT_NEAR(top.mean, std::accumulate(largest.begin(), largest.end(), 0.0) / all, 1e-9) << n;
        // The definition: the first value up to which 2.5 % or 97.5 % of the draws lie. Half a draw of slack against rounding.
        const auto reached = [&](double share) { return largest[static_cast<size_t>(std::max(0.0, std::ceil(share * all - 1e-6) - 1))]; };
        EXPECT_EQ(top.band.low, reached(0.025)) << n;
        EXPECT_EQ(top.band.high, reached(0.975)) << n;
    }
    EXPECT_GE(n_expanded, 5) << "of few values drawn the skewness is larger";
}

TEST(Chance, MeansOfDrawnValuesLieInTheBandAsOftenAsItSays) {
    std::mt19937_64 random(5);
    std::lognormal_distribution<float> norm(0, 0.5f);
    std::vector<float> values(4000);
    for (float& v : values) v = norm(random);
    for (const bool far : {false, true}) {
        for (size_t i = 0; far && i < 8; ++i) values[i] = 100 + static_cast<float>(i);   // as the first tokens of texts have
        const DrawnValues population(values);
        for (const uint32_t n : {4u, 40u, 400u, 3000u}) {
            const ChanceNull null = population.mean_of(n);
            std::vector<float> order = values;
            constexpr int kDraws = 3000;
            int inside = 0;
            double sum = 0;
            for (int i = 0; i < kDraws; ++i) {
                for (size_t j = 0; j < n; ++j) std::swap(order[j], order[j + random() % (order.size() - j)]);   // the first n of a shuffle
                const double mean = std::accumulate(order.begin(), order.begin() + n, 0.0) / n;
                inside += null.band.holds(mean);
                sum += mean / kDraws;
            }
            EXPECT_NEAR(sum, null.mean, 0.08 * null.mean);
            EXPECT_GT(inside, (far ? 0.92 : 0.935) * kDraws) << n << ' ' << far;   // of a few hundred draws: one per cent of noise
            EXPECT_LT(inside, 0.975 * kDraws) << n << ' ' << far;
        }
    }
}

TEST(Chance, DrawnValuesThatAreEqualOrAllDrawnLeaveNothingToChance) {
    const std::vector<float> same(7, 0.3f), some = {1, 2, 4};
    const ChanceNull of_same = DrawnValues(same).mean_of(3);
    EXPECT_NEAR(of_same.band.high - of_same.band.low, 0, 1e-8);
    const double one = static_cast<double>(0.3f);
    EXPECT_TRUE(of_same.band.holds((one + one + one) / 3)) << "summed in another order";
    EXPECT_TRUE(DrawnValues(some).mean_of(3).band.holds(7.0 / 3));
    EXPECT_EQ(DrawnValues(some).largest_of(3).band.low, 4);
    EXPECT_EQ(DrawnValues(some).largest_of(3).mean, 4);
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
