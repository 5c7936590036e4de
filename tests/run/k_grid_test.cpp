#include "engine/run/k_grid.h"

#include <gtest/gtest.h>

#include "tests/run/planted_layer.h"

namespace gs {
namespace {

using namespace test;

TEST(KGrid, ReadsListsAndSaysWhatIsWrong) {
    EXPECT_EQ(*parse_k_grid("all", 3), (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(*parse_k_grid("1,3-5,8", 8), (std::vector<int>{1, 3, 4, 5, 8}));
    for (const char* bad : {"", "0", "9", "3-", "5-3", "1,,2", "1 2", "x", "1-2-3", "99999999999"}) {
        const auto ks = parse_k_grid(bad, 8);
        ASSERT_FALSE(ks) << bad;
        EXPECT_EQ(ks.error().code, "bad_k");
    }
    EXPECT_EQ(default_k_grid({.n_experts = 4, .n_used = 2}), (std::vector<int>{1, 2, 3, 4}));
    EXPECT_EQ(default_k_grid({.n_experts = 16, .n_used = 4}), (std::vector<int>{1, 2, 3, 4, 6, 8, 16}));
    EXPECT_EQ(default_k_grid({.n_experts = 128, .n_used = 8}), (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32}));
    EXPECT_EQ(default_k_grid({.n_experts = 512, .n_used = 10}), (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 40}));
    EXPECT_EQ(default_k_grid({.n_experts = 16, .n_used = 1}), (std::vector<int>{1, 2, 4}));
}

TEST(WithLayerKs, WritesTheFewestItemsAndNothingWhereTheBaseAgrees) {
    const RouterSpec spec{.n_experts = 8, .n_used = 2};
    const std::vector<int> layers = {1, 2, 3, 4, 5};
    const std::vector<int> ks = {1, 1, 2, 1, 3};
    EXPECT_EQ(with_layer_ks(Policy{}, spec, layers, ks).to_text(), "k@1-2=1,k@4=1,k@5=3");
    EXPECT_EQ(with_layer_ks(policy("k=1,mask@2=7"), spec, layers, ks).to_text(), "k=1,mask@2=7,k@3=2,k@5=3");
    const std::vector<int> native(5, 2);
    EXPECT_TRUE(with_layer_ks(Policy{}, spec, layers, native).is_native());
}

TEST(WithUniformK, ChangesTheRuleOfEveryLayerAndNothingElse) {
    const Policy base = policy("p@3=0.5,bias@3=5+0.1,noise@4=0.5,temp@5=0.8,k@6=1,tau@7=0.2,zero@8=1");
    EXPECT_EQ(with_uniform_k(base, 2).to_text(), policy("k=2,bias@3=5+0.1,noise@4=0.5,temp@5=0.8,zero@8=1").to_text());
    for (int layer = 0; layer < 10; ++layer) {
        EXPECT_EQ(with_uniform_k(base, 2).for_layer(layer, 8).rule, GateRule::kTopK) << layer;
        EXPECT_EQ(with_uniform_k(base, 2).for_layer(layer, 8).k, 2) << layer;
    }
}

}  // namespace
}  // namespace gs
