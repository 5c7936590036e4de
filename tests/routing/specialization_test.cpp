#include "engine/routing/specialization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "tests/routing/planted_routes.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using test::add_token;
using test::uniform_routes;

Labels cyclic(int n, int n_labels) {
    Labels labels;
    for (int t = 0; t < n; ++t) labels.push_back(static_cast<int16_t>(t % n_labels));
    return labels;
}

TEST(Specialization, APlantedSpecialistGivesItsLabelAway) {
    // 8 experts, 4 labels, k = 2: experts l and 4 + l for label l.
    LayerRoutes routes;
    routes.n_experts = 8;
    const Labels labels = cyclic(400, 4);
    for (const int16_t l : labels) add_token(routes, {l, 4 + l});
    const Information i = label_information(routes, labels, 4, {}, 0, shuffle_tokens(labels, {}, 50, 1));
    EXPECT_NEAR(i.bits, 2, 1e-12);
    EXPECT_NEAR(i.entropy, 2, 1e-12);
    EXPECT_NEAR(i.adjusted_share(), 1, 1e-12);
    EXPECT_TRUE(i.beyond_chance());
    const LabelCounts counts = count_labels(routes, labels, 4);
    EXPECT_EQ(counts.share(1, 1), 1);
    EXPECT_EQ(counts.share(1, 0), 0);
    EXPECT_EQ(counts.share(1), 0.25);
    EXPECT_EQ(counts.lift(1, 1), 4);
    EXPECT_NEAR(counts.cv(1), std::sqrt(3.0), 1e-12) << "shares 1, 0, 0, 0";
    const std::vector<double> divergence = label_divergence(counts);
    EXPECT_EQ(divergence[1], 1) << "disjoint loads";
    EXPECT_EQ(divergence[0], 0);
}

TEST(Specialization, AHalfSpecialistTellsHalf) {
    // First choice the label's own, second one of four others whatever the label: H(E) = 3 bits, H(E | label) = 2 bits.
    LayerRoutes routes;
    routes.n_experts = 8;
    Labels labels;
    for (int t = 0; t < 1600; ++t) {
        labels.push_back(static_cast<int16_t>(t % 4));
        add_token(routes, {t % 4, 4 + t / 4 % 4});
    }
    const Information i = label_information(routes, labels, 4, {}, 0, shuffle_tokens(labels, {}, 20, 1));
    EXPECT_NEAR(i.bits, 1, 1e-12);
    EXPECT_NEAR(i.share(), 0.5, 1e-12);
}

TEST(Specialization, AUniformRouterLiesOnItsNull) {
    const int n = 2000, n_runs = 30;
    const Labels labels = cyclic(n, 5);
    const ShuffledLabels shuffled = shuffle_tokens(labels, {}, 100, 3);
    // First-order bias (E - 1)(L - 1)/(2 N ln 2), smaller by (E - k)/(E - 1) because a token draws without replacement.
    const double bias = 15.0 * 4 / (2.0 * n * 4 * std::log(2.0)) * 12 / 15;
    int within = 0, outside = 0;
    double sum = 0;
    for (uint64_t seed = 0; seed < n_runs; ++seed) {
        const LayerRoutes routes = uniform_routes(n, 16, 4, seed);
        const Information i = label_information(routes, labels, 5, {}, 0, shuffled);
        within += i.null.band.holds(i.bits);
        sum += i.bits;
        EXPECT_NEAR(i.null.mean, bias, 0.1 * bias);
        EXPECT_NEAR(i.adjusted_share(), 0, 0.003);
        const LabelCounts counts = count_labels(routes, labels, 5);
        for (int e = 0; e < 16; ++e)
            for (int l = 0; l < 5; ++l) outside += !counts.band(e, l).holds(counts.share(e, l));
    }
    EXPECT_GE(within, 25) << "of 30, 95 % each";
    EXPECT_NEAR(sum / n_runs, bias, 0.1 * bias);
    EXPECT_LE(outside, 30 * 80 * 6 / 100) << "at most 5 % of the cells, and some scatter";
}

TEST(Specialization, InformationOfOneLabelGivenAnother) {
    // Expert = a xor b: neither label alone tells anything, each does with the other known.
    LayerRoutes routes;
    routes.n_experts = 2;
    Labels a, b, twice;
    for (int t = 0; t < 400; ++t) {
        a.push_back(static_cast<int16_t>(t % 2));
        b.push_back(static_cast<int16_t>(t / 2 % 2));
        twice.push_back(a.back());
        add_token(routes, {a.back() ^ b.back()});
    }
    const ShuffledLabels none;
    EXPECT_NEAR(label_information(routes, a, 2, {}, 0, none).bits, 0, 1e-12);
    EXPECT_NEAR(label_information(routes, a, 2, b, 2, none).bits, 1, 1e-12);
    EXPECT_NEAR(label_information(routes, a, 2, b, 2, none).entropy, 1, 1e-12);
    EXPECT_NEAR(label_information(routes, a, 2, twice, 2, none).bits, 0, 1e-12) << "nothing is left to tell";
    EXPECT_NEAR(label_information(routes, a, 2, twice, 2, none).entropy, 0, 1e-12);
}

TEST(Specialization, TokensWithoutALabelAreLeftOut) {
    LayerRoutes routes;
    routes.n_experts = 2;
    for (const int e : {0, 1, 0, 1, 1}) add_token(routes, {e});
    const Labels labels = {0, 1, 0, 1, -1};
    const LabelCounts counts = count_labels(routes, labels, 3);
    EXPECT_EQ(counts.n_tokens, 4u);
    EXPECT_EQ(counts.of_expert(1), 2u);
    EXPECT_TRUE(std::isnan(counts.share(0, 2))) << "a label without tokens";
    EXPECT_NEAR(label_information(routes, labels, 3, {}, 0, {}).bits, 1, 1e-12);
}

TEST(Specialization, ShufflesKeepWhatTheySay) {
    const Labels labels = {0, 1, -1, 1, 2, 0, 2, 2}, strata = {0, 0, 0, 1, 1, 1, 1, 0};
    for (const Labels& draw : shuffle_tokens(labels, strata, 30, 5).draws) {
        EXPECT_EQ(draw[2], -1);
        for (const int stratum : {0, 1}) {
            std::vector<int> before(3, 0), after(3, 0);
            for (size_t t = 0; t < labels.size(); ++t)
                if (strata[t] == stratum && labels[t] >= 0) ++before[static_cast<size_t>(labels[t])], ++after[static_cast<size_t>(draw[t])];
            EXPECT_EQ(before, after);
        }
    }
    Labels domains, texts;
    for (int t = 0; t < 70; ++t) domains.push_back(t < 40 ? 0 : 1), texts.push_back(t < 40 ? 0 : 1);
    for (const Labels& draw : shuffle_blocks(domains, texts, 16, 20, 5).draws) {
        // 40 tokens are blocks of 16, 16 and 8; 30 are 16 and 14.
        for (const auto& [begin, end] : {std::pair{0, 16}, {16, 32}, {32, 40}, {40, 56}, {56, 70}})
            for (int t = begin; t < end; ++t) EXPECT_EQ(draw[static_cast<size_t>(t)], draw[static_cast<size_t>(begin)]);
    }
}

/// Routing that lasts for a while and has nothing to do with the text: single tokens dealt out anew call it more than chance, blocks do not.
TEST(Specialization, BlocksAreTheHonestNullOfWhatLasts) {
    int token_null_fooled = 0, block_null_fooled = 0;
    constexpr int kRuns = 60, kTokens = 1024, kStretch = 32;
    for (uint64_t seed = 0; seed < kRuns; ++seed) {
        Shuffler random(seed);
        LayerRoutes routes;
        routes.n_experts = 8;
        Labels domains;
        int expert = 0;
        for (int t = 0; t < kTokens; ++t) {
            if (t % kStretch == 0) expert = static_cast<int>(random.below(8));
            add_token(routes, {expert});
            domains.push_back(t < kTokens / 2 ? 0 : 1);
        }
        token_null_fooled += label_information(routes, domains, 2, {}, 0, shuffle_tokens(domains, {}, 100, seed)).beyond_chance();
        block_null_fooled += label_information(routes, domains, 2, {}, 0, shuffle_blocks(domains, domains, kStretch, 100, seed)).beyond_chance();
    }
    EXPECT_GT(token_null_fooled, kRuns * 9 / 10);
    EXPECT_LT(block_null_fooled, kRuns * 15 / 100);
}

TEST(Specialization, LiftOfAPlantedToken) {
    // Id 7 always takes expert 0, which takes 100 of 1000 tokens; id 9 never does.
    LayerRoutes routes;
    routes.n_experts = 4;
    std::vector<int32_t> ids;
    for (int t = 0; t < 1000; ++t) {
        const int id = t % 20 == 0 ? 7 : t % 20 == 1 ? 9 : 100 + t % 50;
        ids.push_back(id);
        add_token(routes, {id == 7 || t % 20 == 10 ? 0 : 1 + t % 3});
    }
    const std::vector<TokenLift> lifts = token_lift(routes, 0, ids, 5);
    ASSERT_FALSE(lifts.empty());
    EXPECT_EQ(lifts[0].id, 7);
    EXPECT_EQ(lifts[0].n, 50u);
    EXPECT_EQ(lifts[0].chosen, 50u);
    EXPECT_DOUBLE_EQ(lifts[0].lift, 10);
    EXPECT_TRUE(lifts[0].beyond_chance());
    const Band expected = hypergeometric_band(1000, 100, 50).divided_by(5);
    EXPECT_DOUBLE_EQ(lifts[0].band.high, expected.high);
    const auto never = std::find_if(lifts.begin(), lifts.end(), [](const TokenLift& l) { return l.id == 9; });
    ASSERT_NE(never, lifts.end());
    EXPECT_EQ(never->lift, 0);
    EXPECT_TRUE(token_lift(routes, 0, ids, 51).empty()) << "no id occurs so often";
}

TEST(Specialization, VocabularySpecializationOfIdsThatDecideAndOfChance) {
    LayerRoutes planted;
    planted.n_experts = 8;
    std::vector<int32_t> ids;
    for (int t = 0; t < 800; ++t) {
        ids.push_back(t % 40);
        add_token(planted, {ids.back() % 8});
    }
    const VocabularySpecialization v = vocabulary_specialization(planted, ids, 5, 30, 1);
    EXPECT_EQ(v.n_ids, 40);
    EXPECT_EQ(v.mean, 1);
    EXPECT_LT(v.null.band.high, 0.5);
    const VocabularySpecialization chance = vocabulary_specialization(uniform_routes(800, 8, 2, 3), ids, 5, 100, 1);
    EXPECT_TRUE(chance.null.band.holds(chance.mean));
    EXPECT_EQ(vocabulary_specialization(planted, ids, 21, 5, 1).n_ids, 0);
}

/// metrics.md 3.1 and 3.2 from the counts published with OLMoE: shares and divergences of labels.
TEST(Specialization, PublishedCountsGiveThePublishedSharesAndDivergences) {
    const std::vector<std::string> domains = {"github", "arxiv", "wikipedia", "book", "c4"};
    LabelCounts counts{.n_experts = 64, .n_labels = 5};
    counts.chosen.assign(64 * 5, 0);
    counts.tokens.assign(5, 208896);
    counts.n_tokens = 5 * 208896;
    std::istringstream lines(test::read_bytes(test::source("tests/routing/published_counts.txt")));
    int n_rows = 0;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string model, domain;
        int layer = 0;
        words >> model >> domain >> layer;
        const auto at = std::find(domains.begin(), domains.end(), domain);
        if (model != "olmoe" || layer != 7 || at == domains.end()) continue;
        for (size_t e = 0; e < 64; ++e) words >> counts.chosen[e * 5 + static_cast<size_t>(at - domains.begin())];
        ++n_rows;
    }
    ASSERT_EQ(n_rows, 5);
    EXPECT_NEAR(100 * counts.share(17, 0), 77.0, 0.05001) << "layer 7, GitHub";
    EXPECT_NEAR(100 * counts.share(27, 2), 84.8, 0.05001) << "Wikipedia";
    const std::vector<double> bits = label_divergence(counts);
    const auto between = [&](size_t a, size_t b) { return bits[a * 5 + b]; };
    EXPECT_NEAR(between(0, 1), .057, 5.001e-4);
    EXPECT_NEAR(between(0, 3), .398, 5.001e-4);
    EXPECT_NEAR(between(2, 3), .260, 5.001e-4);
    EXPECT_NEAR(between(2, 4), .131, 5.001e-4);
}

}  // namespace
}  // namespace gs
