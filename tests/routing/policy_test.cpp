#include "engine/routing/policy.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace gs {
namespace {

constexpr int kAll = std::numeric_limits<int>::max();

Policy parsed(std::string_view text) {
    Result<Policy> policy = Policy::parse(text);
    EXPECT_TRUE(policy) << text << ": " << (policy ? "" : policy.error().message());
    return policy ? *policy : Policy{};
}

TEST(Policy, ReadsEveryItemOfTheGrammar) {
    const Policy p = parsed("rule=topk,k=2,k@4-7=1,mask@3=9:5:9,force@*=0,temp@2=0.5,rule@1=soft,weights=one,temp=0.8");
    EXPECT_EQ(p.rule, GateRule::kTopK);
    EXPECT_EQ(p.k, 2);
    EXPECT_EQ(p.temperature, 0.8f);
    EXPECT_EQ(p.weight_rule, WeightRule::kSumToOne);
    ASSERT_EQ(p.layers.size(), 5u);
    EXPECT_EQ(p.layers[0], (Policy::LayerItem{.first = 4, .last = 7, .k = 1}));
    EXPECT_EQ(p.layers[1].masked, (std::vector<int>{5, 9}));
    EXPECT_EQ(p.layers[2].forced, (std::vector<int>{0}));
    EXPECT_EQ(p.layers[2].last, kAll);
    EXPECT_EQ(p.layers[3].temperature, 0.5f);
    EXPECT_EQ(p.layers[4].rule, GateRule::kSoft);
}

TEST(Policy, ABareRuleNameOrKAloneIsEnough) {
    EXPECT_TRUE(parsed("native").is_native());
    EXPECT_EQ(parsed("soft").rule, GateRule::kSoft);
    EXPECT_EQ(parsed("hard").rule, GateRule::kHard);
    EXPECT_EQ(parsed("k=3").rule, GateRule::kTopK);
    EXPECT_EQ(parsed("k=3").k, 3);
    EXPECT_EQ(parsed("soft,k=3").rule, GateRule::kSoft) << "a rule that is named stays";
    EXPECT_EQ(parsed(" k = 3 , temp = 2 ").temperature, 2.0f);
}

TEST(Policy, LaterItemsWinAndMasksAddUp) {
    const Policy p = parsed("k=4,k=2,mask@0-3=1,mask@2=5,k@*=3,k@2-4=1,rule@4=soft");
    EXPECT_EQ(p.k, 2);
    EXPECT_EQ(p.for_layer(0, 8).k, 3);
    EXPECT_EQ(p.for_layer(2, 8).k, 1);
    EXPECT_EQ(p.for_layer(2, 8).masked, (std::vector<uint8_t>{0, 1, 0, 0, 0, 1, 0, 0}));
    EXPECT_EQ(p.for_layer(3, 8).masked, (std::vector<uint8_t>{0, 1, 0, 0, 0, 0, 0, 0}));
    EXPECT_TRUE(p.for_layer(4, 8).masked.empty());
    EXPECT_EQ(p.for_layer(4, 8).rule, GateRule::kSoft);
}

TEST(Policy, AKForALayerMeansTopKThere) {
    const Policy p = parsed("k@4-7=1");
    EXPECT_TRUE(p.for_layer(3, 8).is_native());
    EXPECT_EQ(p.for_layer(4, 8).rule, GateRule::kTopK);
    EXPECT_EQ(p.for_layer(7, 8).k, 1);
    EXPECT_TRUE(p.for_layer(8, 8).is_native());
    EXPECT_EQ(parsed("soft,k@1=1").for_layer(1, 8).rule, GateRule::kTopK);
    EXPECT_EQ(parsed("k@1=1,rule@1=soft").for_layer(1, 8).rule, GateRule::kSoft);
}

TEST(Policy, ATauAPAndAKImplyTheirRules) {
    EXPECT_EQ(parsed("p=0.5").rule, GateRule::kTopP);
    EXPECT_EQ(parsed("p=0.5,k=3").rule, GateRule::kTopP);
    EXPECT_EQ(parsed("k=3,p=0.5").rule, GateRule::kTopP) << "whatever their order";
    EXPECT_EQ(parsed("k=3,tau=0.5").rule, GateRule::kThreshold);
    EXPECT_EQ(parsed("soft,tau=0.5").rule, GateRule::kSoft);
    EXPECT_EQ(parsed("noise=1,seed=2,capacity=1").rule, GateRule::kNative);
    const Policy p = parsed("p=0.5,k@1=2,tau@2=0.4,rule@3=topp,p@4=0.9,noise@5=0.25,bias@6=1+0.5,bias@6-7=1-0.5:2+1,capacity=1.5,seed=9,noise=2");
    EXPECT_EQ(p.for_layer(0, 8).rule, GateRule::kTopP);
    EXPECT_EQ(p.for_layer(0, 8).p, 0.5f);
    EXPECT_EQ(p.for_layer(1, 8).rule, GateRule::kTopK);
    EXPECT_EQ(p.for_layer(2, 8).rule, GateRule::kThreshold);
    EXPECT_EQ(p.for_layer(2, 8).tau, 0.4f);
    EXPECT_EQ(p.for_layer(4, 8).p, 0.9f);
    EXPECT_EQ(p.for_layer(4, 8).noise, 2.0f);
    EXPECT_EQ(p.for_layer(5, 8).noise, 0.25f);
    EXPECT_EQ(p.for_layer(5, 8).seed, 9u);
    EXPECT_EQ(p.for_layer(5, 8).layer, 5);
    EXPECT_EQ(p.for_layer(5, 8).capacity, 1.5f);
    EXPECT_EQ(p.for_layer(6, 4).bias, (std::vector<float>{0, -0.5f, 1, 0})) << "later items win";
    EXPECT_TRUE(p.is_by_batch());
    EXPECT_FALSE(parsed("p=0.5").is_by_batch());
    EXPECT_TRUE(parsed("rule@3=expert-choice").is_by_batch());
    for (const char* text : {"noise=1", "capacity=1", "bias@1=2+1", "p@1=0.5", "noise@1=1"}) EXPECT_FALSE(parsed(text).is_native()) << text;
    EXPECT_TRUE(parsed("seed=3").is_native());
}

TEST(Policy, WritesTheShortestText) {
    EXPECT_EQ(Policy{}.to_text(), "native");
    EXPECT_EQ(parsed("rule=topk,k=2").to_text(), "k=2");
    EXPECT_EQ(parsed("topk").to_text(), "topk");
    EXPECT_EQ(parsed("native,temp=0.1").to_text(), "temp=0.1");
    EXPECT_EQ(parsed("rule=soft,weights=native-sum").to_text(), "soft,weights=native-sum");
    EXPECT_EQ(parsed("k@*=1,mask@3-3=9:5").to_text(), "k@*=1,mask@3=5:9");
    EXPECT_EQ(parsed("topp").to_text(), "p=0.7") << "the default is written out";
    EXPECT_EQ(parsed("rule=topp,p=0.5,k=4").to_text(), "k=4,p=0.5");
    EXPECT_EQ(parsed("threshold,tau=0.25").to_text(), "tau=0.25");
    EXPECT_EQ(parsed("expert-choice,capacity=2").to_text(), "expert-choice,capacity=2");
    EXPECT_EQ(parsed("noise=0.5,seed=7").to_text(), "noise=0.5,seed=7");
    EXPECT_EQ(parsed("bias@3=9-0.25:5+0.5:9+1").to_text(), "bias@3=5+0.5:9+1");
}

Policy random_policy(std::mt19937& random) {
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    const auto temperature = [&] { return kMinTemperature + static_cast<float>(random() % 100000) / 977.0f; };
    const auto share = [&] { return kMinP + static_cast<float>(random() % 1000) / 1002.0f; };
    const auto experts = [&] {
        std::vector<int> out;
        for (int e = below(5); e < 1024; e += 1 + below(600)) out.push_back(e);
        return out;
    };
    Policy p;
    p.rule = static_cast<GateRule>(below(7));
    p.k = below(3) == 0 ? 0 : 1 + below(1024);
    if (below(2)) p.temperature = temperature();
    if (below(2)) p.p = share();
    if (below(2)) p.tau = share();
    if (below(2)) p.noise = share();
    if (below(2)) p.seed = random();
    if (below(3) == 0) p.capacity = kMinCapacity + share();
    p.weight_rule = static_cast<WeightRule>(below(3));
    for (int i = below(6); i > 0; --i) {
        Policy::LayerItem item;
        item.first = below(300);
        item.last = item.first + below(200);
        if (below(6) == 0) item.first = 0, item.last = kAll;
        if (below(2)) item.rule = static_cast<GateRule>(below(7));
        if (below(2)) item.k = 1 + below(1024);
        if (below(2)) item.temperature = temperature();
        if (below(3) == 0) item.masked = experts();
        if (below(3) == 0) item.forced = experts();
        if (below(4) == 0) item.p = share();
        if (below(4) == 0) item.tau = share();
        if (below(4) == 0) item.noise = share();
        if (below(4) == 0)
            for (const int e : experts()) item.bias.push_back({e, share() - 0.5f});
        if (below(4) == 0) item.zeroed = experts();
        for (int n = below(8) - 4; n > 0; --n) item.swapped.push_back({below(512), 512 + below(512)});
        const bool empty = item == Policy::LayerItem{.first = item.first, .last = item.last};
        const bool same_range = !p.layers.empty() && p.layers.back().first == item.first && p.layers.back().last == item.last;
        if (!empty && !same_range) p.layers.push_back(item);
    }
    return p;
}

TEST(Policy, TextReadsBackAsTheSamePolicy) {
    std::mt19937 random(11);
    for (int i = 0; i < 3000; ++i) {
        const Policy policy = random_policy(random);
        const std::string text = policy.to_text();
        const Policy again = parsed(text);
        ASSERT_EQ(again, policy) << text;
        ASSERT_EQ(again.to_text(), text);
    }
}

TEST(Policy, ItemsOfOneRangeStayApart) {
    for (const char* text : {"k@1=2,k@1=3,rule@1=soft", "rule@*=soft,rule@*=hard,mask@*=1", "mask@2=1,mask@2=3,temp@2=0.5,k@2=1", "force@0=1,force@0=2,k@0=2,k@0=3", "zero@1=2,swap@1=3>4,zero@1=5", "swap@*=1>2,swap@*=2>1"}) {
        const Policy policy = parsed(text);
        EXPECT_EQ(policy.layers.size() >= 2, true) << text;
        EXPECT_EQ(parsed(policy.to_text()), policy) << text << " became " << policy.to_text();
    }
    // The rule of the second item holds for its k, not for that of the first.
    EXPECT_EQ(parsed(parsed("k@1=2,k@1=3,rule@1=soft").to_text()).for_layer(1, 8).rule, GateRule::kSoft);
}

TEST(Policy, ErrorsNameTheItemAndWhatIsAllowed) {
    const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
        {"k=0", {"k=0", "1 to 1024"}},
        {"k=1025", {"1 to 1024"}},
        {"k=two", {"k=two", "whole number"}},
        {"k=99999999999999999999", {"whole number"}},
        {"k=1.5", {"k=1.5"}},
        {"temp=0", {"temp=0", "0.001", "1000"}},
        {"temp=nan", {"temp=nan"}},
        {"temp=inf", {"temp=inf"}},
        {"temp=-1", {"temp=-1"}},
        {"rule=firm", {"rule=firm", "native, soft, hard, topk"}},
        {"firm", {"firm", "NAME=VALUE"}},
        {"weights=two", {"weights=two", "trained, one, native-sum"}},
        {"weights@3=one", {"weights@3=one", "layer range"}},
        {"mask=3", {"mask=3", "layer range"}},
        {"mask@3=", {"mask@3=", "0 to 1023"}},
        {"mask@3=1:", {"mask@3=1:"}},
        {"zero=1", {"zero=1", "zero@3"}},
        {"zero@3=1>2", {"0 to 1023"}},
        {"swap=1>2", {"swap@3=5>9"}},
        {"swap@1=3", {"A>B"}},
        {"swap@1=3>3", {"different"}},
        {"swap@1=3>1024", {"A>B"}},
        {"swap@1=3>4:", {"A>B"}},
        {"mask@3=1024", {"0 to 1023"}},
        {"k@7-4=1", {"k@7-4=1", "L <= M"}},
        {"k@512=1", {"0 to 511"}},
        {"k@=1", {"k@=1"}},
        {"k@-=1", {"k@-=1"}},
        {"size=3", {"size=3", "unknown name"}},
        {"p=0", {"p=0", "0.001 to 1"}},
        {"p=1.5", {"p=1.5", "0.001 to 1"}},
        {"tau=-0.5", {"tau is a number from 0 to 1"}},
        {"noise=1000", {"noise is a number from 0 to 100"}},
        {"seed=-1", {"seed is a whole number"}},
        {"seed=4294967296", {"4294967295"}},
        {"capacity=0", {"capacity is a number"}},
        {"capacity@3=1", {"layer range"}},
        {"seed@3=1", {"layer range"}},
        {"bias=5+1", {"bias@3=5+0.1"}},
        {"bias@3=5", {"bias@3=5", "5+0.1:9-0.05"}},
        {"bias@3=5++1", {"5+0.1:9-0.05"}},
        {"bias@3=5+-1", {"5+0.1:9-0.05"}},
        {"bias@3=+1", {"5+0.1:9-0.05"}},
        {"bias@3=5-1e9", {"1000000"}},
        {"k=2,,temp=1", {"empty"}},
        {"", {"empty"}},
        {"k=2,", {"empty"}},
        {"k", {"k", "NAME=VALUE"}},
        {"=", {"="}},
    };
    for (const auto& [text, parts] : cases) {
        const Result<Policy> policy = Policy::parse(text);
        ASSERT_FALSE(policy) << text;
        EXPECT_EQ(policy.error().kind, ErrorKind::kUsage);
        EXPECT_EQ(policy.error().code, "bad_policy");
        for (const std::string& part : parts) {
            EXPECT_NE(policy.error().message().find(part), std::string::npos) << text << " -> " << policy.error().message();
        }
    }
}

TEST(Policy, GarbageIsRefusedOrReadButNeverBreaks) {
    std::mt19937 random(12);
    const std::string pieces[] = {"k", "=", "@", ",", ":", "-", "*", "mask", "force", "rule", "temp", "weights", "soft", "topk", "0",
                                  "1", "7", "4294967296", "1e99", "nan", "\0x", "\xff\xfe", " ", "native", "one", "\n", "%s%n", "p", "tau", "bias", "noise", "+", "0.5", "topp"};
    int n_read = 0;
    for (int i = 0; i < 20000; ++i) {
        std::string text;
        for (unsigned n = random() % 12; n > 0; --n) text += pieces[random() % std::size(pieces)];
        const Result<Policy> policy = Policy::parse(text);
        if (policy) {
            ++n_read;
            EXPECT_EQ(parsed(policy->to_text()), *policy) << text;
            (void)policy->check({.n_experts = 8, .n_used = 2}, 4);
        } else {
            for (char c : policy.error().message()) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << "control bytes in a message";
        }
    }
    EXPECT_GT(n_read, 0);
    EXPECT_FALSE(Policy::parse(std::string(1 << 20, 'k')));
    std::string long_list = "mask@0=0";
    while (long_list.size() < 60000) long_list += ":1023";
    EXPECT_TRUE(Policy::parse(long_list));
}

TEST(Policy, CheckComparesWithTheModel) {
    const RouterSpec spec{.n_experts = 8, .n_used = 2};
    for (const char* good : {"native", "soft", "k=8", "k@0-3=8", "k@*=1", "mask@3=0:1:2:3:4:5:6", "force@1=0:7", "k=1,force@2=3", "zero@*=0:1:2:3:4:5:6:7", "swap@3=0>7:7>0,mask@2=7", "p=0.5,force@1=0:7", "tau=0.5", "noise=1,seed=3", "bias@1=7-0.5", "capacity=1.25", "expert-choice,capacity=2"}) {
        const Result<void> result = parsed(good).check(spec, 4);
        EXPECT_TRUE(result) << good << ": " << (result ? "" : result.error().message());
    }
    const std::vector<std::pair<std::string, std::string>> bad = {
        {"k=9", "1..8"},
        {"k@1=9", "k@1=9"},
        {"k@4=1", "0..3"},
        {"mask@0=8", "0..7"},
        {"force@*=9", "expert 9"},
        {"mask@1=0:1:2:3:4:5:6:7", "layer 1"},
        {"mask@*=0:1:2:3,mask@2=4:5:6:7", "layer 2: mask leaves no expert"},
        {"force@0=1:2:3", "force names 3"},
        {"mask@0=1,force@0=1", "both masked and forced"},
        {"hard,force@3=1:2", "layer 3"},
        {"bias@0=8+1", "0..7"},
        {"expert-choice,force@2=1", "layer 2"},
        {"zero@1=8", "zero@1 names expert 8"},
        {"swap@1=0>8", "swap@1 names expert 8"},
        {"swap@4=0>1", "0..3"},
        {"swap@*=0>1,mask@2=1", "layer 2: swap 0>1"},
    };
    for (const auto& [text, part] : bad) {
        const Result<void> result = parsed(text).check(spec, 4);
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error().code, "bad_policy");
        EXPECT_NE(result.error().message().find(part), std::string::npos) << result.error().message();
    }
    Policy by_hand;
    by_hand.temperature = 0;
    EXPECT_FALSE(by_hand.check(spec, 4)) << "values that did not come from text are checked too";
    by_hand = {};
    by_hand.layers.push_back({.first = 2, .last = 1, .k = 1});
    EXPECT_FALSE(by_hand.check(spec, 4));
    by_hand.layers.back() = {.first = 0, .last = 1, .k = 0};
    EXPECT_FALSE(by_hand.check(spec, 4));
}

TEST(Policy, ADenseModelTakesTheNativePolicyOnly) {
    EXPECT_TRUE(Policy{}.check(RouterSpec{}, 4));
    EXPECT_FALSE(parsed("k=1").check(RouterSpec{}, 4));
}

TEST(Policy, ResolveGivesEveryLayerItsPolicy) {
    const Policy policy = parsed("k=2,k@1=1,mask@2=3");
    const std::vector<LayerPolicy> layers = resolve(policy, {.n_experts = 4, .n_used = 2}, 3);
    ASSERT_EQ(layers.size(), 3u);
    EXPECT_EQ(layers[0].k, 2);
    EXPECT_EQ(layers[1].k, 1);
    EXPECT_EQ(layers[2].masked, (std::vector<uint8_t>{0, 0, 0, 1}));
    EXPECT_FALSE(policy.is_native());
    const Policy ablated = parsed("zero@1=3,swap@1=0>2,swap@*=2>1");
    EXPECT_EQ(ablated.for_layer(1, 4).zeroed, (std::vector<uint8_t>{0, 0, 0, 1}));
    EXPECT_EQ(ablated.for_layer(1, 4).swapped, (std::vector<ExpertSwap>{{0, 2}, {2, 1}}));
    EXPECT_EQ(ablated.for_layer(0, 4).swapped, (std::vector<ExpertSwap>{{2, 1}}));
    for (const char* text : {"zero@1=3", "swap@1=0>2"}) {
        EXPECT_FALSE(parsed(text).is_native());
        EXPECT_FALSE(parsed(text).for_layer(1, 4).is_native());
        EXPECT_TRUE(parsed(text).for_layer(0, 4).is_native());
    }
}

}  // namespace
}  // namespace gs
