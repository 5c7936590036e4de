// What the engine puts into memory of whoever draws: the same numbers that the host gets, to the bit, of every family's router; and that it goes on as without
// where nothing can be shared.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "engine/ops/cuda/cuda_engine.h"
#include "engine/run/generator.h"
#include "engine/run/start_engine.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/decode/decoder_fixture.h"
#include "tests/interop/fake_viewer.h"

namespace gs::test {
namespace {

class SharedRouting : public testing::Test {
protected:
    ~SharedRouting() override {
        decoder.reset();
        cuda_emulation::lose_device_after(0);
        cuda_emulation::set_device({});
        cuda_emulation::refuse_imports(false);
        EXPECT_EQ(cuda_emulation::n_imported(), 0u);
    }
    void start(const std::string& model, EngineKind kind = EngineKind::kCuda, int n_ctx = 64, std::optional<int> gpu_layers = {}) {
        decoder.reset();
        Result<StartedEngine> started = start_engine(golden_model(model),
                                                     {.kind = kind, .ops = {.n_threads = 1, .precision = Precision::kExact}, .gpu_layers = gpu_layers,
                                                      .make_device = [](const OpsOptions& options) { return make_cuda_ops(options); }, .viewer = viewer},
                                                     {.n_ctx = n_ctx, .max_batch = 8});
        ASSERT_TRUE(started) << started.error().message();
        decoder = std::move(started->decoder);
    }
    TraceSnapshot run(uint64_t id, int n_tokens = 6, const std::string& policy_text = "native") {
        const RunRequest request{.prompt = "Hello World, how are you?", .mode = PromptMode::kRaw, .max_new_tokens = n_tokens, .policy = policy(policy_text)};
        auto generator = Generator::start(*decoder, request, id);
        EXPECT_TRUE(generator) << (generator ? "" : generator.error().message());
        if (!generator) return {};
        while (!(*generator)->done())
            if (const auto stepped = (*generator)->step(); !stepped) ADD_FAILURE() << stepped.error().message();
        return (*generator)->result().trace;
    }
    static bool same_bits(std::span<const float> a, std::span<const float> b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); });
    }
    /// Everything of the trace, at the layers that are there.
    void expect_shared(const TraceSnapshot& trace) const {
        const auto n_experts = static_cast<size_t>(trace.n_experts());
        std::vector<float> values(n_experts);
        ASSERT_GT(viewer->layout.n_layers, 0);
        for (int m = viewer->layout.first_moe_layer; m < viewer->layout.first_moe_layer + viewer->layout.n_layers; ++m)
            for (int t = 0; t < trace.n_tokens(); ++t) {
                std::fill(values.begin(), values.end(), std::nanf(""));
                for (size_t j = 0; j < trace.ids(m, t).size(); ++j) values[trace.ids(m, t)[j]] = trace.weights(m, t)[j];
                ASSERT_TRUE(same_bits(viewer->at(SharedLayout::kWeights, m, t), values)) << "layer " << m << ", token " << t;
                preference(trace.info().router, trace.logits(m, t), values);
                ASSERT_TRUE(same_bits(viewer->at(SharedLayout::kPreference, m, t), values)) << "layer " << m << ", token " << t;
            }
    }

    std::shared_ptr<app::test::FakeViewer> viewer = std::make_shared<app::test::FakeViewer>();
    std::unique_ptr<Decoder> decoder;
};

TEST_F(SharedRouting, IsTheHostsToTheBitInEveryFamily) {
    // softmax, sigmoid with groups, softmax after the top-k, sparse mixer, sigmoid chosen by logits; dense layers in front, shared experts.
    for (const char* model : {"mixtral", "olmoe", "deepseek2-v3", "glm4moe", "gpt-oss", "phimoe", "llama4", "bailingmoe2"}) {
        SCOPED_TRACE(model);
        start(model);
        if (HasFatalFailure()) return;
        EXPECT_EQ(decoder->drawing(), "read where the device wrote it");
        EXPECT_EQ(make_model_card(*decoder).drawing, decoder->drawing());
        const TraceSnapshot trace = run(3);
        EXPECT_GT(trace.n_tokens(), 10) << "prompt in batches, then steps of which the last are one graph";
        expect_shared(trace);
        EXPECT_EQ(viewer->runs.back(), 3u);
    }
}

TEST_F(SharedRouting, FollowsThePolicyAndTheNextRunTakesItsPlace) {
    start("olmoe");
    expect_shared(run(1, 4, "k=1"));
    expect_shared(run(2, 4, "soft"));
    expect_shared(run(3, 4, "k=3,mask@1=0:2"));
    EXPECT_EQ(viewer->runs, (std::vector<uint64_t>{1, 2, 3}));
}

TEST_F(SharedRouting, WhatIsNoRunsLeavesItAlone) {
    start("mixtral");
    const TraceSnapshot trace = run(1, 4);
    RouteList routes;
    decoder->set_sink(&routes);
    ASSERT_TRUE(decoder->forward(some_ids(decoder->model(), 9), 0, LogitRows::kLast));
    decoder->set_sink(nullptr);
    ASSERT_TRUE(decoder->probe(7, 2, decoder->model().spec.moe_layers[0]));
    expect_shared(trace);
}

TEST_F(SharedRouting, OfADividedEngineTheLayersOnTheDevice) {
    const int n_layers = golden_model("olmoe")->spec.n_layers;
    start("olmoe", EngineKind::kCuda, 64, n_layers - 1);
    EXPECT_EQ(decoder->drawing(), "read where the device wrote it");
    EXPECT_EQ(viewer->layout.first_moe_layer, 1);
    EXPECT_EQ(viewer->layout.n_layers, n_layers - 1);
    expect_shared(run(1));
}

TEST_F(SharedRouting, PositionsBeyondItsRoomAreLeftOut) {
    const ModelSpec& spec = golden_model("mixtral")->spec;
    const auto position_bytes = 2 * sizeof(float) * spec.moe_layers.size() * static_cast<size_t>(spec.router.n_experts);
    viewer->room = 9 * position_bytes + 5;
    start("mixtral");
    EXPECT_EQ(viewer->layout.n_positions, 9);
    const TraceSnapshot trace = run(1);
    ASSERT_GT(trace.n_tokens(), 9);
    EXPECT_TRUE(decoder->check());
    EXPECT_EQ(viewer->at(SharedLayout::kPreference, 0, 0).size(), static_cast<size_t>(spec.router.n_experts));
}

TEST_F(SharedRouting, ABusyViewerIsWrittenNothing) {
    start("mixtral");
    expect_shared(run(1));
    const std::vector<float> before(viewer->at(SharedLayout::kPreference, 0, 0).begin(), viewer->at(SharedLayout::kPreference, 0, 0).end());
    viewer->busy = true;
    const auto all = viewer->file->floats(viewer->layout.n_floats());
    std::fill(all.begin(), all.end(), 5.0f);
    run(2);
    EXPECT_TRUE(std::all_of(all.begin(), all.end(), [](float v) { return v == 5.0f; }));
}

TEST_F(SharedRouting, WithoutItTheRunIsTheSameAndTheReasonIsSaid) {
    start("mixtral");
    const TraceSnapshot shared = run(1);
    const auto expect_copied = [&](const std::string& why, EngineKind kind = EngineKind::kCuda) {
        SCOPED_TRACE(why);
        start("mixtral", kind);
        EXPECT_EQ(decoder->drawing(), "copied through the host's memory: " + why);
        const TraceSnapshot trace = run(1);
        ASSERT_EQ(trace.n_tokens(), shared.n_tokens());
        EXPECT_EQ(trace.token(trace.n_tokens() - 1).id, shared.token(shared.n_tokens() - 1).id);
        EXPECT_TRUE(decoder->check());
        EXPECT_EQ(cuda_emulation::n_imported(), 0u);
    };
    expect_copied("the engine runs on the processor", EngineKind::kCpu);
    viewer->uuid[3] = 9;
    expect_copied("the window is drawn by another device");
    viewer->uuid[3] = 0;
    cuda_emulation::refuse_imports(true);
    expect_copied("the device does not take the window's memory: invalid argument");
    cuda_emulation::refuse_imports(false);
    start("mixtral");
    const uint64_t needed = viewer->layout.n_floats() * sizeof(float);
    decoder.reset();
    const size_t before = cuda_emulation::counters().bytes_in_use;
    const int n_layers = golden_model("mixtral")->spec.n_layers;
    start("mixtral", EngineKind::kCuda, 64, n_layers);
    const size_t taken = cuda_emulation::counters().bytes_in_use - before;
    decoder.reset();
    cuda_emulation::set_device({.memory = before + taken + 2 * needed - 1});
    start("mixtral", EngineKind::kCuda, 64, n_layers);
    EXPECT_EQ(decoder->drawing(), "copied through the host's memory: the device has little memory left");
    viewer.reset();
    start("mixtral");
    EXPECT_EQ(decoder->drawing(), "") << "nobody draws";
}

TEST_F(SharedRouting, ALostDeviceIsTheEnginesErrorAndNothingStaysBehind) {
    for (const uint64_t calls : {1, 3, 9, 40}) {
        start("mixtral");
        run(1, 2);
        cuda_emulation::lose_device_after(calls);
        auto generator = Generator::start(*decoder, {.prompt = "Hello", .mode = PromptMode::kRaw, .max_new_tokens = 4}, 2);
        ASSERT_TRUE(generator);
        Result<void> stepped;
        while (stepped && !(*generator)->done()) stepped = (*generator)->step();
        ASSERT_FALSE(stepped);
        EXPECT_EQ(stepped.error().code, "device_failed");
        generator->reset();
        const uint64_t id = viewer->id;
        decoder.reset();
        EXPECT_EQ(viewer->closed, id);
        cuda_emulation::lose_device_after(0);
        EXPECT_EQ(cuda_emulation::n_imported(), 0u);
    }
    start("mixtral");
    expect_shared(run(3));
}

TEST_F(SharedRouting, CostsOneKernelAStep) {
    start("olmoe");
    const auto launches_of = [&](uint64_t id) {
        decoder->set_drawn_run(id);
        RouteList routes;
        decoder->set_sink(&routes);
        const std::vector<int32_t> one = some_ids(decoder->model(), 1);
        const auto before = cuda_emulation::counters();
        for (int p = 0; p < 5; ++p) EXPECT_TRUE(decoder->forward(one, p, LogitRows::kLast));
        const auto after = cuda_emulation::counters();
        decoder->set_sink(nullptr);
        decoder->set_drawn_run(0);
        return std::array{after.launches - before.launches, after.copies - before.copies, after.waits - before.waits};
    };
    launches_of(0);                              // weights on the device, a graph made
    const auto without = launches_of(0), with = launches_of(1);
    EXPECT_EQ(with[0], without[0] + 5);
    EXPECT_EQ(with[1], without[1]) << "no copies";
    EXPECT_EQ(with[2], without[2]) << "nobody waits";
}

}  // namespace
}  // namespace gs::test
