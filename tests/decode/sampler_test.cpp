#include "engine/decode/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "engine/decode/softmax_math.h"

namespace gs {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

SamplerSettings plain() { return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .repeat_penalty = 1}; }

std::map<int32_t, int> draw(const SamplerSettings& settings, const std::vector<float>& logits, int n, const std::vector<int32_t>& recent = {}) {
    Sampler sampler(settings);
    std::map<int32_t, int> counts;
    for (int i = 0; i < n; ++i) ++counts[sampler.sample(logits, recent)];
    return counts;
}

/// Counts within five standard deviations of n p, for every id: a false alarm once in a million.
void expect_distribution(const std::map<int32_t, int>& counts, const std::vector<double>& p, int n) {
    for (size_t id = 0; id < p.size(); ++id) {
        const auto found = counts.find(static_cast<int32_t>(id));
        const double count = found == counts.end() ? 0 : found->second;
        EXPECT_NEAR(count, n * p[id], 5 * std::sqrt(n * p[id] * (1 - p[id])) + 1e-9) << "id " << id;
    }
}

std::vector<double> softmax(const std::vector<double>& logits) {
    std::vector<double> p;
    double sum = 0;
    for (const double l : logits) sum += std::exp(l);
    for (const double l : logits) p.push_back(std::exp(l) / sum);
    return p;
}

TEST(SamplerGreedy, TakesTheLargestAndTheLowerIdOfEquals) {
    Sampler greedy({.temperature = 0, .repeat_penalty = 5});
    EXPECT_EQ(greedy.sample(std::vector<float>{1, 3, 2}, {}), 1);
    EXPECT_EQ(greedy.sample(std::vector<float>{1, 3, 3}, {}), 1);
    EXPECT_EQ(greedy.sample(std::vector<float>{1, 3, 3}, std::vector<int32_t>{1}), 1) << "no penalty when greedy";
    EXPECT_EQ(greedy.sample(std::vector<float>{kNan, -3, kNan}, {}), 1);
    EXPECT_EQ(greedy.sample(std::vector<float>{0, kInf, 5}, {}), 1);
    EXPECT_EQ(greedy.sample(std::vector<float>{kNan, kNan}, {}), 0);
}

TEST(Sampler, FollowsTheSoftmax) {
    constexpr int n = 40000;
    const std::vector<float> logits = {0, 1, -1, 2, 0.5f};
    expect_distribution(draw(plain(), logits, n), softmax({0, 1, -1, 2, 0.5}), n);
}

TEST(Sampler, DividesByTheTemperature) {
    constexpr int n = 40000;
    SamplerSettings settings = plain();
    settings.temperature = 2;
    expect_distribution(draw(settings, {0, 1, -1, 2}, n), softmax({0, 0.5, -0.5, 1}), n);
    settings.temperature = 0.01f;
    EXPECT_EQ(draw(settings, {0, 1, -1, 2}, 100)[3], 100);
}

TEST(Sampler, TopKKeepsTheBestK) {
    constexpr int n = 20000;
    SamplerSettings settings = plain();
    settings.top_k = 2;
    const std::vector<double> two = softmax({1, 2});
    expect_distribution(draw(settings, {0, 1, -1, 2}, n), {0, two[0], 0, two[1]}, n);
    settings.top_k = 1;
    EXPECT_EQ(draw(settings, {2, 2, 1}, 50)[0], 50) << "ties: lower id";
    settings.top_k = 1000;
    expect_distribution(draw(settings, {0, 1, -1, 2}, n), softmax({0, 1, -1, 2}), n);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
    // Probabilities 0.5, 0.3, 0.15, 0.05.
    const std::vector<float> logits = {std::log(0.15f), std::log(0.5f), std::log(0.05f), std::log(0.3f)};
    constexpr int n = 20000;
    SamplerSettings settings = plain();
    settings.top_p = 0.6f;
    expect_distribution(draw(settings, logits, n), {0, 0.5 / 0.8, 0, 0.3 / 0.8}, n);
    settings.top_p = 0.4f;
    EXPECT_EQ(draw(settings, logits, 50)[1], 50);
    settings.top_p = 0;
    EXPECT_EQ(draw(settings, logits, 50)[1], 50) << "the best one always stays";
    settings.top_p = 0.9f;
    settings.top_k = 2;                          // of the two that are left, both are needed for nine tenths
    expect_distribution(draw(settings, logits, n), {0, 0.5 / 0.8, 0, 0.3 / 0.8}, n);
}

TEST(Sampler, TopPOfALargeVocabularyMatchesASlowCount) {
    std::vector<float> logits;
    for (int i = 0; i < 5000; ++i) logits.push_back(static_cast<float>(3 * std::sin(i * 12.9898) + 2 * std::cos(i * 0.37)));
    std::vector<double> p = softmax(std::vector<double>(logits.begin(), logits.end()));
    std::sort(p.rbegin(), p.rend());
    double sum = 0;
    size_t n_kept = 0;
    while (sum < 0.7) sum += p[n_kept++];
    SamplerSettings settings = plain();
    settings.top_p = 0.7f;
    const std::map<int32_t, int> counts = draw(settings, logits, 20000);
    EXPECT_LE(counts.size(), n_kept);
    EXPECT_GT(counts.size(), n_kept / 2);
    const std::vector<double> all = softmax(std::vector<double>(logits.begin(), logits.end()));
    for (const auto& [id, count] : counts) EXPECT_GE(all[static_cast<size_t>(id)], p[n_kept - 1] * (1 - 1e-6));
}

TEST(Sampler, MinPDropsWhatIsFarBelowTheBest) {
    constexpr int n = 20000;
    SamplerSettings settings = plain();
    settings.min_p = 0.25f;                      // relative probabilities 1, e^-1 = 0.37, e^-2 = 0.14
    const std::vector<double> two = softmax({0, -1});
    expect_distribution(draw(settings, {-1, 0, -2}, n), {two[1], two[0], 0}, n);
}

TEST(Sampler, PenalisesRecentTokensOnceEach) {
    constexpr int n = 40000;
    SamplerSettings settings = plain();
    settings.repeat_penalty = 2;
    settings.repeat_window = 3;
    // Positive logits are divided, negative ones multiplied; id 3 is outside the window of three.
    expect_distribution(draw(settings, {2, -1, 1, 1.5f}, n, {3, 0, 0, 1}), softmax({1, -2, 1, 1.5}), n);
}

TEST(Sampler, NeverTakesNan) {
    EXPECT_EQ(draw(plain(), {kNan, 0, kNan, -kInf}, 200)[1], 200);
    EXPECT_EQ(draw({}, {kNan, kNan}, 3)[0], 3);
    EXPECT_EQ(draw(plain(), {kInf, 0, 0}, 50)[0], 50);
}

TEST(Sampler, RepeatsWithItsSeed) {
    std::vector<float> logits;
    for (int i = 0; i < 300; ++i) logits.push_back(static_cast<float>(std::sin(i * 0.7) * 3));
    const auto sequence = [&](uint64_t seed) {
        Sampler sampler({.seed = seed});
        std::vector<int32_t> ids;
        for (int i = 0; i < 50; ++i) ids.push_back(sampler.sample(logits, ids));
        return ids;
    };
    EXPECT_EQ(sequence(7), sequence(7));
    EXPECT_NE(sequence(7), sequence(8));
    EXPECT_NE(sequence(0), sequence(1));
}

TEST(SamplerSettings, TextRoundTrips) {
    const SamplerSettings usual;
    EXPECT_EQ(usual.to_text(), "temp=0.7,top_p=0.9,repeat=1.1,seed=1");
    const std::vector<SamplerSettings> all = {usual, {.temperature = 0}, {.temperature = 0, .repeat_penalty = 1, .seed = 9}, plain(),
                                              {.temperature = 1.25f, .top_k = 40, .top_p = 0.333f, .min_p = 0.05f, .repeat_penalty = 1, .repeat_window = 9,
                                               .seed = UINT64_MAX}};
    for (const SamplerSettings& s : all) {
        const Result<SamplerSettings> back = SamplerSettings::parse(s.to_text());
        ASSERT_TRUE(back) << s.to_text();
        EXPECT_EQ(*back, s) << s.to_text();
    }
    EXPECT_TRUE(SamplerSettings::parse("greedy")->is_greedy());
    EXPECT_EQ(SamplerSettings({.temperature = 0}).to_text(), "greedy");
    EXPECT_EQ(*SamplerSettings::parse(""), usual);
}

TEST(SamplerSettings, BadTextNamesTheItem) {
    for (const char* text : {"temp", "temp=", "temp=abc", "temp=-1", "temp=nan", "temp=1e9", "top_p=1.5", "top_k=-3", "top_k=1.5", "seed=-1", "seed=99999999999999999999",
                             "repeat=0", "heat=1", "temp=1,", ",", "=", "temp=0.7 ", "greedy=1"}) {
        const Result<SamplerSettings> parsed = SamplerSettings::parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().kind, ErrorKind::kUsage);
        EXPECT_EQ(parsed.error().code, "bad_sampler");
        EXPECT_NE(parsed.error().remedy.find("temp="), std::string::npos);
    }
    const std::string message = SamplerSettings::parse("\x1b[2J=1").error().message();
    EXPECT_EQ(message.find('\x1b'), std::string::npos) << "a terminal must not obey what an error repeats";
}

TEST(TokenStats, MatchesTheClosedForm) {
    const std::vector<float> uniform(1000, 3.5f);
    EXPECT_NEAR(token_stats(uniform, 17).logprob, -std::log(1000.0), 1e-12);
    EXPECT_NEAR(token_stats(uniform, 17).entropy, std::log(1000.0), 1e-12);
    const TokenStats two = token_stats(std::vector<float>{0, std::log(3.0f)}, 0);
    EXPECT_NEAR(two.logprob, std::log(0.25), 1e-6);
    EXPECT_NEAR(two.entropy, -0.25 * std::log(0.25) - 0.75 * std::log(0.75), 1e-6);
    EXPECT_EQ(token_stats(std::vector<float>{500, -500}, 0).logprob, 0);
    EXPECT_TRUE(std::isfinite(token_stats(std::vector<float>{kNan, 1, -kInf}, 0).logprob));
}

TEST(ExpNonpositive, IsAsExactAsPromised) {
    for (double x = 0; x > -700; x -= 0.0917) {
        const double exact = std::exp(x);
        EXPECT_LE(std::abs(exp_nonpositive(x) - exact), 4 * 0x1p-52 * exact) << x;
    }
    for (float x = 0; x > -87; x -= 0.0131f) {
        float value = x;
        exp_nonpositive(std::span<float>(&value, 1));
        EXPECT_NEAR(value, std::exp(static_cast<double>(x)), 2 * 0x1p-23 * std::exp(static_cast<double>(x))) << x;
    }
    std::vector<float> low = {-88, -1000, -3e38f};
    exp_nonpositive(low);
    EXPECT_EQ(low, (std::vector<float>{0, 0, 0}));
    EXPECT_EQ(exp_nonpositive(0.0), 1);
    EXPECT_EQ(exp_nonpositive(-1e9), exp_nonpositive(-700));
}

}  // namespace
}  // namespace gs
