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
};

class DeviceWithMishap final : public ForwardingOps {
public:
    DeviceWithMishap(std::shared_ptr<Ops> inner, Mishap& mishap) : ForwardingOps(std::move(inner)), m_mishap(mishap) {}
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
