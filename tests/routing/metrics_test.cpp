#include "engine/routing/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/support/make_trace.h"

namespace gs {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
using Counts = std::vector<uint32_t>;

TEST(Balance, OfAUniformLoadIsIdeal) {
    const BalanceMetrics m = balance(Counts{7, 7, 7, 7});
    EXPECT_DOUBLE_EQ(m.entropy, 1);
    EXPECT_DOUBLE_EQ(m.effective_experts, 4);
    EXPECT_DOUBLE_EQ(m.cv, 0);
    EXPECT_DOUBLE_EQ(m.gini, 0);
    EXPECT_DOUBLE_EQ(m.jain, 1);
    EXPECT_DOUBLE_EQ(m.max_vio, 0);
    EXPECT_EQ(m.n_idle, 0);
}

TEST(Balance, OfOneExpertTakingAllIsTheOtherEndOfEveryRange) {
    const BalanceMetrics m = balance(Counts{0, 9, 0, 0});
    EXPECT_DOUBLE_EQ(m.entropy, 0);
    EXPECT_DOUBLE_EQ(m.effective_experts, 1);
    EXPECT_DOUBLE_EQ(m.cv, std::sqrt(3.0));
    EXPECT_DOUBLE_EQ(m.gini, 0.75);
    EXPECT_DOUBLE_EQ(m.jain, 0.25);
    EXPECT_DOUBLE_EQ(m.max_vio, 3);
    EXPECT_EQ(m.n_idle, 3);
}

TEST(Balance, OfASmallLoadByHand) {
    const BalanceMetrics m = balance(Counts{1, 3});  // mean 2, SD 1
    EXPECT_DOUBLE_EQ(m.cv, 0.5);
    EXPECT_DOUBLE_EQ(m.gini, 0.25);
    EXPECT_DOUBLE_EQ(m.jain, 0.8);
    EXPECT_DOUBLE_EQ(m.max_vio, 0.5);
    EXPECT_NEAR(m.entropy, -(0.25 * std::log2(0.25) + 0.75 * std::log2(0.75)), 1e-15);
}

TEST(Balance, OfNothingIsZeroAndAllIdle) {
    const BalanceMetrics m = balance(Counts(5, 0));
    EXPECT_EQ(m.entropy, 0);
    EXPECT_EQ(m.n_idle, 5);
    EXPECT_EQ(balance({}).n_idle, 0);
    EXPECT_EQ(balance(Counts{4}).entropy, 1) << "a single expert is as balanced as can be";
}

TEST(LayerLoad, CountsTokensOfThePhaseAndRangeAskedFor) {
    const TraceSnapshot trace = test::make_trace({.n_tokens = 40, .n_layers = 2, .n_prompt = 10, .policy = "k=2"});
    const LayerLoad both = layer_load(trace, 1, PhaseFilter::kBoth), prefill = layer_load(trace, 1, PhaseFilter::kPrefill),
                    decode = layer_load(trace, 1, PhaseFilter::kDecode);
    EXPECT_EQ(both.n_tokens, 40u);
    EXPECT_EQ(prefill.n_tokens, 10u);
    EXPECT_EQ(decode.n_tokens, 30u);
    EXPECT_EQ(prefill.n_assignments, 40u) << "4 of the model's own";
    EXPECT_EQ(decode.n_assignments, 60u) << "2 under the policy";
    for (size_t e = 0; e < both.counts.size(); ++e) EXPECT_EQ(both.counts[e], prefill.counts[e] + decode.counts[e]);
    EXPECT_EQ(std::accumulate(both.counts.begin(), both.counts.end(), uint64_t{0}), both.n_assignments) << "sum of counts = sum of k";
    const LayerLoad first = layer_load(trace, 1, PhaseFilter::kBoth, 3, 3);
    EXPECT_EQ(first.n_tokens, 1u);
    for (uint16_t id : trace.ids(1, 3)) EXPECT_EQ(first.counts[id], 1u);
    EXPECT_EQ(layer_load(trace, 1, PhaseFilter::kBoth, 35, 1000).n_tokens, 5u);
    EXPECT_EQ(layer_load(trace, 1, PhaseFilter::kBoth, -5, 4).n_tokens, 5u);
    EXPECT_EQ(layer_load(trace, 1, PhaseFilter::kBoth, 50).n_tokens, 0u);
}

TEST(UniformNull, IsThatOfTheTableInTheSpecification) {
    struct Row {  // metrics.md section 2, percent
        int n_experts, k;
        double overlap, agreement, idle_20, idle_100;
    };
    const Row rows[] = {{8, 2, 46.4, 25.0, 0.3, 0},      {32, 4, 43.1, 12.5, 6.9, 0},     {64, 8, 67.9, 12.5, 6.9, 0},
                        {64, 6, 46.0, 9.4, 14.0, 0.01},  {128, 8, 41.2, 6.25, 27.5, 0.2}, {256, 8, 22.7, 3.1, 53.0, 4.2},
                        {512, 10, 18.0, 2.0, 67.4, 13.9}};
    for (const Row& row : rows) {
        SCOPED_TRACE(row.n_experts);
        const UniformNull null = uniform_null(row.n_experts, row.k, 20);
        EXPECT_NEAR(100 * null.consecutive_overlap, row.overlap, 0.0501);
        EXPECT_NEAR(100 * null.agreement, row.agreement, 0.0501);
        EXPECT_NEAR(100 * null.idle_share, row.idle_20, 0.0501);
        EXPECT_NEAR(100 * uniform_null(row.n_experts, row.k, 100).idle_share, row.idle_100, 0.0501);
        EXPECT_DOUBLE_EQ(null.share, static_cast<double>(row.k) / row.n_experts);
    }
}

TEST(UniformNull, AtTheEdges) {
    const UniformNull all = uniform_null(8, 8, 10);
    EXPECT_EQ(all.share, 1);
    EXPECT_EQ(all.band_low, 1);
    EXPECT_EQ(all.band_high, 1);
    EXPECT_EQ(all.entropy, 1);
    EXPECT_EQ(all.consecutive_overlap, 1);
    EXPECT_EQ(all.idle_share, 0);
    const UniformNull dropped = uniform_null(8, 0, 10);
    EXPECT_EQ(dropped.share + dropped.band_high + dropped.entropy, 0) << "all assignments dropped";
    EXPECT_EQ(dropped.idle_share, 1);
    const UniformNull none = uniform_null(8, 2, 0);
    EXPECT_EQ(none.band_low, 0);
    EXPECT_EQ(none.band_high, 1);
    EXPECT_EQ(none.idle_share, 1);
    EXPECT_NEAR(uniform_null(16, 4, 1).entropy, 0.5, 1e-12) << "one token of k experts has entropy ln k / ln E";
    EXPECT_EQ(uniform_null(1, 1, 3).entropy, 1);
    EXPECT_GT(uniform_null(16, 2.5, 100).consecutive_overlap, uniform_null(16, 2, 100).consecutive_overlap);
    EXPECT_LT(uniform_null(16, 2.5, 100).consecutive_overlap, uniform_null(16, 3, 100).consecutive_overlap);
}

TEST(UniformNull, BandShrinksAndTheNormalFormJoinsTheExactOne) {
    const UniformNull exact = uniform_null(64, 8, 20000), normal = uniform_null(64, 8, 20001);
    EXPECT_NEAR(exact.band_low, normal.band_low, 2.0 / 20000) << "within two tokens";
    EXPECT_NEAR(exact.band_high, normal.band_high, 2.0 / 20000);
    EXPECT_LT(exact.band_high - exact.band_low, uniform_null(64, 8, 200).band_high - uniform_null(64, 8, 200).band_low);
}

/// A uniform router: k distinct experts of E, drawn anew for every token.
Counts draw_uniform(std::mt19937& random, int n_experts, int k, int n_tokens, double* overlap) {
    Counts counts(static_cast<size_t>(n_experts), 0);
    std::vector<int> ids(static_cast<size_t>(n_experts)), before;
    std::iota(ids.begin(), ids.end(), 0);
    int n_overlap = 0;
    for (int t = 0; t < n_tokens; ++t) {
        for (int j = 0; j < k; ++j) std::swap(ids[j], ids[j + static_cast<int>(random() % static_cast<unsigned>(n_experts - j))]);
        for (int j = 0; j < k; ++j) ++counts[ids[j]];
        n_overlap += std::any_of(before.begin(), before.end(),
                                 [&](int id) { return std::find(ids.begin(), ids.begin() + k, id) != ids.begin() + k; });
        before.assign(ids.begin(), ids.begin() + k);
    }
    *overlap = static_cast<double>(n_overlap) / (n_tokens - 1);
    return counts;
}

TEST(UniformNull, AUniformRandomRouterLandsOnIt) {
    std::mt19937 random(21);
    for (const auto& [n_experts, k, n_tokens] : {std::tuple{16, 4, 100}, {64, 8, 200}, {64, 8, 40}, {8, 1, 300}, {128, 8, 22}}) {
        SCOPED_TRACE(std::to_string(n_experts) + " choose " + std::to_string(k) + ", " + std::to_string(n_tokens) + " tokens");
        constexpr int kRuns = 400;
        const UniformNull null = uniform_null(n_experts, k, static_cast<uint32_t>(n_tokens));
        std::vector<double> entropy, idle, outside, overlap(kRuns);
        for (int run = 0; run < kRuns; ++run) {
            const Counts counts = draw_uniform(random, n_experts, k, n_tokens, &overlap[run]);
            const BalanceMetrics m = balance(counts);
            entropy.push_back(m.entropy);
            idle.push_back(static_cast<double>(m.n_idle) / n_experts);
            outside.push_back(static_cast<double>(std::count_if(counts.begin(), counts.end(), [&](uint32_t c) {
                                  const double share = static_cast<double>(c) / n_tokens;
                                  return share < null.band_low - 1e-12 || share > null.band_high + 1e-12;
                              })) / n_experts);
        }
        // Five standard errors of the mean of the runs.
        const auto mean = [](const std::vector<double>& v) {
            return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
        };
        const auto error = [&](const std::vector<double>& v) {
            double squares = 0;
            for (double x : v) squares += (x - mean(v)) * (x - mean(v));
            return 5 * std::sqrt(squares / static_cast<double>(v.size())) / std::sqrt(static_cast<double>(v.size()));
        };
        EXPECT_NEAR(mean(idle), null.idle_share, error(idle) + 1.0 / (kRuns * n_experts)) << "to one idle expert in all runs";
        EXPECT_NEAR(mean(overlap), null.consecutive_overlap, error(overlap) + 1e-12);
        EXPECT_LE(mean(outside), 0.05 + error(outside)) << "at most 5 % outside the band, fewer because tokens are whole";
        // What the first-order formula leaves out is of second order: about the square of the bias, times a few.
        const double bias = 1 - null.entropy;
        EXPECT_NEAR(mean(entropy), null.entropy, error(entropy) + 3 * bias * bias);
    }
}

TEST(Confidence, EntropyOfThePreference) {
    EXPECT_NEAR(router_entropy(std::vector<float>{0.25f, 0.25f, 0.25f, 0.25f}), std::log(4.0), 1e-12);
    EXPECT_NEAR(router_entropy(std::vector<float>{1, 0, 0}), 0, 1e-12);
    EXPECT_NEAR(router_entropy(std::vector<float>{0.5f, 0.25f, 0.25f}), 1.5 * std::log(2.0), 1e-12);
    EXPECT_NEAR(router_entropy(std::vector<float>{0.9f, 0.9f}), std::log(2.0), 1e-7) << "sigmoids are normalised first";
    EXPECT_EQ(router_entropy(std::vector<float>{0, 0}), 0);
}

TEST(Confidence, MarginsAreInUnitsOfLogits) {
    const std::vector<float> logits = {1, 4, 2.5f, 3};
    EXPECT_DOUBLE_EQ(selection_margin(logits, std::vector<uint16_t>{1, 3}), 0.5);
    EXPECT_DOUBLE_EQ(selection_margin(logits, std::vector<uint16_t>{1, 0}), -2) << "a forced choice has a negative margin";
    EXPECT_EQ(selection_margin(logits, std::vector<uint16_t>{0, 1, 2, 3}), kInf);
    EXPECT_DOUBLE_EQ(top1_margin(logits), 1);
    EXPECT_EQ(top1_margin(std::vector<float>{3}), kInf);
    EXPECT_EQ(top1_margin(std::vector<float>{3, 3}), 0);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(top1_margin(std::vector<float>{nan, 3}), kInf);
    EXPECT_EQ(top1_margin(std::vector<float>{nan, nan}), 0);
}

TEST(RouteAgreement, ComparesSetsTokenByToken) {
    const TraceSnapshot native = test::make_trace({.n_tokens = 30, .n_layers = 2, .n_prompt = 0});
    const TraceSnapshot half = test::make_trace({.n_tokens = 30, .n_layers = 2, .n_prompt = 0, .policy = "k=2"});
    EXPECT_EQ(route_agreement(native, native, 0, 30), 1);
    EXPECT_DOUBLE_EQ(route_agreement(native, half, 1, 30), 0.5) << "same logits: the 2 best are 2 of the 4 best";
    EXPECT_EQ(route_agreement(native, half, 1, 30), route_agreement(half, native, 1, 30));
    EXPECT_TRUE(std::isnan(route_agreement(native, half, 0, 0)));
}

TEST(RouteAgreement, OfTwoIndependentUniformRoutersIsKOverE) {
    const TraceSnapshot a = test::make_trace({.n_tokens = 3000, .n_layers = 1, .seed = 3}),
                        b = test::make_trace({.n_tokens = 3000, .n_layers = 1, .seed = 4});
    // Two random sets of 4 in 16 share a hypergeometric number of mean 1 and variance 4 (1/4) (3/4) (12/15) = 0.6, so the share of a token
    // has SD 0.19. Neighbouring tokens have a common drift (correlation 0.8), which leaves about a ninth of them as independent draws.
    EXPECT_NEAR(route_agreement(a, b, 0, 3000), 0.25, 5 * 0.2 / std::sqrt(3000 / 9.0));
}

TEST(JensenShannon, IsSymmetricAndBetweenZeroAndOneBit) {
    EXPECT_EQ(jensen_shannon_bits(Counts{1, 2, 3}, Counts{2, 4, 6}), 0);
    EXPECT_DOUBLE_EQ(jensen_shannon_bits(Counts{1, 0}, Counts{0, 5}), 1);
    EXPECT_DOUBLE_EQ(jensen_shannon_bits(Counts{1, 7}, Counts{3, 5}), jensen_shannon_bits(Counts{3, 5}, Counts{1, 7}));
    EXPECT_TRUE(std::isnan(jensen_shannon_bits(Counts{0, 0}, Counts{1, 1})));
}

}  // namespace
}  // namespace gs
