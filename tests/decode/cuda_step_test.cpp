// Steps of the CUDA back end on the emulated device: captured once, replayed from then on, and to the bit what kernels launched one by one give.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "tests/cuda_emulation/emulation.h"
#include "tests/decode/decoder_fixture.h"

namespace gs::test {
namespace {

/// Knows no steps: every operation is a launch of its own, with its positions and ids as arguments.
class WithoutSteps final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    std::vector<std::span<const std::byte>> adopt(std::span<const Weight> matrices, std::span<const Weight> others,
                                                  const std::shared_ptr<const void>& owner, const AdoptProgress& progress) override {
        return inner().adopt(matrices, others, owner, progress);
    }
    void norm_linear(const NormCall& before, std::span<const LinearCall> calls) override { inner().norm_linear(before, calls); }
};

/// Hands steps on, and calls `at_norm` at each norm of their calls.
class WatchedSteps final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    std::function<void()> at_norm = [] {};
    int n_asked = 0;                   ///< how often a step's calls were made

    std::vector<std::span<const std::byte>> adopt(std::span<const Weight> matrices, std::span<const Weight> others,
                                                  const std::shared_ptr<const void>& owner, const AdoptProgress& progress) override {
        return inner().adopt(matrices, others, owner, progress);
    }
    void step(const StepShape& shape, std::span<const int32_t> ids, int first, const std::function<bool()>& calls) override {
        inner().step(shape, ids, first, [&] { return ++n_asked, calls(); });
    }
    void norm(const NormCall& call) override {
        at_norm();
        ForwardingOps::norm(call);
    }
    void norm_linear(const NormCall& before, std::span<const LinearCall> calls) override {
        at_norm();
        inner().norm_linear(before, calls);
    }
};

/// Steps as they are, but norms apart from what follows them.
class NormsApart final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    void step(const StepShape& shape, std::span<const int32_t> ids, int first, const std::function<bool()>& calls) override { inner().step(shape, ids, first, calls); }
};

struct Graphs {
    uint64_t made = cuda_emulation::counters().graphs_made, launched = cuda_emulation::counters().graph_launches;
};
Graphs operator-(const Graphs& a, const Graphs& b) { return {a.made - b.made, a.launched - b.launched}; }

void expect_equal(const Pass& a, const Pass& b, const std::string& where) {
    EXPECT_EQ(a.logits, b.logits) << where;
    ASSERT_EQ(a.routes.size(), b.routes.size()) << where;
    for (size_t i = 0; i < a.routes.size(); ++i) {
        EXPECT_EQ(a.routes[i].ids, b.routes[i].ids) << where;
        EXPECT_EQ(a.routes[i].weights, b.routes[i].weights) << where;
        EXPECT_EQ(a.routes[i].logits, b.routes[i].logits) << where;
    }
}

/// Two decoders of a model, one with steps and one without, that are given the same tokens.
struct Pair {
    Pair(const std::string& name, const DecoderOptions& options) : Pair(golden_model(name), options, emulated({})) {}
    Pair(std::shared_ptr<const Model> of, const DecoderOptions& options, std::shared_ptr<Ops> ops)
        : model(std::move(of)), steps(make_decoder(model, options, std::move(ops))), plain(make_decoder(model, options, std::make_shared<WithoutSteps>(emulated({})))) {}
    void prompt(int n, int position) { run(some_ids(*model, n), position); }
    void step(int position) { run({some_ids(*model, position + 1).back()}, position); }
    void run(const std::vector<int32_t>& ids, int position) {
        expect_equal(run_pass(*steps, ids, position), run_pass(*plain, ids, position), "position " + std::to_string(position));
    }
    void set_policy(const Policy& to) {
        steps->set_policy(to);
        plain->set_policy(to);
    }

    std::shared_ptr<const Model> model;
    std::unique_ptr<Decoder> steps, plain;
};

class CudaStep : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override {
        cuda_emulation::set_seed(std::hash<std::string>{}(GetParam()));
        cuda_emulation::set_deferred(true);
    }
    void TearDown() override { cuda_emulation::set_deferred(false); }
};

// Windows and sinks; chunks, growing queries and two rotations; latent attention with a growth every eight positions; long divisors and layer norms; dense
// layers and shared experts with biases.
INSTANTIATE_TEST_SUITE_P(Families, CudaStep, testing::Values("gpt-oss-mxfp4", "llama4-local-base", "deepseek2-temperature", "phimoe-long", "glm4moe"),
                         [](const auto& row) {
                             std::string name = row.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST_P(CudaStep, AChangedPolicyReplaysTheGraphThatThereIs) {
    Pair pair(GetParam(), {.n_ctx = 64});
    pair.prompt(5, 0);
    const Graphs before;
    int position = 5;
    for (const char* text : {"native", "k=1", "k=3", "mask@*=0", "rule=soft", "k=4,mask@1=2,force@1=3", "weights=native-sum", "k=2,temp=0.5", "native"}) {
        pair.set_policy(policy(text));
        for (int i = 0; i < 2; ++i) pair.step(position++);
        if (HasFailure()) FAIL() << text;
    }
    const Graphs n = Graphs() - before;
    EXPECT_EQ(n.made, 1u);
    EXPECT_EQ(n.launched, 17u) << "all of 18 steps but the first, which brings weights and memory";
}

TEST_P(CudaStep, ADoubledContextIsCapturedAnew) {
    // What lies before 120 is no part of the context: only the length counts.
    Pair pair(GetParam(), {.n_ctx = 300, .begin = 120});
    const Graphs before;
    for (int position = 120; position < 134; ++position) pair.step(position);
    const Graphs n = Graphs() - before;
    EXPECT_EQ(n.made, 2u);
    EXPECT_EQ(n.launched, 12u);
    // Back in the first bucket its graph is still there.
    for (int position = 123; position < 126; ++position) pair.step(position);
    EXPECT_EQ((Graphs() - before).made, 2u);
    EXPECT_EQ((Graphs() - before).launched, 15u);
}

TEST(CudaSteps, KeysDividedAmongBlocksAreTheSameInEveryLengthOfABucket) {
    Pair pair("mixtral", {.n_ctx = 400});
    pair.prompt(253, 0);
    const Graphs before;
    for (int position = 253; position < 262; ++position) pair.step(position);
    EXPECT_EQ((Graphs() - before).made, 2u);
}

/// Kernels of one decoded token.
uint64_t launches_a_token(Decoder& decoder) {
    for (int position = 0; position < 3; ++position) EXPECT_TRUE(decoder.forward(std::vector<int32_t>{5}, position, LogitRows::kLast));
    const uint64_t before = cuda_emulation::counters().launches;
    EXPECT_TRUE(decoder.forward(std::vector<int32_t>{5}, 3, LogitRows::kLast));
    return cuda_emulation::counters().launches - before;
}

TEST(CudaSteps, ALayersNormsAndTheFinalOneAreNoLaunchesOfTheirOwn) {
    for (const std::string name : {"mixtral", "qwen2moe", "glm4moe", "deepseek2-v3", "phimoe-long"}) {
        const auto model = golden_model(name);
        const auto fused = make_decoder(model, {.n_ctx = 32}, emulated({})), apart = make_decoder(model, {.n_ctx = 32}, std::make_shared<NormsApart>(emulated({})));
        const uint64_t n = launches_a_token(*fused), n_apart = launches_a_token(*apart);
        const auto n_layers = static_cast<uint64_t>(model->spec.n_layers), n_moe = static_cast<uint64_t>(model->spec.moe_layers.size());
        EXPECT_EQ(n_apart - n, n_layers + n_moe + 1) << name;
        // Table and angles of the token, the head; of a layer q·k·v, two rotations, cache, attention, projection, sum, router, choice, two of the
        // experts, sum.
        if (name == "mixtral") {
            EXPECT_EQ(n, 3 + 12 * n_layers);
        }
        const std::vector<int32_t> ids = some_ids(*model, 6);
        for (int position = 4; position < 6; ++position) {
            const std::vector<int32_t> id{ids[static_cast<size_t>(position)]};
            expect_equal(run_pass(*fused, id, position), run_pass(*apart, id, position), name);
        }
        std::printf("%s: %llu launches a token, %llu with norms apart\n", name.c_str(), static_cast<unsigned long long>(n), static_cast<unsigned long long>(n_apart));
    }
}

TEST(CudaSteps, ThreadsInAnyOrderGiveTheSameBits) {
    std::vector<float> first;
    for (const uint64_t seed : {3, 4, 5, 6}) {
        cuda_emulation::set_seed(seed);
        const auto decoder = make_decoder(golden_model("mixtral"), {.n_ctx = 32}, emulated({}));
        std::vector<float> all;
        for (int position = 0; position < 6; ++position) {
            const Pass pass = run_pass(*decoder, std::vector<int32_t>{17 + position}, position);
            all.insert(all.end(), pass.logits.begin(), pass.logits.end());
        }
        if (first.empty()) first = all;
        EXPECT_EQ(all, first) << seed;
    }
}

TEST(CudaSteps, PassesWithoutLogitsAndWithTapsDoNotDisturbThem) {
    Pair pair("mixtral", {.n_ctx = 32});
    const Graphs before;
    for (int position = 0; position < 12; ++position) {
        if (position % 3 == 1) {
            const std::vector<int32_t> id = some_ids(*pair.model, 1);
            ASSERT_TRUE(pair.steps->forward(id, position, LogitRows::kNone));
            ASSERT_TRUE(pair.plain->forward(id, position, LogitRows::kNone));
            continue;
        }
        if (position % 3 == 2) pair.steps->set_tap([](Tap, int, int, int, std::span<const float>) {});
        pair.step(position);
        pair.steps->set_tap(nullptr);
        const auto probed = pair.steps->probe(1, position + 1, 0), expected = pair.plain->probe(1, position + 1, 0);
        ASSERT_TRUE(probed && expected);
        EXPECT_EQ(probed->router_logits, expected->router_logits);
        EXPECT_EQ(probed->expert_outputs, expected->expert_outputs);
    }
    EXPECT_EQ((Graphs() - before).made, 2u) << "with logits, and without";
}

TEST(CudaSteps, WhenAnotherModelTakesTheDeviceTheFirstGoesOnKernelByKernel) {
    const std::shared_ptr<Ops> ops = emulated({});
    Pair first(golden_model("mixtral"), {.n_ctx = 32}, ops);
    for (int position = 0; position < 4; ++position) first.step(position);
    Pair second(golden_model("qwen3moe"), {.n_ctx = 32}, ops);
    Graphs before;
    for (int position = 0; position < 4; ++position) second.step(position);
    EXPECT_EQ((Graphs() - before).made, 1u);
    EXPECT_EQ((Graphs() - before).launched, 3u);
    EXPECT_EQ(ops->name().find("kernel by kernel"), std::string::npos);
    before = {};
    for (int position = 4; position < 8; ++position) first.step(position);
    EXPECT_EQ((Graphs() - before).launched, 0u);
    EXPECT_NE(ops->name().find("kernel by kernel: not all weights are on the device"), std::string::npos) << ops->name();
    for (int position = 4; position < 8; ++position) second.step(position);
    EXPECT_EQ((Graphs() - before).launched, 4u);
    EXPECT_TRUE(ops->check());
}

TEST(CudaSteps, MemoryThatIsReleasedIsInNoGraph) {
    const std::shared_ptr<Ops> ops = emulated({});
    Pair pair(golden_model("mixtral"), {.n_ctx = 32}, ops);
    for (int position = 0; position < 3; ++position) pair.step(position);
    const Graphs before;
    ops->release(ops->allocate(1000));
    for (int position = 3; position < 6; ++position) pair.step(position);
    EXPECT_EQ((Graphs() - before).made, 1u);
    // A longer prompt moves the memory that operations work in.
    pair.prompt(20, 6);
    for (int position = 26; position < 29; ++position) pair.step(position);
    EXPECT_EQ((Graphs() - before).made, 2u);
}

TEST(CudaSteps, OneThatIsCancelledMidwayLeavesNothingBehind) {
    // While weights come to the device; while it would be captured; while it would be replayed.
    for (const int n_before : {0, 1, 3}) {
        const auto ops = std::make_shared<WatchedSteps>(emulated({}));
        Pair pair(golden_model("mixtral"), {.n_ctx = 32}, ops);
        int position = 0;
        for (; position < n_before; ++position) pair.step(position);
        CancelFlag cancel;
        int n_norms = 0;
        ops->at_norm = [&] {
            if (++n_norms == 2) cancel.set();
        };
        const std::vector<int32_t> id{7};
        const Graphs before;
        if (n_before == 3) cancel.set();   // a replay asks for no norm
        const Result<void> cancelled = pair.steps->forward(id, position, LogitRows::kLast, &cancel);
        ASSERT_FALSE(cancelled);
        EXPECT_EQ(cancelled.error().kind, ErrorKind::kCancelled);
        EXPECT_EQ((Graphs() - before).made, 0u);
        ops->at_norm = [] {};
        for (int i = 0; i < 4; ++i) pair.step(position++);
        EXPECT_TRUE(ops->check());
    }
}

TEST(CudaSteps, EachStageOfADividedModelHasItsOwn) {
    const auto divided = [](const std::shared_ptr<Ops>& device, const std::shared_ptr<Ops>& last) {
        const auto model = golden_model("glm4moe");
        const int n = model->spec.n_layers;
        Result<std::unique_ptr<Decoder>> decoder = Decoder::create(model, {{exact_ops(), 0, 1}, {device, 1, n - 1}, {last, n - 1, n}}, {.n_ctx = 32});
        EXPECT_TRUE(decoder);
        return std::move(*decoder);
    };
    for (const uint64_t n_stages : {1, 2}) {
        const std::shared_ptr<Ops> device = emulated({}), other = std::make_shared<WithoutSteps>(emulated({}));
        const auto decoder = divided(device, n_stages == 2 ? device : exact_ops()), plain = divided(other, n_stages == 2 ? other : exact_ops());
        const Graphs before;
        for (int position = 0; position < 6; ++position) {
            const std::vector<int32_t> id{3 + position};
            expect_equal(run_pass(*decoder, id, position), run_pass(*plain, id, position), std::to_string(position));
        }
        EXPECT_EQ((Graphs() - before).made, n_stages);
        EXPECT_EQ((Graphs() - before).launched, 5 * n_stages);
    }
}

TEST(CudaSteps, AreAskedForTheirCallsTwiceAndThenNoMore) {
    const auto ops = std::make_shared<WatchedSteps>(emulated({}));
    const auto decoder = make_decoder(golden_model("mixtral"), {.n_ctx = 32}, ops);
    for (int position = 0; position < 8; ++position) ASSERT_TRUE(decoder->forward(std::vector<int32_t>{5}, position, LogitRows::kLast));
    EXPECT_EQ(ops->n_asked, 2);
}

TEST(CudaSteps, TimesCountReplaysAsTheyCountKernels) {
    Pair pair("mixtral", {.n_ctx = 32});
    for (int position = 0; position < 3; ++position) pair.step(position);
    pair.steps->ops().reset_times();
    pair.plain->ops().reset_times();
    const Graphs before;
    for (int position = 3; position < 8; ++position) pair.step(position);
    EXPECT_EQ((Graphs() - before).launched, 4u) << "one goes kernel by kernel, to say what each of them takes";
    const std::vector<Ops::OpTime> times = pair.steps->ops().times(), expected = pair.plain->ops().times();
    ASSERT_EQ(times.size(), expected.size());
    for (size_t i = 0; i < times.size(); ++i) {
        EXPECT_EQ(times[i].calls, expected[i].calls) << times[i].op;
        EXPECT_EQ(times[i].weight_bytes, expected[i].weight_bytes) << times[i].op;
        EXPECT_EQ(times[i].products, expected[i].products) << times[i].op;
        EXPECT_EQ(times[i].seconds > 0, times[i].calls > 0) << times[i].op;
    }
}

TEST(CudaSteps, ADeviceThatIsLostMeanwhileEndsTheRunWithAnError) {
    for (const int n_before : {1, 3})
        for (const uint64_t calls : {1, 2, 3, 4, 5, 20}) {
            const auto decoder = make_decoder(golden_model("mixtral"), {.n_ctx = 32}, emulated({}));
            int position = 0;
            for (; position < n_before; ++position) ASSERT_TRUE(decoder->forward(std::vector<int32_t>{5}, position, LogitRows::kLast));
            cuda_emulation::lose_device_after(calls);
            const Result<void> lost = decoder->forward(std::vector<int32_t>{5}, position, LogitRows::kLast);
            const bool was_lost = !lost;
            if (was_lost) {
                EXPECT_EQ(lost.error().code, "device_failed") << lost.error().message();
            }
            EXPECT_TRUE(was_lost || (n_before == 3 && calls == 20)) << "a replay may be through by then";
            cuda_emulation::lose_device_after(0);
        }
}

}  // namespace
}  // namespace gs::test
