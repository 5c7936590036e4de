// A device that is lost, or has no more memory, in the middle of a run: the run stays on screen, and the engine starts again when it is told to.
#include "engine/ops/cuda/cuda_engine.h"
#include "engine/run/plan_layers.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/run/session_fixture.h"

namespace gs {
namespace {

using namespace test;

/// What happens on the run thread before the device routes for the n-th time from now.
struct Mishap {
    int n_left = -1;
    std::function<void()> happen;
    std::function<void(uint64_t done, uint64_t total)> on_weights;   ///< after the session has heard of them
};

class DeviceWithMishap final : public ForwardingOps {
public:
    DeviceWithMishap(std::shared_ptr<Ops> inner, Mishap& mishap) : ForwardingOps(std::move(inner)), m_mishap(mishap) {}
    std::vector<std::span<const std::byte>> adopt(std::span<const Weight> matrices, std::span<const Weight> others, const std::shared_ptr<const void>& owner,
                                                  const AdoptProgress& progress) override {
        return ForwardingOps::adopt(matrices, others, owner, [&](uint64_t done, uint64_t total) {
            const bool goes_on = progress(done, total);
            if (m_mishap.on_weights) m_mishap.on_weights(done, total);
            return goes_on;
        });
    }
    void route(const RouteCall& call) override {
        if (m_mishap.n_left >= 0 && m_mishap.n_left-- == 0) m_mishap.happen();
        ForwardingOps::route(call);
    }

private:
    Mishap& m_mishap;
};

class SessionEngine : public testing::Test {
protected:
    SessionEngine() {
        session.emplace(SessionOptions{.engine = {.kind = EngineKind::kCuda, .ops = {.n_threads = 1, .precision = Precision::kExact}, .make_device = [this](const OpsOptions& options) -> Result<std::unique_ptr<Ops>> {
                                                      GS_TRY(auto ops, make_cuda_ops(options));
                                                      return std::unique_ptr<Ops>(std::make_unique<DeviceWithMishap>(std::shared_ptr<Ops>(std::move(ops)), mishap));
                                                  }}});
        session->load_model(golden("models/glm4moe/model.gguf"));
        EXPECT_TRUE(idle()->model);
    }
    ~SessionEngine() override {
        session.reset();
        cuda_emulation::lose_device_after(0);
        cuda_emulation::set_device({});
    }
    State idle() {
        EXPECT_TRUE(session->wait_idle(kPatience));
        return session->latest();
    }
    static bool has_notice(const SessionState& state, const std::string& code) {
        return std::any_of(state.notices.begin(), state.notices.end(), [&](const Notice& n) { return n.error.code == code; });
    }
    /// After the device has failed in a run: nothing computes, everything stays, and a restart helps.
    void expect_restart_helps(const State& failed) {
        EXPECT_TRUE(failed->engine_failed);
        EXPECT_TRUE(failed->model);
        session->run(request("Hello"));
        session->step(request("Hello"));
        session->rerun_and_compare(policy("k=1"));
        session->request_sweep({.text = "some text that is long enough"});
        session->request_gates(1, 0);
        const State still = idle();
        EXPECT_EQ(still->run, failed->run) << "another run would have to compute";
        EXPECT_TRUE(has_notice(*still, "engine_failed"));
        EXPECT_TRUE(still->engine_failed);
        cuda_emulation::lose_device_after(0);
        cuda_emulation::set_device({});
        session->restart_engine();
        const State again = idle();
        EXPECT_FALSE(again->engine_failed);
        EXPECT_EQ(again->run, failed->run);
        for (const Notice& n : again->notices) EXPECT_FALSE(n.is_error) << n.error.message();
        session->run(request("Hello World", 5));
        const State ran = idle();
        EXPECT_EQ(ran->run->stop, StopReason::kLength);
        EXPECT_EQ(ran->run->timings.decode_tokens, 5);
        session->request_gates(ran->run->trace.n_tokens() - 1, 0);
        EXPECT_TRUE(idle()->gates);
    }

    Mishap mishap;
    std::optional<Session> session;
};

TEST_F(SessionEngine, TheCardNamesTheDevice) {
    EXPECT_EQ(idle()->model->engine, "cuda emulated device, exact");
    for (const Notice& n : idle()->notices) EXPECT_NE(n.error.kind, ErrorKind::kDevice) << n.error.message();
}

TEST_F(SessionEngine, WeightsOnTheirWayToTheDeviceAreSeen) {
    std::vector<double> fractions;
    std::string text;
    mishap.on_weights = [&](uint64_t done, uint64_t total) {
        const State now = session->latest();
        fractions.push_back(now->progress);
        text = now->progress_text;
        EXPECT_EQ(now->activity, Activity::kStartingEngine);
        EXPECT_LE(done, total);
    };
    session->restart_engine();
    EXPECT_FALSE(idle()->engine_failed);
    ASSERT_FALSE(fractions.empty());
    EXPECT_EQ(fractions.back(), 1.0);
    EXPECT_NE(text.find(" MB to the device"), std::string::npos) << text;
}

TEST_F(SessionEngine, CallingThemOffLeavesTheRunOnScreenAndARestartHelps) {
    session->run(request("Hello", 3));
    const State ran = idle();
    int n_calls = 0;
    mishap.on_weights = [&](uint64_t, uint64_t) {
        if (++n_calls == 3) session->cancel();
    };
    session->restart_engine();
    const State cancelled = idle();
    EXPECT_EQ(n_calls, 4) << "the next piece is the last";
    EXPECT_TRUE(has_notice(*cancelled, "engine"));
    EXPECT_EQ(cancelled->run, ran->run);
    mishap.on_weights = {};
    expect_restart_helps(cancelled);
}

TEST_F(SessionEngine, ALostDeviceLeavesTheRunOnScreenUntilTheEngineIsRestarted) {
    const auto n_moe = static_cast<int>(idle()->model->spec.moe_layers.size());
    mishap = {.n_left = 6 * n_moe, .happen = [] { cuda_emulation::lose_device_after(1); }};   // the prompt and five tokens are through
    session->run(request("Hello World", 20));
    const State failed = idle();
    ASSERT_TRUE(failed->run);
    EXPECT_EQ(failed->run->stop, StopReason::kFailed);
    EXPECT_EQ(failed->run->timings.decode_tokens, 5);
    EXPECT_EQ(failed->run->trace.n_tokens(), failed->run->n_prompt_tokens + 5);
    EXPECT_TRUE(has_notice(*failed, "device_failed"));
    expect_restart_helps(failed);
    EXPECT_EQ(idle()->model->engine, "cuda emulated device, exact");
}

TEST_F(SessionEngine, NoMoreMemoryLeavesTheRunOnScreenAndSaysWithHowManyLayersItStartsAgain) {
    session->run(request("Hello", 3));
    ASSERT_EQ(idle()->run->stop, StopReason::kLength);
    const int n_layers = idle()->model->spec.n_layers;
    // A longer prompt needs more to work in.
    mishap = {.n_left = 0, .happen = [] { cuda_emulation::set_device({.memory = cuda_emulation::counters().bytes_in_use}); }};
    std::string prompt;
    for (int i = 0; i < 20; ++i) prompt += "llama ";
    session->run(request(prompt, 3));
    const State failed = idle();
    EXPECT_EQ(failed->run->stop, StopReason::kFailed);
    ASSERT_TRUE(has_notice(*failed, "device_memory"));
    const Error& error = failed->notices.back().error;
    EXPECT_NE(error.why.find(std::to_string(n_layers) + " of " + std::to_string(n_layers) + " layers are there"), std::string::npos) << error.message();
    EXPECT_NE(error.remedy.find("it starts again with " + std::to_string(fewer_layers(n_layers)) + " layers"), std::string::npos) << error.message();
    expect_restart_helps(failed);
    EXPECT_NE(idle()->model->engine.find(" and the head; cpu "), std::string::npos) << idle()->model->engine;
    // Another model may have all of the device.
    session->load_model(golden("models/mixtral/model.gguf"));
    EXPECT_EQ(idle()->model->engine, "cuda emulated device, exact");
}

TEST_F(SessionEngine, ARestartOfAnEngineThatWorksStopsTheRunAndGoesOn) {
    session->run(request("Hello World", 400));
    session->restart_engine();
    const State state = idle();
    ASSERT_TRUE(state->run);
    EXPECT_EQ(state->run->phase, RunPhase::kFinished);
    EXPECT_FALSE(state->engine_failed);
    for (const Notice& n : state->notices) EXPECT_FALSE(n.is_error) << n.error.message();
    session->run(request("Hello World", 3));
    EXPECT_EQ(idle()->run->stop, StopReason::kLength);
}

TEST_F(SessionEngine, WithoutADeviceARestartEndsOnTheProcessor) {
    mishap = {.n_left = 0, .happen = [] { cuda_emulation::lose_device_after(1); }};
    session->run(request("Hello World", 3));
    ASSERT_TRUE(idle()->engine_failed);
    session->restart_engine();   // it stays lost
    const State state = idle();
    EXPECT_FALSE(state->engine_failed);
    EXPECT_TRUE(state->model->engine.starts_with("cpu")) << state->model->engine;
    session->run(request("Hello World", 3));
    EXPECT_EQ(idle()->run->stop, StopReason::kLength);
}

}  // namespace
}  // namespace gs
