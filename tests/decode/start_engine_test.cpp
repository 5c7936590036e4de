// Which engine runs, and what takes over when a device is not there, too small, or lost.
#include "engine/run/start_engine.h"

#include <gtest/gtest.h>

#include "engine/ops/cuda/cuda_engine.h"
#include "engine/run/plan_layers.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/decode/decoder_fixture.h"

namespace gs::test {
namespace {

TEST(StartEngine, EnginesHaveNames) {
    EXPECT_EQ(parse_engine("auto"), EngineKind::kAuto);
    EXPECT_EQ(parse_engine("cpu"), EngineKind::kCpu);
    EXPECT_EQ(parse_engine("cuda"), EngineKind::kCuda);
    EXPECT_EQ(parse_engine("reference"), EngineKind::kReference);
    EXPECT_FALSE(parse_engine("tpu"));
    EXPECT_EQ(kv_type_of(EngineKind::kReference, {}), KvType::kF32);
    EXPECT_EQ(kv_type_of(EngineKind::kCuda, {}), KvType::kF16);
}

// make_ops() sees the real toolkit, or none: on a machine without a driver that ends on the processor.
TEST(StartEngine, WithoutADeviceTheProcessorTakesOverAndSaysWhyWhenAskedForCuda) {
    const MadeOps quiet = make_ops(EngineKind::kAuto, {.n_threads = 1}), asked = make_ops(EngineKind::kCuda, {.n_threads = 1});
    if (asked.ops->name().starts_with("cuda")) GTEST_SKIP() << "there is a device";
    EXPECT_TRUE(quiet.remark.empty()) << quiet.remark;
    EXPECT_EQ(quiet.ops->name().find("CUDA"), std::string::npos);
    EXPECT_TRUE(asked.remark.starts_with("The engine runs on the processor: ")) << asked.remark;
    EXPECT_NE(asked.ops->name().find("(no CUDA: "), std::string::npos) << asked.ops->name();
    const Result<StartedEngine> started = start_engine(golden_model("mixtral"), {.kind = EngineKind::kCuda, .ops = {.n_threads = 1}}, {.n_ctx = 32});
    ASSERT_TRUE(started);
    EXPECT_FALSE(started->remark.empty());
    EXPECT_TRUE(started->decoder->forward(some_ids(started->decoder->model(), 3), 0, LogitRows::kLast));
}

TEST(StartEngine, DevicesAreListedOrSaidToBeMissing) {
    const Result<std::vector<cuda::DeviceInfo>> devices = cuda::list_devices();
    ASSERT_TRUE(devices);
    ASSERT_EQ(devices->size(), 1u);
    EXPECT_EQ((*devices)[0].name, "emulated device");
    cuda_emulation::set_device({.n_devices = 0});
    EXPECT_EQ(cuda::list_devices().error().code, "no_device");
    EXPECT_EQ(make_cuda_ops({}).error().kind, ErrorKind::kDevice);
    cuda_emulation::set_device({.major = 7, .minor = 5});
    EXPECT_NE(cuda::list_devices().error().why.find("7.5"), std::string::npos);
    cuda_emulation::set_device({});
    setenv("GATESCOPE_CUDA_DEVICE", "3", 1);
    EXPECT_EQ(make_cuda_ops({}).error().code, "no_device");
    setenv("GATESCOPE_CUDA_DEVICE", "0", 1);
    EXPECT_TRUE(make_cuda_ops({}));
    unsetenv("GATESCOPE_CUDA_DEVICE");
}

TEST(StartEngine, ADeviceWithTooLittleMemoryGivesAnErrorAndNothingStaysBehind) {
    const size_t before = cuda_emulation::counters().bytes_in_use;
    // The engine itself takes 1 MB. Room for context and work, not for the weights; then not even for those; then not for the engine.
    for (const size_t memory : {size_t{2} << 20, size_t{4} << 20, (size_t{1} << 20) + (size_t{1} << 12)}) {
        cuda_emulation::set_device({.memory = before + memory});
        const Result<std::unique_ptr<Decoder>> decoder = Decoder::create(bundled_model(), emulated(), {.n_ctx = 64, .max_batch = 8});
        ASSERT_FALSE(decoder) << memory;
        EXPECT_TRUE(decoder.error().code == "device_memory" || decoder.error().code == "out_of_memory") << decoder.error().message();
        EXPECT_EQ(cuda_emulation::counters().bytes_in_use, before);
    }
    cuda_emulation::set_device({.memory = before + (size_t{1} << 12)});
    EXPECT_EQ(make_cuda_ops({}).error().code, "device_memory");
    EXPECT_EQ(cuda_emulation::counters().bytes_in_use, before);
    cuda_emulation::set_device({});
}

TEST(StartEngine, ALostDeviceEndsTheRunWithAnErrorWhereverItIsLost) {
    const std::shared_ptr<const Model> model = golden_model("mixtral");
    const std::vector<int32_t> ids = some_ids(*model, 5);
    for (const uint64_t calls : {1, 2, 5, 20, 60}) {
        const auto decoder = make_decoder(model, {.n_ctx = 32}, emulated());
        ASSERT_TRUE(decoder->forward(ids, 0, LogitRows::kLast));
        cuda_emulation::lose_device_after(calls);
        const Result<void> lost = decoder->forward(ids, 5, LogitRows::kLast);
        ASSERT_FALSE(lost);
        EXPECT_EQ(lost.error().code, "device_failed") << lost.error().message();
        EXPECT_EQ(lost.error().kind, ErrorKind::kDevice);
        EXPECT_FALSE(decoder->forward(ids, 5, LogitRows::kLast)) << "it does not come back by itself";
        cuda_emulation::lose_device_after(0);
    }
    // The engine starts again.
    EXPECT_TRUE(make_decoder(model, {.n_ctx = 32}, emulated())->forward(ids, 0, LogitRows::kLast));
}

/// A request for the emulated device.
EngineRequest on_device() {
    return {.kind = EngineKind::kCuda, .ops = {.n_threads = 1, .precision = Precision::kExact}, .make_device = [](const OpsOptions& options) { return make_cuda_ops(options); }};
}

/// Says that there is more memory than there is.
class Boastful final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    std::optional<uint64_t> free_memory() const override { return uint64_t{1} << 40; }
};

class Divided : public testing::Test {
protected:
    static inline const DecoderOptions kOptions{.n_ctx = 64, .max_batch = 8};
    static constexpr size_t kEngine = (1 << 20) + (1 << 16);   ///< what an engine takes without a model, and a little

    Divided() : m_model(golden_model("glm4moe")), m_ids(some_ids(*m_model, 5)) {}
    ~Divided() override { cuda_emulation::set_device({}); }
    int n_layers() const { return m_model->spec.n_layers; }

    void set_memory(size_t n_bytes) { cuda_emulation::set_device({.memory = cuda_emulation::counters().bytes_in_use + n_bytes}); }
    /// The least memory, to some kilobytes, for which `fits` says so.
    size_t least_memory(const std::function<bool()>& fits) {
        size_t low = kEngine, high = size_t{1} << 26;
        while (high - low > 4096) {
            const size_t middle = (low + high) / 2;
            set_memory(middle);
            (fits() ? high : low) = middle;
        }
        return high;
    }
    void expect_runs_as_on_the_processor(const StartedEngine& started) {
        const std::vector<float> expected = run_pass(*make_decoder(m_model, kOptions), m_ids).logits;
        cuda_emulation::set_device({});   // what operations work in is not what this is about
        EXPECT_LT(max_difference(run_pass(*started.decoder, m_ids).logits, expected), 1e-3);
    }

    std::shared_ptr<const Model> m_model;
    std::vector<int32_t> m_ids;
};

TEST_F(Divided, AsManyLayersAsFitGoToTheDeviceAndTheSentenceSaysHowMany) {
    ASSERT_GE(n_layers(), 2);
    std::vector<std::string> engines;
    for (int n = 0; n <= n_layers(); ++n) {
        set_memory(n == 0 ? kEngine : least_memory([&] {
            const auto device = emulated();
            return plan_layers(m_model->spec, m_model->weights, *device, kOptions).n_on_device >= n;
        }));
        const Result<StartedEngine> started = start_engine(m_model, on_device(), kOptions);
        ASSERT_TRUE(started);
        EXPECT_EQ(started->n_on_device, n);
        const std::string engine = started->decoder->engine();
        if (n == 0) {
            EXPECT_NE(started->remark.find("no layer fits"), std::string::npos) << started->remark;
            EXPECT_TRUE(engine.starts_with("cpu")) << engine;
        } else if (n < n_layers()) {
            EXPECT_TRUE(started->remark.starts_with(std::to_string(n) + " of " + std::to_string(n_layers()) + " layers are on cuda")) << started->remark;
            EXPECT_TRUE(engine.starts_with("cuda")) << engine;
            EXPECT_NE(engine.find(" and the head; cpu "), std::string::npos) << engine;
        } else {
            EXPECT_TRUE(started->remark.empty()) << started->remark;
            EXPECT_EQ(engine, "cuda emulated device, exact");
        }
        expect_runs_as_on_the_processor(*started);
    }
}

TEST_F(Divided, AsManyLayersAsAreAskedForAndNoMoreThanTheMost) {
    for (int n = 0; n <= n_layers(); ++n) {
        EngineRequest request = on_device();
        request.gpu_layers = n;
        const Result<StartedEngine> started = start_engine(m_model, request, kOptions);
        ASSERT_TRUE(started);
        EXPECT_EQ(started->n_on_device, n);
        EXPECT_TRUE(started->remark.empty()) << started->remark;
        expect_runs_as_on_the_processor(*started);
        request.gpu_layers.reset();
        request.most_gpu_layers = n;
        EXPECT_EQ(start_engine(m_model, request, kOptions)->n_on_device, n);
    }
    EngineRequest request = on_device();
    request.gpu_layers = 1000;
    EXPECT_EQ(start_engine(m_model, request, kOptions)->n_on_device, n_layers());
    request.kind = EngineKind::kCpu;
    EXPECT_EQ(start_engine(m_model, request, kOptions)->n_on_device, 0);
}

TEST_F(Divided, MemoryThatTurnsOutShortMeansFewerLayers) {
    const size_t in_use = cuda_emulation::counters().bytes_in_use;
    EngineRequest request = on_device();
    request.make_device = [](const OpsOptions& options) -> Result<std::unique_ptr<Ops>> {
        GS_TRY(auto ops, make_cuda_ops(options));
        return std::unique_ptr<Ops>(std::make_unique<Boastful>(std::shared_ptr<Ops>(std::move(ops))));
    };
    const auto n_started = [&] {
        const Result<StartedEngine> started = start_engine(m_model, request, kOptions);
        EXPECT_TRUE(started);
        return started ? started->n_on_device : -1;
    };
    set_memory(least_memory([&] { return n_started() >= 1; }));
    const Result<StartedEngine> started = start_engine(m_model, request, kOptions);
    ASSERT_TRUE(started);
    EXPECT_GE(started->n_on_device, 1);
    EXPECT_LT(started->n_on_device, n_layers()) << "the plan has all of them";
    EXPECT_NE(started->remark.find(" layers are on cuda"), std::string::npos) << started->remark;
    expect_runs_as_on_the_processor(*started);
    set_memory(1 << 10);
    EXPECT_EQ(n_started(), 0);
    EXPECT_GE(cuda_emulation::counters().bytes_in_use, in_use);
}

TEST_F(Divided, ADeviceThatFailsWhileTheModelIsBroughtToItLeavesTheProcessor) {
    EngineRequest request = on_device();
    request.make_device = [](const OpsOptions& options) -> Result<std::unique_ptr<Ops>> {
        Result<std::unique_ptr<Ops>> made = make_cuda_ops(options);
        cuda_emulation::lose_device_after(60);
        return made;
    };
    request.gpu_layers = 1;
    const Result<StartedEngine> started = start_engine(m_model, request, kOptions);
    cuda_emulation::lose_device_after(0);
    ASSERT_TRUE(started);
    EXPECT_EQ(started->n_on_device, 0);
    EXPECT_TRUE(started->remark.starts_with("The engine runs on the processor: ")) << started->remark;
    expect_runs_as_on_the_processor(*started);
}

TEST_F(Divided, WeightsGoToTheDeviceOnceForAllDecodersOfAModel) {
    const std::shared_ptr<Ops> ops = emulated();
    const auto first = make_decoder(m_model, kOptions, ops);
    const std::vector<float> expected = run_pass(*first, m_ids).logits;
    const size_t with_one = cuda_emulation::counters().bytes_in_use;
    const auto second = make_decoder(m_model, kOptions, ops);
    const size_t with_two = cuda_emulation::counters().bytes_in_use;
    const StageMemory memory = stage_memory(m_model->spec, 0, n_layers(), ops->kv_type(), kOptions);
    EXPECT_LT(with_two - with_one, memory.kv_bytes + memory.work_bytes + (64 << 10)) << "routers and little else besides";
    EXPECT_EQ(run_pass(*second, m_ids).logits, expected);
    EXPECT_EQ(run_pass(*first, m_ids).logits, expected);
}

TEST(StartEngine, TwoModelsOneAfterTheOtherOnTheSameBackEndDoNotMix) {
    const std::shared_ptr<Ops> ops = emulated();
    for (const char* name : {"mixtral", "qwen3moe", "mixtral"}) {
        const std::shared_ptr<const Model> model = golden_model(name);
        const std::vector<int32_t> ids = some_ids(*model, 4);
        const Pass expected = run_pass(*make_decoder(model, {.n_ctx = 32}), ids);
        EXPECT_LT(max_difference(run_pass(*make_decoder(model, {.n_ctx = 32}, ops), ids).logits, expected.logits), 1e-3) << name;
    }
}

}  // namespace
}  // namespace gs::test
