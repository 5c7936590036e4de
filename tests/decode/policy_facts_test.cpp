// Closed-form facts of routing (product.md, "Gating, defined once") on the bundled model.
#include <algorithm>
#include <cmath>
#include <map>

#include "engine/routing/batch_routing.h"
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

TEST(PolicyFacts, TheGatesOpenAllTheWayAreNative) {
    const Pass none = without_policy();
    for (const char* text : {"tau=0", "capacity=1000", "noise=0,seed=9", "bias@3=2+0", "native,p=0.5"}) EXPECT_EQ(under(text).logits, none.logits) << text;
    EXPECT_EQ(under("tau=1").logits, under("k=1").logits) << "the heaviest alone";
    EXPECT_EQ(under("p=1").logits, under("k=16").logits);
    for (const char* text : {"tau=0.5", "capacity=1", "noise=0.5", "bias@3=2+1", "p=0.5", "expert-choice"}) EXPECT_NE(under(text).logits, none.logits) << text;
}

TEST(PolicyFacts, EveryBackEndRoutesByTheGatesAlike) {
    for (const char* text : {"p=0.6,bias@*=2+0.1:5-0.1", "tau=0.3,noise=0.7,seed=3", "capacity=1"}) {
        const Pass reference = under(text, std::shared_ptr<Ops>(make_reference_ops())), cpu = under(text);
        size_t n_same = 0;
        for (size_t i = 0; i < reference.routes.size(); ++i) n_same += reference.routes[i].ids == cpu.routes[i].ids;
        // The rest are choices that rounding may turn, and under a capacity what follows from those.
        EXPECT_GT(static_cast<double>(n_same), 0.97 * static_cast<double>(reference.routes.size())) << text;
    }
}

/// A token's routes as the run recorded them are those that its recorded logits give: what-ifs of the policy in force change nothing.
TEST(PolicyFacts, RoutesAreThoseOfTheRecordedLogits) {
    const ModelSpec& spec = bundled_model()->spec;
    const int n = static_cast<int>(prompt().size());
    for (const char* text : {"p=0.6", "tau=0.3,k=6", "noise=0.7,seed=3", "capacity=0.8", "expert-choice", "rule@5=expert-choice,capacity=1.2,k=3"}) {
        const auto decoder = make_decoder(bundled_model(), {.n_ctx = 64});
        decoder->set_policy(policy(text), n - 3);
        Pass pass = run_pass(*decoder, std::span(prompt()).first(static_cast<size_t>(n - 3)));
        for (int t = n - 3; t < n; ++t) {   // the answer, token by token
            const Pass step = run_pass(*decoder, std::span(prompt()).subspan(static_cast<size_t>(t), 1), t);
            for (RouteList::Row row : step.routes) {
                row.row = t;
                pass.routes.push_back(row);
            }
        }
        for (size_t m = 0; m < spec.moe_layers.size(); ++m) {
            const LayerPolicy layer = policy(text).for_layer(spec.moe_layers[m], spec.router.n_experts);
            std::vector<float> logits;
            std::vector<const RouteList::Row*> rows;
            for (int t = 0; t < n; ++t)
                for (const RouteList::Row& row : pass.routes)
                    if (row.moe_layer == static_cast<int>(m) && row.row == t) rows.push_back(&row), logits.insert(logits.end(), row.logits.begin(), row.logits.end());
            ASSERT_EQ(rows.size(), static_cast<size_t>(n));
            BatchRouter router;
            BatchRoutes expected;
            router.route(spec.router, layer, logits, {}, {0, n - 3}, expected);
            for (size_t t = 0; t < rows.size(); ++t) {
                ASSERT_TRUE(std::ranges::equal(rows[t]->ids, expected.ids_of(t))) << text << ", layer " << m << ", token " << t;
                ASSERT_TRUE(std::ranges::equal(rows[t]->weights, expected.weights_of(t)));
            }
        }
    }
}

TEST(PolicyFacts, ATokenWithoutAnExpertPassesOnWhatCameIn) {
    const auto decoder = make_decoder(bundled_model(), {.n_ctx = 64});
    decoder->set_policy(policy("capacity=0.01"));   // one token an expert
    const Pass pass = run_pass(*decoder, prompt());
    size_t n_empty = 0;
    for (const RouteList::Row& row : pass.routes) n_empty += row.ids.empty();
    EXPECT_GT(n_empty, pass.routes.size() / 5);
    for (const float l : pass.logits) ASSERT_TRUE(std::isfinite(l));
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
