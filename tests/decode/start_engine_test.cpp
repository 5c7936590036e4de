// Which engine runs, and what takes over when a device is not there, too small, or lost.
#include "engine/run/start_engine.h"

#include <gtest/gtest.h>

#include "engine/ops/cuda/cuda_engine.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/decode/decoder_fixture.h"

namespace gs::test {
namespace {

std::shared_ptr<Ops> emulated() {
    Result<std::unique_ptr<Ops>> made = make_cuda_ops({.precision = Precision::kExact});
    EXPECT_TRUE(made);
    return made ? std::shared_ptr<Ops>(std::move(*made)) : nullptr;
}

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
    const Result<StartedEngine> started = start_engine(golden_model("mixtral"), EngineKind::kCuda, {.n_threads = 1}, {.n_ctx = 32});
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
    // Room for context and work, not for the weights; then not even for those.
    for (const size_t memory : {size_t{1} << 20, size_t{3} << 20, size_t{1} << 12}) {
        cuda_emulation::set_device({.memory = before + memory});
        const Result<std::unique_ptr<Decoder>> decoder = Decoder::create(bundled_model(), emulated(), {.n_ctx = 64, .max_batch = 8});
        ASSERT_FALSE(decoder) << memory;
        EXPECT_TRUE(decoder.error().code == "device_memory" || decoder.error().code == "out_of_memory") << decoder.error().message();
        EXPECT_EQ(cuda_emulation::counters().bytes_in_use, before);
    }
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
