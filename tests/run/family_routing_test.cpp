// What-ifs and the gating comparison on routers beyond softmax: bias, groups, softmax after top-k, weighed inputs, SparseMixer.
#include <algorithm>
#include <cmath>

#include "engine/routing/what_if.h"
#include "engine/run/gates.h"
#include "engine/run/generator.h"
#include "engine/run/session.h"
#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

struct Kind {
    const char* golden;
    Reading reading = Reading::kLlamaCpp;
};
const Kind kKinds[] = {{"deepseek2-v3"}, {"gpt-oss"}, {"llama4"}, {"minimax-m2"}, {"minimax-m2-clamp", Reading::kReference}, {"phimoe", Reading::kReference}};

struct FinishedRun {
    std::unique_ptr<Decoder> decoder;
    TraceSnapshot trace;
};
FinishedRun make_run(const Kind& kind, const std::string& policy_text) {
    FinishedRun run{make_decoder(golden_model(kind.golden, kind.reading), {.n_ctx = 64}), {}};
    auto generator = Generator::start(*run.decoder, {.prompt = "What is a llama?", .mode = PromptMode::kRaw, .max_new_tokens = 4,
                                                     .sampler = {.temperature = 0}, .policy = policy(policy_text)}, 1);
    EXPECT_TRUE(generator);
    while (!(*generator)->done()) EXPECT_TRUE((*generator)->step());
    run.trace = (*generator)->result().trace;
    return run;
}

TEST(FamilyRouting, AWhatIfOfTheRunsOwnPolicyIsTheRun) {
    for (const Kind& kind : kKinds)
        for (const char* text : {"native", "k=1", "rule=topk,k=3,temp=0.7", "soft"}) {
            const FinishedRun run = make_run(kind, text);
            const TraceSnapshot what_if = what_if_trace(run.trace, policy(text));
            EXPECT_EQ(run.trace.info().reading, name_of(kind.reading));
            for (int t = 0; t < run.trace.n_tokens(); ++t)
                for (int m = 0; m < run.trace.n_moe_layers(); ++m) {
                    ASSERT_TRUE(std::ranges::equal(what_if.ids(m, t), run.trace.ids(m, t))) << kind.golden << " " << text;
                    ASSERT_TRUE(std::ranges::equal(what_if.weights(m, t), run.trace.weights(m, t))) << kind.golden << " " << text;
                }
        }
}

TEST(FamilyRouting, TheGatingComparisonChoosesWhatTheRunChose) {
    for (const Kind& kind : kKinds) {
        const FinishedRun run = make_run(kind, "native");
        const int token = run.trace.n_tokens() - 2;
        const auto gates = gate_comparison(*run.decoder, run.trace, token, 0, run.trace.n_tokens());
        ASSERT_TRUE(gates) << kind.golden << ": " << gates.error().message();
        const GateRow& native = *gates->find("native");
        const auto ids = run.trace.ids(0, token);
        ASSERT_EQ(native.ids.size(), ids.size()) << kind.golden;
        for (size_t j = 0; j < ids.size(); ++j) {
            EXPECT_EQ(native.ids[j], ids[j]) << kind.golden;
            EXPECT_NEAR(native.weights[ids[j]], run.trace.weights(0, token)[j], 1e-5) << kind.golden;
        }
        const int k = golden_model(kind.golden, kind.reading)->spec.router.n_used;
        EXPECT_LT(gates->find("topk", k)->error_vs_native, 1e-6) << kind.golden << ": the model's own k";
        EXPECT_EQ(gates->find("soft")->error_vs_soft, 0) << kind.golden;
    }
}

TEST(FamilyRouting, WeighedInputsAreComparedThroughTheExperts) {
    // Outputs that grow with the square of the weight: no multiple of the output at weight 1 is right.
    Decoder::Probe probe{{0.0f, 2.0f}, {1, 0, 0, 1}, {}, {}};
    int n_calls = 0;
    probe.weighed_output = [&](int expert, float weight) {
        ++n_calls;
        return std::vector<float>{expert == 0 ? weight * weight : 0, expert == 1 ? weight * weight : 0};
    };
    const RouterSpec spec{.n_experts = 2, .n_used = 1, .score = ScoreFn::kSigmoid, .select_by_logits = true, .weigh_input = true};
    const GateComparison gates = compare_gates(spec, {}, {}, probe);
    const double a = 0.5, b = 1 / (1 + std::exp(-2.0)), soft[] = {std::pow(a / (a + b), 2), std::pow(b / (a + b), 2)};
    EXPECT_NEAR(gates.soft_norm, std::hypot(soft[0], soft[1]), 1e-6);
    EXPECT_NEAR(gates.find("native")->error_vs_soft, std::hypot(soft[0], soft[1] - b * b) / std::hypot(soft[0], soft[1]), 1e-5);
    EXPECT_NEAR(gates.find("topk", 2)->error_vs_native, a * a / (b * b), 1e-5);
    EXPECT_EQ(gates.output_norms[1], 1) << "on the input as it is";
    EXPECT_EQ(n_calls, 4) << "each expert once at its own weight, once at its soft one";
}

TEST(FamilyRouting, ASessionLoadsModelsInItsReading) {
    Session session({.engine = {.ops = {.n_threads = 1}}, .reading = Reading::kReference});
    session.load_model(golden("models/phimoe/model.gguf"));
    ASSERT_TRUE(session.wait_idle(120));
    const auto state = session.latest();
    ASSERT_TRUE(state->model);
    EXPECT_EQ(state->model->spec.reading, Reading::kReference);
    EXPECT_EQ(state->model->spec.router.score, ScoreFn::kSparseMixer);
}

TEST(FamilyRouting, ARunIsNotComparedUnderAnotherReading) {
    const FinishedRun run = make_run({"phimoe"}, "native");
    const auto other = make_decoder(golden_model("phimoe", Reading::kReference), {.n_ctx = 64});
    const auto gates = gate_comparison(*other, run.trace, 1, 0, 0);
    ASSERT_FALSE(gates);
    EXPECT_EQ(gates.error().code, "wrong_reading");
}

}  // namespace
}  // namespace gs
