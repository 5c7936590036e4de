// metrics.md 3.1 and 3.2: the figures that follow from the expert counts published with OLMoE (published_counts.txt).
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>
#include <tuple>

#include "engine/routing/metrics.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using Key = std::tuple<std::string, std::string, int>;  // model, domain, layer

const std::map<Key, std::vector<uint32_t>>& published() {
    static const auto counts = [] {
        std::map<Key, std::vector<uint32_t>> out;
        std::istringstream lines(test::read_bytes(test::source("tests/routing/published_counts.txt")));
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with('#')) continue;
            std::istringstream words(line);
            std::string model, domain;
            int layer = 0;
            words >> model >> domain >> layer;
            auto& target = out[{model, domain, layer}];
            for (uint32_t c = 0; words >> c;) target.push_back(c);
        }
        return out;
    }();
    return counts;
}

const std::vector<uint32_t>& counts(const std::string& model, const std::string& domain, int layer) {
    return published().at({model, domain, layer});
}

std::vector<uint32_t> pooled(const std::string& model, int layer) {
    std::vector<uint32_t> out;
    for (const char* domain : {"github", "arxiv", "wikipedia", "book", "c4"}) {
        const auto& c = counts(model, domain, layer);
        out.resize(c.size());
        for (size_t e = 0; e < c.size(); ++e) out[e] += c[e];
    }
    return out;
}

// The tables print three or four decimals: half a unit of the last one.
constexpr double k3 = 5.001e-4, k4 = 5.001e-5;
constexpr double kTokens = 208896;

TEST(PublishedCounts, HoldEveryTokenKTimes) {
    ASSERT_EQ(published().size(), 30u);
    for (const auto& [key, c] : published()) {
        double sum = 0;
        for (uint32_t n : c) sum += n;
        EXPECT_EQ(c.size(), std::get<0>(key) == "olmoe" ? 64u : 8u);
        EXPECT_EQ(sum, kTokens * (c.size() == 64 ? 8 : 2)) << "sum of counts = T k";
    }
}

TEST(PublishedCounts, BalanceOfOlmoeIsThatOfTheTable) {
    struct Row {
        const char* domain;
        int layer;
        double entropy, cv, gini, max_vio, min_over_mean;
        int top;
        double top_share;
    };
    const Row rows[] = {
        {"github", 0, .9610, .661, .291, 4.006, .167, 21, 62.6},  {"github", 7, .8514, 1.349, .584, 5.157, .013, 17, 77.0},
        {"github", 15, .8530, 1.190, .589, 3.509, .007, 30, 56.4}, {"arxiv", 0, .9428, .951, .317, 6.813, .210, 0, 97.7},
        {"arxiv", 7, .8661, 1.277, .552, 5.283, .050, 17, 78.5},   {"arxiv", 15, .8638, 1.250, .562, 6.495, .001, 17, 93.7},
        {"wikipedia", 0, .9389, .898, .349, 5.179, .170, 11, 77.2}, {"wikipedia", 7, .9128, 1.023, .449, 5.780, .064, 27, 84.8},
        {"wikipedia", 15, .8293, 1.301, .633, 3.651, .036, 36, 58.1}, {"book", 0, .9659, .561, .268, 2.632, .047, 28, 45.4},
        {"book", 7, .9298, .840, .414, 3.057, .109, 28, 50.7},     {"book", 15, .9255, .777, .433, 1.928, .029, 45, 36.6},
        {"c4", 0, .9897, .324, .137, 2.017, .300, 41, 37.7},       {"c4", 7, .9817, .402, .212, 1.658, .200, 1, 33.2},
        {"c4", 15, .9683, .512, .288, 1.499, .190, 7, 31.2},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(std::string(row.domain) + " layer " + std::to_string(row.layer));
        const auto& c = counts("olmoe", row.domain, row.layer);
        const BalanceMetrics m = balance(c);
        EXPECT_NEAR(m.entropy, row.entropy, k4);
        EXPECT_NEAR(m.cv, row.cv, k3);
        EXPECT_NEAR(m.gini, row.gini, k3);
        EXPECT_NEAR(m.max_vio, row.max_vio, k3);
        const auto top = std::max_element(c.begin(), c.end());
        EXPECT_EQ(top - c.begin(), row.top);
        EXPECT_NEAR(100 * *top / kTokens, row.top_share, 0.05001);
        EXPECT_NEAR(*std::min_element(c.begin(), c.end()) / (kTokens * 8 / 64), row.min_over_mean, k3);
        EXPECT_NEAR(m.jain, 1 / (1 + m.cv * m.cv), 1e-12) << "Jain = 1 / (1 + CV^2)";
        EXPECT_NEAR(m.effective_experts, std::exp(m.entropy * std::log(64.0)), 1e-9);
    }
}

TEST(PublishedCounts, PooledDomainsAreMoreBalanced) {
    const int layers[] = {0, 7, 15};
    const double entropy[] = {.9876, .9751, .9715}, cv[] = {.340, .496, .522}, max_vio[] = {1.098, 1.751, 1.727},
                 jain[] = {.8966, .8027, .7859};
    for (int i = 0; i < 3; ++i) {
        const BalanceMetrics m = balance(pooled("olmoe", layers[i]));
        EXPECT_NEAR(m.entropy, entropy[i], k4);
        EXPECT_NEAR(m.cv, cv[i], k3);
        EXPECT_NEAR(m.max_vio, max_vio[i], k3);
        EXPECT_NEAR(m.jain, jain[i], k4);
    }
    const double mixtral[] = {.183, .070, .149};
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(balance(pooled("mixtral", layers[i])).max_vio, mixtral[i], k3);
}

TEST(PublishedCounts, BalanceOfMixtralSpansTheStatedRanges) {
    double entropy[2] = {2, 0}, cv[2] = {9, 0}, max_vio[2] = {9, 0};
    const auto widen = [](double (&range)[2], double value) {
        range[0] = std::min(range[0], value);
        range[1] = std::max(range[1], value);
    };
    for (const auto& [key, c] : published()) {
        if (std::get<0>(key) != "mixtral") continue;
        const BalanceMetrics m = balance(c);
        widen(entropy, m.entropy);
        widen(cv, m.cv);
        widen(max_vio, m.max_vio);
    }
    EXPECT_NEAR(entropy[0], .9824, k4);
    EXPECT_NEAR(entropy[1], .9996, k4);
    EXPECT_NEAR(cv[0], .041, k3);
    EXPECT_NEAR(cv[1], .248, k3);
    EXPECT_NEAR(max_vio[0], .076, k3);
    EXPECT_NEAR(max_vio[1], .328, k3);
    EXPECT_NEAR(100.0 * counts("mixtral", "github", 15)[5] / kTokens, 33.2, 0.05001);
}

TEST(PublishedCounts, DomainsDivergeAsInTheTable) {
    const std::pair<const char*, const char*> pairs[] = {{"github", "arxiv"},   {"github", "book"}, {"arxiv", "book"},
                                                         {"wikipedia", "book"}, {"book", "c4"},     {"wikipedia", "c4"}};
    const std::tuple<const char*, int, std::array<double, 6>> rows[] = {
        {"olmoe", 0, {.065, .120, .143, .132, .046, .077}},   {"olmoe", 7, {.057, .398, .366, .260, .134, .131}},
        {"olmoe", 15, {.105, .498, .387, .417, .077, .337}},  {"mixtral", 0, {.001, .003, .003, .004, .002, .000}},
        {"mixtral", 7, {.003, .005, .004, .003, .001, .001}}, {"mixtral", 15, {.005, .014, .009, .006, .004, .001}},
    };
    for (const auto& [model, layer, wanted] : rows) {
        for (size_t i = 0; i < wanted.size(); ++i) {
            SCOPED_TRACE(std::string(model) + " layer " + std::to_string(layer) + " " + pairs[i].first + "-" + pairs[i].second);
            EXPECT_NEAR(jensen_shannon_bits(counts(model, pairs[i].first, layer), counts(model, pairs[i].second, layer)), wanted[i], k3);
        }
    }
}

}  // namespace
}  // namespace gs
