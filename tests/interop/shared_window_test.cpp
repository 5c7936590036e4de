// Engine and window together on one device: the emulated one, which takes the software Vulkan driver's memory. The heatmap read where the engine wrote it is,
// pixel for pixel, the one that went through the host.
#include <gtest/gtest.h>

#include "app/shell/app_ui.h"
#include "app/shell/shell.h"
#include "engine/ops/cuda/cuda_engine.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/support/paths.h"

namespace app {
namespace {

constexpr double kPatience = 120;

class SharedWindow : public testing::Test {
protected:
    void open(const char* model, bool interop = true) {
        auto made = Shell::create({.headless = true, .width = 640, .height = 480, .interop = interop, .validation = true});
        ASSERT_TRUE(made) << made.error().message();
        shell = std::move(*made);
        if (const auto device = shell->viewer()->device()) cuda_emulation::set_device({.uuid = *device});
        else if (interop) GTEST_SKIP() << device.error().why;
        session = std::make_unique<gs::Session>(gs::SessionOptions{
            .engine = {.kind = gs::EngineKind::kCuda, .ops = {.n_threads = 1, .precision = gs::Precision::kExact},
                       .make_device = [](const gs::OpsOptions& options) { return gs::make_cuda_ops(options); }, .viewer = shell->viewer()}});
        ui = std::make_unique<AppUi>(*session, shell->heatmaps(), settings);
        ASSERT_TRUE(ui->show_only("heatmap"));
        session->load_model(gs::test::golden(std::string("models/") + model + "/model.gguf"));
        idle();
        ASSERT_TRUE(session->latest()->model);
    }
    ~SharedWindow() override {
        ui.reset();
        session.reset();
        if (shell) {
            EXPECT_EQ(shell->validation_messages(), 0);
        }
        shell.reset();
        cuda_emulation::set_deferred(false);
        cuda_emulation::lose_device_after(0);
        cuda_emulation::set_device({});
        cuda_emulation::refuse_imports(false);
        EXPECT_EQ(cuda_emulation::n_imported(), 0u);
    }
    void idle() { EXPECT_TRUE(session->wait_idle(kPatience)); }
    void ask(const std::string& prompt, int n_tokens = 6, const gs::Policy& policy = {}) {
        session->run({.prompt = prompt, .mode = gs::PromptMode::kRaw, .max_new_tokens = n_tokens, .policy = policy});
    }
    void frames(int n) {
        auto done = shell->run_frames(n, [this](FrameInfo& info) {
            ui->draw(*session->latest(), theme_of(shell->theme()), {"dark", info.scale}, info.time_seconds);
        });
        ASSERT_TRUE(done) << done.error().message();
    }
    Picture picture() {
        frames(4);
        auto drawn = shell->picture();
        EXPECT_TRUE(drawn) << drawn.error().message();
        return std::move(*drawn);
    }
    /// Whether the heatmap, drawn anew, was read where the engine wrote it. It must be what it is through the host in any case.
    bool is_shared() {
        GpuShared* shared = shell->heatmaps().shared();
        shell->heatmaps().set_shared(nullptr);
        const Picture through_host = picture();
        shell->heatmaps().set_shared(shared);
        const uint64_t before = shell->heatmaps().n_drawn_shared();
        const Picture now = picture();
        EXPECT_TRUE(now.rgba == through_host.rgba);
        return shell->heatmaps().n_drawn_shared() > before;
    }

    std::unique_ptr<Shell> shell;
    ViewSettings settings;
    std::unique_ptr<gs::Session> session;
    std::unique_ptr<AppUi> ui;
};

TEST_F(SharedWindow, TheHeatmapIsTheOneThatWentThroughTheHost) {
    for (const char* model : {"mixtral", "deepseek2-v3"}) {
        SCOPED_TRACE(model);
        ui.reset(), session.reset(), shell.reset();
        open(model);
        if (HasFatalFailure() || IsSkipped()) return;
        EXPECT_EQ(session->latest()->model->drawing, "read where the device wrote it");
        ask("Hello World, how are you?");
        idle();
        for (const Quantity quantity : {Quantity::kAppliedWeight, Quantity::kPreference}) {
            settings.quantity = quantity;
            for (int layer = 0; layer < session->latest()->run->trace.n_moe_layers(); ++layer) {
                ui->selected().moe_layer = layer;
                EXPECT_TRUE(is_shared()) << "layer " << layer;
            }
        }
        settings.quantity = Quantity::kSelectionScore;
        EXPECT_FALSE(is_shared()) << "bias, masks and groups are the host's";
    }
}

TEST_F(SharedWindow, AWhatIfATemperatureAndAReplayedRunGoThroughTheHost) {
    open("mixtral");
    if (HasFatalFailure() || IsSkipped()) return;
    ask("Hello World");
    idle();
    EXPECT_TRUE(is_shared());
    ui->what_if().set_policy(*gs::Policy::parse("k=1"));
    EXPECT_FALSE(is_shared());
    ui->what_if().set_policy(std::nullopt);
    EXPECT_TRUE(is_shared());
    ask("Hello World", 6, *gs::Policy::parse("temp=0.7"));
    idle();
    EXPECT_TRUE(is_shared()) << "weights are what was applied";
    settings.quantity = Quantity::kPreference;
    EXPECT_FALSE(is_shared());
    settings.quantity = Quantity::kAppliedWeight;
    const gs::test::TempDir folder;
    session->save_trace(folder / "run.safetensors");
    session->load_trace(folder / "run.safetensors");
    idle();
    EXPECT_FALSE(is_shared());
}

TEST_F(SharedWindow, WhileItRunsAndWhenAnotherRunTakesItsPlace) {
    open("mixtral");
    if (HasFatalFailure() || IsSkipped()) return;
    cuda_emulation::set_deferred(true);
    for (const char* prompt : {"Hello World", "how are you? I am well", "World", "Hello"}) {
        ask(prompt, 20);
        while (!session->wait_idle(0.001)) frames(1);
        EXPECT_EQ(session->latest()->run->timings.decode_tokens, 20);
        EXPECT_TRUE(is_shared()) << prompt;
    }
}

TEST_F(SharedWindow, ALostDeviceLeavesThePictureAndTheNextEngineSharesAgain) {
    open("mixtral");
    if (HasFatalFailure() || IsSkipped()) return;
    ask("Hello World");
    idle();
    cuda_emulation::lose_device_after(200);
    ask("how are you?", 40);
    idle();
    ASSERT_TRUE(session->latest()->engine_failed);
    ASSERT_GT(session->latest()->run->trace.n_tokens(), 5);
    EXPECT_TRUE(is_shared()) << "what it had written is still there";
    cuda_emulation::lose_device_after(0);
    session->restart_engine();
    idle();
    EXPECT_FALSE(is_shared()) << "what was shared is gone with its engine";
    ask("how are you?");
    idle();
    EXPECT_TRUE(is_shared());
}

TEST_F(SharedWindow, AnotherModelHasMemoryOfItsOwn) {
    open("mixtral");
    if (HasFatalFailure() || IsSkipped()) return;
    ask("Hello World");
    idle();
    EXPECT_TRUE(is_shared());
    session->load_model(gs::test::golden("models/olmoe/model.gguf"));
    while (!session->wait_idle(0.001)) frames(1);
    EXPECT_FALSE(is_shared()) << "the run on screen is the other model's";
    ask("Hello World");
    idle();
    EXPECT_TRUE(is_shared());
    EXPECT_EQ(cuda_emulation::n_imported(), 1u);
}

TEST_F(SharedWindow, SwitchedOffItCopiesAndSaysSo) {
    open("mixtral", false);
    if (HasFatalFailure() || IsSkipped()) return;
    EXPECT_EQ(session->latest()->model->drawing, "copied through the host's memory: --no-interop asks for it");
    ask("Hello World");
    idle();
    EXPECT_FALSE(is_shared());
}

TEST_F(SharedWindow, MemoryThatTheDeviceRefusesIsNoNews) {
    cuda_emulation::refuse_imports(true);
    open("mixtral");
    if (HasFatalFailure() || IsSkipped()) return;
    EXPECT_TRUE(session->latest()->notices.empty());
    ask("Hello World");
    idle();
    EXPECT_FALSE(is_shared());
    EXPECT_TRUE(session->latest()->notices.empty());
}

}  // namespace
}  // namespace app
