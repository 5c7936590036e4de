// Closed-form facts of routing (product.md, "Gating, defined once") on the bundled model.
#include <algorithm>
#include <map>

#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

const std::vector<int32_t>& prompt() {
    static const std::vector<int32_t> ids = bundled_model()->tokenizer->encode("The router sends every token to a few experts.", SpecialTokens::kAsText);
    return ids;
}

Pass under(const std::string& text, std::shared_ptr<Ops> ops = exact_ops()) {
    const auto decoder = make_decoder(bundled_model(), {.n_ctx = 64}, std::move(ops));
    decoder->set_policy(policy(text));
    return run_pass(*decoder, prompt());
}

Pass without_policy(std::shared_ptr<Ops> ops = exact_ops()) { return run_pass(*make_decoder(bundled_model(), {.n_ctx = 64}, std::move(ops)), prompt()); }

/// Largest logit difference, and that the same experts have the same weights.
double compare(const Pass& a, const Pass& b, double weight_tolerance) {
    EXPECT_EQ(a.routes.size(), b.routes.size());
    for (size_t i = 0; i < std::min(a.routes.size(), b.routes.size()); ++i) {
        std::map<int32_t, float> expected;
        for (size_t j = 0; j < b.routes[i].ids.size(); ++j) expected[b.routes[i].ids[j]] = b.routes[i].weights[j];
        EXPECT_EQ(a.routes[i].ids.size(), expected.size());
        for (size_t j = 0; j < a.routes[i].ids.size(); ++j) {
            EXPECT_TRUE(expected.contains(a.routes[i].ids[j]));
            EXPECT_NEAR(a.routes[i].weights[j], expected[a.routes[i].ids[j]], weight_tolerance);
        }
    }
    return max_difference(a.logits, b.logits);
}

TEST(PolicyFacts, NativeIsBitIdenticalToNoPolicy) {
    const Pass none = without_policy();
    EXPECT_EQ(under("native").logits, none.logits);
    EXPECT_EQ(under("rule=topk").logits, none.logits) << "top-k at the model's own k is its own rule";
    EXPECT_NE(under("k=3").logits, none.logits);
    const auto fast = [] { return std::shared_ptr<Ops>(make_cpu_ops({.n_threads = 2})); };
    EXPECT_EQ(under("native", fast()).logits, without_policy(fast()).logits);
}

TEST(PolicyFacts, AllExpertsEqualTheSoftMixture) {
    const int n_experts = bundled_model()->spec.router.n_experts;
    const Pass all = under("k=" + std::to_string(n_experts)), soft = under("soft");
    // The same weights by two formulas: a few f32 roundings apart.
    EXPECT_LT(compare(all, soft, 1e-6), 1e-2);
    EXPECT_EQ(soft.routes[0].ids.size(), static_cast<size_t>(n_experts));
}

TEST(PolicyFacts, OneExpertEqualsHard) { EXPECT_EQ(compare(under("k=1"), under("hard"), 0), 0); }

TEST(PolicyFacts, AMaskedExpertNeverAppears) {
    const Pass native = without_policy();
    const int32_t favourite = native.routes[0].ids[0];
    const Pass masked = under("mask@*=" + std::to_string(favourite));
    for (const RouteList::Row& row : masked.routes) EXPECT_EQ(std::count(row.ids.begin(), row.ids.end(), favourite), 0);
}

TEST(PolicyFacts, EveryTokenUsesKDistinctExpertsTheBestByLogit) {
    for (const int k : {1, 3, 4, 9}) {
        const Pass pass = under("k=" + std::to_string(k));
        EXPECT_EQ(pass.routes.size(), prompt().size() * bundled_model()->spec.moe_layers.size());
        size_t n_assigned = 0;
        for (const RouteList::Row& row : pass.routes) {
            n_assigned += row.ids.size();
            std::vector<int32_t> order(row.logits.size());
            for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int32_t>(e);
            std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row.logits[static_cast<size_t>(a)] > row.logits[static_cast<size_t>(b)]; });
            order.resize(static_cast<size_t>(k));
            EXPECT_EQ(row.ids, order);
        }
        EXPECT_EQ(n_assigned, pass.routes.size() * static_cast<size_t>(k));
    }
}

TEST(PolicyFacts, AChangeBetweenTwoCallsTouchesOnlyLaterTokens) {
    const auto run = [](const std::string& second) {
        const auto decoder = make_decoder(bundled_model(), {.n_ctx = 64});
        const std::span<const int32_t> ids = prompt();
        const Pass first = run_pass(*decoder, ids.first(5));
        decoder->set_policy(policy(second));
        const Pass later = run_pass(*decoder, ids.subspan(5), 5);
        decoder->set_policy(Policy{});
        const Pass again = run_pass(*decoder, ids.first(5));
        return std::array{first.logits, later.logits, again.logits};
    };
    const auto native = run("native"), changed = run("k=1");
    EXPECT_EQ(changed[0], native[0]);
    EXPECT_NE(changed[1], native[1]);
    EXPECT_EQ(changed[2], native[0]) << "and the change can be taken back";
}

TEST(PolicyFacts, PerLayerKHoldsForItsLayersOnly) {
    const Pass pass = under("k@4-7=1,k@9=16");
    for (const RouteList::Row& row : pass.routes) {
        const int layer = bundled_model()->spec.moe_layers[static_cast<size_t>(row.moe_layer)];
        EXPECT_EQ(row.ids.size(), layer >= 4 && layer <= 7 ? 1u : layer == 9 ? 16u : 4u) << layer;
    }
}

}  // namespace
}  // namespace gs
