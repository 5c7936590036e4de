#include "engine/run/evaluate.h"

#include <cmath>

#include "engine/run/evaluate_window.h"
#include "engine/run/sweep.h"
#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

const char* const kText =
    "A library is a collection of books, and possibly other materials and media, that is accessible for use by its members. Libraries provide "
    "physical or digital materials, and may be a physical location, a virtual space, or both. A library's collection normally includes printed "
    "materials which may be borrowed, and usually also includes a reference section of publications which may only be used inside the building. "
    "The first libraries consisted of archives of the earliest form of writing, the clay tablets in cuneiform script discovered in Sumer, some "
    "dating back to 2600 BC. Private or personal libraries made up of written books appeared in classical Greece in the 5th century BC.";

std::vector<PolicyScore> score(Decoder& decoder, std::span<const int32_t> ids, std::span<const Policy> policies, const EvaluateOptions& options = {},
                               const Policy& reference = {}) {
    const auto scores = score_policies(decoder, ids, reference, policies, options);
    EXPECT_TRUE(scores) << (scores ? "" : scores.error().message());
    return scores ? *scores : std::vector<PolicyScore>(policies.size());
}

TEST(ScorePolicies, NativeAgainstItselfIsExactlyNothing) {
    for (const char* name : {"mixtral", "qwen2moe", "llama"}) {
        const auto model = golden_model(name);
        const auto decoder = make_decoder(model);
        const std::vector<Policy> policies = {Policy{}};
        const PolicyScore s = score(*decoder, some_ids(*model, 90), policies).front();
        EXPECT_EQ(s.kl, 0);
        EXPECT_EQ(s.top1_agreement, 1);
        EXPECT_EQ(s.n_scored, 89);
        EXPECT_EQ(s.route_agreement.size(), model->spec.moe_layers.size());
        for (const double agreement : s.route_agreement) EXPECT_EQ(agreement, 1);
        EXPECT_EQ(s.tokens_per_s, 0) << "not asked for";
    }
}

TEST(ScorePolicies, MatchesAComputationFromTheLogits) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 40);
    const auto n_vocab = static_cast<size_t>(model->spec.n_vocab);
    const std::vector<Policy> policies = {policy("k=1")};
    constexpr int kFirst = 7;
    const PolicyScore s = score(*decoder, ids, policies, {.first_scored = kFirst}).front();
    decoder->set_policy(Policy{});
    const Pass native = run_pass(*decoder, ids);
    decoder->set_policy(policies[0]);
    const Pass other = run_pass(*decoder, ids);
    const auto log_softmax = [&](const Pass& pass, size_t t) {
        std::vector<double> out(pass.logits.begin() + static_cast<std::ptrdiff_t>(t * n_vocab), pass.logits.begin() + static_cast<std::ptrdiff_t>((t + 1) * n_vocab));
        double sum = 0;
        for (const double l : out) sum += std::exp(l);
        for (double& l : out) l -= std::log(sum);
        return out;
    };
    double nll = 0, kl = 0, same = 0;
    int n = 0;
    for (size_t t = kFirst; t + 1 < ids.size(); ++t, ++n) {
        const std::vector<double> p = log_softmax(native, t), q = log_softmax(other, t);
        nll -= q[static_cast<size_t>(ids[t + 1])];
        for (size_t i = 0; i < n_vocab; ++i) kl += std::exp(p[i]) * (p[i] - q[i]);
        same += std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
    }
    EXPECT_EQ(s.n_scored, n);
    EXPECT_NEAR(s.perplexity, std::exp(nll / n), 1e-4 * s.perplexity);
    EXPECT_NEAR(s.kl, kl / n, 1e-4);
    EXPECT_NEAR(s.top1_agreement, same / n, 1.01 / n);
    EXPECT_NEAR(s.mean_sum_weights, 1, 1e-6);
    EXPECT_DOUBLE_EQ(s.bytes_per_token, static_cast<double>(model->dense_bytes_per_token + model->spec.moe_layers.size() * model->expert_bytes));
    // One of the native three is always the hard one in the first layer, whose input does not depend on the rule.
    EXPECT_NEAR(s.route_agreement[0], 1.0 / 3, 1e-9);
}

TEST(ScorePolicies, WindowsAreIndependent) {
    const auto model = golden_model("qwen3moe");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 30);
    const std::vector<Policy> policies = {policy("k=2")};
    const PolicyScore both = score(*decoder, ids, policies, {.window = 15}).front();
    // The first window's last prediction is the second window's first token.
    const PolicyScore first = score(*decoder, std::span(ids).first(16), policies, {.window = 15}).front();
    const PolicyScore second = score(*decoder, std::span(ids).subspan(15), policies, {.window = 15}).front();
    EXPECT_EQ(both.n_scored, 29);
    EXPECT_EQ(first.n_scored, 15);
    EXPECT_EQ(second.n_scored, 14);
    EXPECT_NEAR(both.kl, (first.kl * 15 + second.kl * 14) / 29, 1e-9);
    EXPECT_NEAR(std::log(both.perplexity), (std::log(first.perplexity) * 15 + std::log(second.perplexity) * 14) / 29, 1e-9);
}

TEST(ScorePolicies, MoreExpertsCostLessPerplexityOnTheBundledModel) {
    const auto model = bundled_model();
    const auto decoder = make_decoder(model, {.n_ctx = 256}, make_cpu_ops({.n_threads = 2}));
    const std::vector<int32_t> ids = model->tokenizer->encode(kText, SpecialTokens::kAsText);
    std::vector<Policy> policies = sweep_policies(Policy{}, 4);
    policies.push_back(Policy{});
    const std::vector<PolicyScore> s = score(*decoder, ids, policies, {.window = 256, .timed_tokens = 2});
    EXPECT_GT(s[0].perplexity, 1.2 * s[1].perplexity) << "the card: 30.6 against 21.1";
    EXPECT_GT(s[1].perplexity, s[2].perplexity);
    EXPECT_GT(s[2].perplexity, s[3].perplexity);
    for (int k = 1; k < 4; ++k) EXPECT_GT(s[static_cast<size_t>(k) - 1].kl, s[static_cast<size_t>(k)].kl);
    for (const PolicyScore& one : s) EXPECT_GT(one.tokens_per_s, 0);
    EXPECT_EQ(s[3].kl, 0) << "k = 4 is native";
    EXPECT_EQ(s[3].perplexity, s[4].perplexity);
    EXPECT_EQ(s[4].kl, 0);
}

TEST(ScorePolicies, ReportsProgressAndCancels) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 200);
    const std::vector<Policy> policies = sweep_policies(Policy{}, 3);
    double last = 0;
    size_t n_rows = 0;
    CancelFlag cancel;
    const auto progress = [&](const std::vector<PolicyScore>& done, double fraction) {
        EXPECT_GE(fraction, last);
        EXPECT_GE(done.size(), n_rows);
        EXPECT_LE(fraction, 1);
        last = fraction;
        n_rows = done.size();
    };
    ASSERT_TRUE(score_policies(*decoder, ids, Policy{}, policies, {.window = 100}, progress));
    EXPECT_EQ(last, 1);
    EXPECT_EQ(n_rows, 3u);
    int n_calls = 0;
    const auto cancelled = score_policies(*decoder, ids, Policy{}, policies, {.window = 100}, [&](const auto&, double) {
        if (++n_calls == 3) cancel.set();
    }, &cancel);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().kind, ErrorKind::kCancelled);
    EXPECT_EQ(n_calls, 3) << "no further pass";
}

TEST(ScorePolicies, RefusesBadInput) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    const std::vector<Policy> fine = {Policy{}}, bad = {policy("k=9")};
    for (const size_t n : {size_t{0}, size_t{1}}) {
        const auto scores = score_policies(*decoder, std::vector<int32_t>(n, 5), Policy{}, fine, {});
        ASSERT_FALSE(scores);
        EXPECT_EQ(scores.error().code, "text_too_short");
        EXPECT_EQ(scores.error().kind, ErrorKind::kInput);
    }
    const std::vector<int32_t> ids = {1, 2, 3};
    EXPECT_EQ(score_policies(*decoder, ids, Policy{}, bad, {}).error().code, "bad_policy");
    EXPECT_EQ(score_policies(*decoder, ids, bad[0], fine, {}).error().code, "bad_policy");
}

TEST(SweepPolicies, KeepTheRestOfTheBase) {
    const std::vector<Policy> policies = sweep_policies(policy("soft,temp=0.8,weights=one,mask@1=2"), 5);
    ASSERT_EQ(policies.size(), 5u);
    for (int k = 1; k <= 5; ++k) EXPECT_EQ(policies[static_cast<size_t>(k) - 1], policy("k=" + std::to_string(k) + ",temp=0.8,weights=one,mask@1=2"));
}

TEST(Overlap, IsTheSharedPartOfTheLargerSet) {
    const std::vector<int32_t> a = {1, 2, 3, 4}, b = {4, 9}, none;
    EXPECT_DOUBLE_EQ(overlap(a, b), 0.25);
    EXPECT_DOUBLE_EQ(overlap(b, a), 0.25);
    EXPECT_DOUBLE_EQ(overlap(a, a), 1);
    EXPECT_DOUBLE_EQ(overlap(a, none), 0);
}

TEST(KlDivergence, MatchesTwoCoins) {
    const std::vector<float> p = {0, 0}, q = {0, std::log(3.0f)};
    EXPECT_NEAR(kl_divergence(LogProbs(p), LogProbs(q)), 0.5 * std::log(0.5 / 0.25) + 0.5 * std::log(0.5 / 0.75), 1e-7);
    EXPECT_EQ(kl_divergence(LogProbs(q), LogProbs(q)), 0);
}

}  // namespace
}  // namespace gs
