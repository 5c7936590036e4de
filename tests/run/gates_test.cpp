#include "engine/run/gates.h"

#include <cmath>

#include "engine/run/generator.h"
#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

/// Four experts with outputs along the axes of a plane and known logits.
Decoder::Probe small_probe() { return {{0.0f, 2.0f, 1.0f, -1.0f}, {1, 0, 0, 1, -1, 0, 0, 2}, {3, 4}}; }
const RouterSpec kSpec{.n_experts = 4, .n_used = 2, .score = ScoreFn::kSoftmax, .renormalise = true};

TEST(CompareGates, MatchesAComputationByHand) {
    const GateComparison gates = compare_gates(kSpec, {.rule = GateRule::kTopK, .k = 3}, {}, small_probe());
    ASSERT_EQ(gates.rows.size(), 8u);
    const char* const rules[] = {"native", "policy", "soft", "hard", "topk", "topk", "topk", "topk"};
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(gates.rows[i].rule, rules[i]);
    const double e[] = {std::exp(0), std::exp(2), std::exp(1), std::exp(-1)}, sum = e[0] + e[1] + e[2] + e[3];
    const double soft[] = {(e[0] - e[2]) / sum, (e[1] + 2 * e[3]) / sum};
    EXPECT_NEAR(gates.soft_norm, std::hypot(soft[0], soft[1]), 1e-6);
    const double native[] = {-e[2] / (e[1] + e[2]), e[1] / (e[1] + e[2])};
    const GateRow* row = gates.find("native");
    ASSERT_TRUE(row);
    EXPECT_EQ(row->ids, (std::vector<int32_t>{1, 2}));
    EXPECT_NEAR(row->weights[1], e[1] / (e[1] + e[2]), 1e-6);
    EXPECT_EQ(row->weights[0], 0);
    EXPECT_NEAR(row->sum, 1, 1e-6);
    EXPECT_NEAR(row->error_vs_soft, std::hypot(native[0] - soft[0], native[1] - soft[1]) / std::hypot(soft[0], soft[1]), 1e-6);
    EXPECT_NEAR(row->cosine_vs_soft, (native[0] * soft[0] + native[1] * soft[1]) / std::hypot(native[0], native[1]) / std::hypot(soft[0], soft[1]), 1e-6);
    EXPECT_NEAR(gates.shared_norm, 5, 1e-6);
    EXPECT_NEAR(gates.preference[1], e[1] / sum, 1e-6);
    const float norms[] = {1, 1, 1, 2};
    for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(gates.output_norms[i], norms[i]);
}

TEST(CompareGates, HoldsItsIdentities) {
    const GateComparison gates = compare_gates(kSpec, {}, {}, small_probe());
    const GateRow &soft = *gates.find("soft"), &all = *gates.find("topk", 4), &hard = *gates.find("hard"), &one = *gates.find("topk", 1);
    EXPECT_EQ(soft.error_vs_soft, 0);
    EXPECT_EQ(soft.cosine_vs_soft, 1);
    EXPECT_LT(all.error_vs_soft, 1e-6);
    EXPECT_EQ(hard.ids, one.ids);
    EXPECT_EQ(hard.error_vs_soft, one.error_vs_soft);
    EXPECT_EQ(gates.find("native")->error_vs_native, 0);
    EXPECT_EQ(gates.find("policy")->error_vs_native, 0) << "native in force";
    EXPECT_EQ(gates.find("topk", 2)->error_vs_native, 0) << "the model's own k";
    EXPECT_EQ(gates.find("topk", 5), nullptr);
    EXPECT_EQ(gates.find("nothing"), nullptr);
}

TEST(CompareGates, StandsZeroOutputs) {
    Decoder::Probe probe = small_probe();
    std::fill(probe.expert_outputs.begin(), probe.expert_outputs.end(), 0.0f);
    for (const GateRow& row : compare_gates(kSpec, {}, {}, probe).rows) {
        EXPECT_EQ(row.error_vs_soft, 0);
        EXPECT_EQ(row.cosine_vs_soft, 1);
    }
}

struct FinishedRun {
    std::unique_ptr<Decoder> decoder;
    RunResult result;
};
FinishedRun make_run(std::shared_ptr<const Model> model, const std::string& policy_text = "native") {
    FinishedRun run{make_decoder(model, {.n_ctx = 64}), {}};
    auto generator = Generator::start(*run.decoder, {.prompt = "What is a llama?", .mode = PromptMode::kRaw, .max_new_tokens = 4,
                                                     .sampler = {.temperature = 0}, .policy = policy(policy_text)}, 1);
    EXPECT_TRUE(generator);
    while (!(*generator)->done()) EXPECT_TRUE((*generator)->step());
    run.result = (*generator)->result();
    return run;
}

TEST(GateComparison, OfTheBundledModelAddsUp) {
    const FinishedRun run = make_run(bundled_model(), "k=2");
    const TraceSnapshot& trace = run.result.trace;
    const int token = trace.n_tokens() - 2, moe_layer = 12;
    const auto gates = gate_comparison(*run.decoder, trace, token, moe_layer, trace.n_tokens());
    ASSERT_TRUE(gates);
    EXPECT_EQ(gates->layer, trace.info().moe_layers[12]);
    EXPECT_EQ(gates->trace_revision, trace.revision());
    const GateRow& applied = *gates->find("policy");
    const auto ids = trace.ids(moe_layer, token);
    ASSERT_EQ(applied.ids.size(), ids.size());
    for (size_t j = 0; j < ids.size(); ++j) {
        EXPECT_EQ(applied.ids[j], ids[j]) << "what the run recorded";
        EXPECT_NEAR(applied.weights[ids[j]], trace.weights(moe_layer, token)[j], 1e-5);
    }
    // The error falls with k, but not at each step: outputs can cancel. Over four it must.
    EXPECT_LT(gates->find("topk", 16)->error_vs_soft, 1e-5);
    for (int k = 1; k + 4 <= 16; k += 4) EXPECT_GT(gates->find("topk", k)->error_vs_soft, gates->find("topk", k + 4)->error_vs_soft);
    EXPECT_GT(gates->find("hard")->error_vs_soft, 0);
    EXPECT_GT(gates->shared_norm, 0);
    EXPECT_EQ(gates->find("topk", 4)->error_vs_native, 0);
}

TEST(GateComparison, IsTheSameFromTheCacheAndFromAReplay) {
    const FinishedRun run = make_run(golden_model("granitemoe"));
    const TraceSnapshot& trace = run.result.trace;
    const int token = trace.n_tokens() - 1;
    const auto cached = gate_comparison(*run.decoder, trace, token, 1, trace.n_tokens());
    const auto fresh = make_decoder(golden_model("granitemoe"), {.n_ctx = 64});
    const auto replayed = gate_comparison(*fresh, trace, token, 1, 0);
    ASSERT_TRUE(cached);
    ASSERT_TRUE(replayed);
    EXPECT_LT(max_difference(cached->logits, replayed->logits), 1e-4);
    for (size_t i = 0; i < cached->rows.size(); ++i) EXPECT_NEAR(cached->rows[i].error_vs_soft, replayed->rows[i].error_vs_soft, 1e-4);
}

TEST(GateComparison, ReplaysEachTokenUnderItsRecordedPolicy) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model, {.n_ctx = 64});
    auto generator = Generator::start(*decoder, {.prompt = "What is a llama?", .mode = PromptMode::kRaw, .max_new_tokens = 6, .sampler = {.temperature = 0}}, 1);
    ASSERT_TRUE(generator);
    while (!(*generator)->done()) {
        ASSERT_TRUE((*generator)->step());
        ASSERT_TRUE((*generator)->set_policy(policy((*generator)->result().timings.decode_tokens % 2 ? "k=1" : "soft")));
    }
    const TraceSnapshot trace = (*generator)->result().trace;
    const int token = trace.n_tokens() - 1;
    const auto fresh = make_decoder(model, {.n_ctx = 64});
    const auto replayed = gate_comparison(*fresh, trace, token, 2, 0);
    ASSERT_TRUE(replayed);
    EXPECT_LT(max_difference(replayed->logits, trace.logits(2, token)), 1e-4);
}

TEST(GateComparison, RefusesWhatItCannotAnswer) {
    const FinishedRun run = make_run(golden_model("granitemoe"));
    const TraceSnapshot& trace = run.result.trace;
    const auto other = make_decoder(golden_model("mixtral"));
    const auto wrong = gate_comparison(*other, trace, 0, 0, 0);
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, "wrong_model");
    for (const auto& [token, layer] : {std::pair{-1, 0}, std::pair{trace.n_tokens(), 0}, std::pair{0, -1}, std::pair{0, 3}}) {
        const auto gates = gate_comparison(*run.decoder, trace, token, layer, 0);
        ASSERT_FALSE(gates);
        EXPECT_EQ(gates.error().code, "out_of_range");
    }
    CancelFlag cancelled;
    cancelled.set();
    const auto stopped = gate_comparison(*run.decoder, trace, 3, 0, 0, &cancelled);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, ErrorKind::kCancelled);
    const auto tiny = make_decoder(golden_model("granitemoe"), {.n_ctx = 4});
    const auto full = gate_comparison(*tiny, trace, 4, 0, 0);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, "context_full");
}

}  // namespace
}  // namespace gs
