// The sweep over k, against the same figures computed another way.
#include "engine/run/sweep.h"

#include <cmath>

#include "engine/run/evaluate_window.h"
#include "engine/run/layer_error.h"
#include "engine/run/tune_export.h"
#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

SweepResult sweep(Decoder& decoder, std::span<const int32_t> ids, const SweepPlan& plan) {
    const auto result = measure_sweep(decoder, ids, plan);
    EXPECT_TRUE(result) << (result ? "" : result.error().message());
    return result ? *result : SweepResult{};
}

/// Routed outputs [T, D] of one layer in a whole forward pass under a policy.
std::vector<float> routed_outputs(Decoder& decoder, std::span<const int32_t> ids, const Policy& policy, int layer) {
    std::vector<float> out;
    decoder.set_policy(policy);
    decoder.set_tap([&](Tap what, int l, int, int, std::span<const float> values) {
        if (what == Tap::kRoutedOutput && l == layer) out.insert(out.end(), values.begin(), values.end());
    });
    EXPECT_TRUE(decoder.forward(ids, 0, LogitRows::kNone));
    decoder.set_tap(nullptr);
    return out;
}

/// With k changed in one layer alone, what enters that layer is what native routing gives: its output in such a pass is what the sweep compares.
TEST(Sweep, LayerErrorsAreThoseOfPassesThatChangeOneLayer) {
    for (const char* name : {"granitemoe", "qwen2moe", "llama4", "deepseek2-v3"}) {
        const auto model = golden_model(name);
        const auto decoder = make_decoder(model);
        const ModelSpec& spec = model->spec;
        const std::vector<int32_t> ids = some_ids(*model, 24);
        const int n_experts = spec.router.n_experts;
        const SweepResult result = sweep(*decoder, ids, {.ks = {1, n_experts}, .options = {.error_tokens = 24}});
        ASSERT_EQ(result.rows.size(), 2u) << name;
        const auto width = static_cast<size_t>(spec.n_embd);
        double mean[2] = {};
        for (size_t m = 0; m < spec.moe_layers.size(); ++m) {
            const int layer = spec.moe_layers[m];
            const std::vector<float> native = routed_outputs(*decoder, ids, Policy{}, layer);
            for (size_t row = 0; row < 2; ++row) {
                const int k = result.plan.ks[row];
                const std::vector<float> other = routed_outputs(*decoder, ids, policy("k@" + std::to_string(layer) + "=" + std::to_string(k)), layer);
                double sum = 0;
                for (size_t t = 0; t < ids.size(); ++t) {
                    double off = 0, norm = 0;
                    for (size_t i = t * width; i < (t + 1) * width; ++i) {
                        off += std::pow(static_cast<double>(other[i]) - static_cast<double>(native[i]), 2);
                        norm += std::pow(static_cast<double>(native[i]), 2);
                    }
                    sum += std::sqrt(off / norm);
                }
                if (m == 0) mean[row] = 0;
                mean[row] += sum / static_cast<double>(ids.size() * spec.moe_layers.size());
                EXPECT_NEAR(result.rows[row].layer_error[m], sum / static_cast<double>(ids.size()), 2e-5 + 1e-4 * sum / static_cast<double>(ids.size())) << name << ", layer " << layer << ", k " << k;
            }
        }
        for (size_t row = 0; row < 2; ++row) EXPECT_NEAR(result.rows[row].mean_layer_error, mean[row], 1e-4 + 1e-4 * mean[row]) << name;
    }
}

TEST(Sweep, NothingIsLostAtTheNativeK) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const SweepResult result = sweep(*decoder, some_ids(*model, 129), {.options = {.error_tokens = 40}});   // the last token of it runs as a step
    ASSERT_EQ(result.rows.size(), static_cast<size_t>(model->spec.router.n_experts));
    ASSERT_EQ(result.native_row(), model->spec.router.n_used - 1);
    const PolicyScore& native = result.rows[static_cast<size_t>(result.native_row())];
    EXPECT_EQ(native.kl, 0);
    EXPECT_EQ(native.kl_se, 0);
    EXPECT_EQ(native.excess_nll, 0);
    EXPECT_EQ(native.top1_agreement, 1);
    for (const double error : native.layer_error) EXPECT_EQ(error, 0);
    const PolicyScore& one = result.rows.front();
    for (const double error : one.layer_error) EXPECT_GT(error, 0);
    EXPECT_GT(one.kl_se, 0);
    EXPECT_NEAR(std::exp(one.excess_nll), one.perplexity / native.perplexity, 1e-9);
    EXPECT_LT(one.excess_nll_se, 2 * one.nll_se + 1e-12) << "of paired positions";
    EXPECT_GE(one.n_error_tokens, 30);
    EXPECT_LE(one.n_error_tokens, 40);
}

TEST(Sweep, StandardErrorsAreThoseOfTheSinglePositions) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 30);
    const PolicyScore s = sweep(*decoder, ids, {.ks = {1}}).rows.front();
    const auto n_vocab = static_cast<size_t>(model->spec.n_vocab);
    const auto rows = [&](const Policy& under) {
        decoder->set_policy(under);
        std::vector<float> all;
        decoder->set_logit_function([&](int, std::span<const float> logits) { all.insert(all.end(), logits.begin(), logits.end()); });
        EXPECT_TRUE(decoder->forward(ids, 0, LogitRows::kAll));
        decoder->set_logit_function(nullptr);
        return all;
    };
    const std::vector<float> native = rows(Policy{}), other = rows(policy("k=1"));
    std::vector<double> nll, kl;
    for (size_t t = 0; t + 1 < ids.size(); ++t) {
        double zp = 0, zq = 0, sum = 0;
        for (size_t i = 0; i < n_vocab; ++i) zp += std::exp(static_cast<double>(native[t * n_vocab + i])), zq += std::exp(static_cast<double>(other[t * n_vocab + i]));
        const auto log_p = [&](size_t i) { return static_cast<double>(native[t * n_vocab + i]) - std::log(zp); };
        const auto log_q = [&](size_t i) { return static_cast<double>(other[t * n_vocab + i]) - std::log(zq); };
        for (size_t i = 0; i < n_vocab; ++i) sum += std::exp(log_p(i)) * (log_p(i) - log_q(i));
        nll.push_back(-log_q(static_cast<size_t>(ids[t + 1])));
        kl.push_back(sum);
    }
    const auto check = [](const std::vector<double>& values, double mean, double error) {
        const auto n = static_cast<double>(values.size());
        double sum = 0, squares = 0;
        for (const double v : values) sum += v;
        for (const double v : values) squares += (v - sum / n) * (v - sum / n);
        EXPECT_NEAR(mean, sum / n, 1e-4 * std::abs(sum / n));
        EXPECT_NEAR(error, std::sqrt(squares / (n - 1) / n), 1e-3 * error);
    };
    check(nll, std::log(s.perplexity), s.nll_se);
    check(kl, s.kl, s.kl_se);
    EXPECT_NEAR(s.perplexity_se(), s.perplexity * s.nll_se, 1e-12);
    const double p = s.top1_agreement;
    EXPECT_NEAR(s.top1_se, std::sqrt(p * (1 - p) / 28), 1e-12);
}

TEST(Sweep, FillsInWithinARowAndRefinesOverWindows) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 300);
    std::vector<int> seen;                                   // positions behind the first row, as they grow
    double last = 0;
    const auto progress = [&](const SweepResult& so_far, double fraction) {
        EXPECT_GE(fraction, last);
        EXPECT_EQ(so_far.plan.ks, (std::vector<int>{1, 2, 3}));
        last = fraction;
        if (so_far.rows.empty()) return;
        const PolicyScore& first = so_far.rows.front();
        EXPECT_GT(first.perplexity, 0);
        EXPECT_GT(first.bytes_per_token, static_cast<double>(model->dense_bytes_per_token));
        if (seen.empty() || seen.back() != first.n_scored) seen.push_back(first.n_scored);
    };
    const auto result = measure_sweep(*decoder, ids, {.ks = {3, 1, 2, 1}, .options = {.window = 150, .timed_tokens = 2, .error_tokens = 20}}, progress);
    ASSERT_TRUE(result);
    EXPECT_EQ(seen, (std::vector<int>{64, 128, 150, 214, 278, 299}));
    EXPECT_EQ(last, 1);
    EXPECT_TRUE(result->complete);
    for (const PolicyScore& s : result->rows) {
        EXPECT_EQ(s.n_scored, result->n_to_score());
        EXPECT_EQ(s.n_timed, 2);
        EXPECT_GT(s.tokens_per_s, 0);
    }
    CancelFlag cancel;
    int n_rows = 0;
    const auto cancelled = measure_sweep(*decoder, ids, {.ks = {1, 2, 3}}, [&](const SweepResult& so_far, double) {
        n_rows = static_cast<int>(so_far.rows.size());
        if (n_rows == 2) cancel.set();
    }, &cancel);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().kind, ErrorKind::kCancelled);
    EXPECT_EQ(n_rows, 2);
}

TEST(Sweep, RefusesBadInput) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    const std::vector<int32_t> ids = {1, 2, 3}, one = {1};
    EXPECT_EQ(measure_sweep(*decoder, one, {}).error().code, "text_too_short");
    EXPECT_EQ(measure_sweep(*decoder, ids, {.ks = {0}}).error().code, "bad_k");
    EXPECT_EQ(measure_sweep(*decoder, ids, {.ks = {9}}).error().code, "bad_k");
    EXPECT_EQ(measure_sweep(*decoder, ids, {.base = policy("force@0=1:2"), .ks = {1}}).error().code, "bad_policy");
    EXPECT_EQ(measure_sweep(*make_decoder(golden_model("llama")), ids, {}).error().code, "dense_model");
}

TEST(LayerErrors, AreOfTokensEvenlySpacedOverTheText) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    for (const auto& [first, n, wanted] : {std::tuple{0, 100, 10}, {0, 100, 1000}, {0, 7, 3}, {5, 25, 4}, {0, 10, 0}}) {
        const LayerErrors errors(*decoder, first, n, wanted);
        std::vector<int> positions;
        for (int p = -1; p <= n; ++p)
            if (errors.wants(p)) positions.push_back(p);
        EXPECT_EQ(static_cast<int>(positions.size()), errors.n_wanted());
        EXPECT_LE(errors.n_wanted(), std::max(wanted, 0));
        if (wanted <= 0) continue;
        ASSERT_FALSE(positions.empty());
        EXPECT_GE(positions.front(), first);
        EXPECT_LT(positions.back(), n);
        for (size_t i = 2; i < positions.size(); ++i) EXPECT_EQ(positions[i] - positions[i - 1], positions[1] - positions[0]);
    }
}

TEST(RunningMean, IsTheMeanAndItsStandardError) {
    RunningMean mean;
    EXPECT_EQ(mean.standard_error(), 0);
    for (const double v : {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}) mean.add(v);
    EXPECT_DOUBLE_EQ(mean.mean, 1e9 + 10);
    EXPECT_NEAR(mean.standard_error(), std::sqrt(30.0 / 4), 1e-9) << "no cancellation";
}

TEST(SweepExport, GivesTheSameFiguresInBothForms) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model);
    const SweepResult result = sweep(*decoder, some_ids(*model, 30), {.ks = {1, 3}});
    const auto json = sweep_json(result);
    ASSERT_EQ(json["rows"].size(), 2u);
    EXPECT_EQ(json["rows"][0]["kl"].get<double>(), result.rows[0].kl);
    EXPECT_EQ(json["rows"][1]["layer_error"].size(), result.moe_layers.size());
    const std::string csv = sweep_csv(result);
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
    const auto n_commas = [&](size_t from) { return std::count(csv.begin() + static_cast<std::ptrdiff_t>(from), csv.begin() + static_cast<std::ptrdiff_t>(csv.find('\n', from)), ','); };
    EXPECT_EQ(n_commas(0), n_commas(csv.find('\n') + 1));
    EXPECT_NE(csv.find(json["rows"][0]["perplexity"].dump().substr(0, 10)), std::string::npos);
}

}  // namespace
}  // namespace gs
