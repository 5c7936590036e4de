// What the window offers when the engine has failed.
#include <gtest/gtest.h>

#include <atomic>

#include "tests/app/views_stage.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/paths.h"

namespace app::test {
namespace {

constexpr double kLongest_seconds = 120;

/// Computes on the processor, until it is said to be lost: then it fails as a device does, for good.
class LostDevice final : public gs::test::ForwardingOps {
public:
    explicit LostDevice(std::shared_ptr<std::atomic<bool>> lost)
        : ForwardingOps(gs::make_cpu_ops({.n_threads = 1, .precision = gs::Precision::kExact})), m_lost(std::move(lost)) {}
    std::optional<uint64_t> free_memory() const override { return uint64_t{1} << 40; }
    gs::Result<void> check() const override {
        m_failed = m_failed || *m_lost;
        if (m_failed) return gs::Error{gs::ErrorKind::kDevice, "device_failed", "The device does not answer any more", "it was unplugged", "Start the engine again"};
        return {};
    }

private:
    std::shared_ptr<std::atomic<bool>> m_lost;
    mutable bool m_failed = false;
};

class FailedEngine : public testing::Test {
protected:
    FailedEngine()
        : m_lost(std::make_shared<std::atomic<bool>>(false)),
          m_stage({1280, 720}, 1, {.engine = {.make_device = [lost = m_lost](const gs::OpsOptions&) -> gs::Result<std::unique_ptr<gs::Ops>> {
                                       return std::unique_ptr<gs::Ops>(std::make_unique<LostDevice>(lost));
                                   }}}) {
        m_stage.live = true;
        m_stage.session.load_model(gs::test::golden("models/mixtral/model.gguf"));
        settle();
        *m_lost = true;
        run();
        EXPECT_TRUE(m_stage.session.latest()->engine_failed);
        *m_lost = false;
    }
    void settle() {
        EXPECT_TRUE(m_stage.session.wait_idle(kLongest_seconds));
        m_stage.frames();
    }
    void run() {
        m_stage.session.run({.prompt = "Hello World", .mode = gs::PromptMode::kRaw, .max_new_tokens = 3});
        settle();
    }
    void expect_runs_again() {
        settle();
        EXPECT_FALSE(m_stage.session.latest()->engine_failed);
        EXPECT_TRUE(m_stage.session.latest()->notices.empty());
        run();
        EXPECT_EQ(m_stage.session.latest()->run->timings.decode_tokens, 3);
    }

    std::shared_ptr<std::atomic<bool>> m_lost;
    WindowStage m_stage;
};

TEST_F(FailedEngine, StartsAgainFromItsNotice) {
    const auto state = m_stage.session.latest();
    ASSERT_EQ(state->notices.size(), 1u);
    m_stage.click("###notices", {("notice" + std::to_string(state->notices[0].id)).c_str(), "###restart"});
    expect_runs_again();
}

TEST_F(FailedEngine, StartsAgainFromTheMenu) {
    m_stage.click("##MainMenuBar", {"##MenuBar", "###run_menu", ""});
    m_stage.click("###Menu_00", {"###run.restart_engine", ""});
    expect_runs_again();
}

TEST_F(FailedEngine, OffersARestartBesideNoOtherNotice) {
    m_stage.session.load_model("/nonexistent/model.gguf");
    settle();
    const auto state = m_stage.session.latest();
    ASSERT_EQ(state->notices.size(), 2u);
    EXPECT_TRUE(state->engine_failed);
    // Both are on screen; the one of the missing file has its two buttons only.
    const std::string other = "notice" + std::to_string(state->notices[1].id);
    m_stage.find("###notices", {other.c_str(), "###dismiss"});
    const auto is_there = [&](const char* button) {
        const ImGuiWindow* window = ImGui::FindWindowByName("###notices");
        const ImGuiID id = ImHashStr(button, 0, ImHashStr(other.c_str(), 0, window->ID));
        const float row = ImGui::GetFrameHeightWithSpacing();
        for (float y = window->Pos.y + 4; y < window->Pos.y + window->Size.y; y += row / 3)
            for (float x = window->Pos.x; x < window->Pos.x + window->Size.x; x += 8) {
                ImGui::GetIO().AddMousePosEvent(x, y);
                m_stage.frames(1);
                if (GImGui->HoveredId == id) return true;
            }
        return false;
    };
    EXPECT_TRUE(is_there("###copy"));
    EXPECT_FALSE(is_there("###restart"));
}

}  // namespace
}  // namespace app::test
