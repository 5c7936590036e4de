// The program itself in a real window on a virtual display, drawn by the software Vulkan driver with the validation layer on: what a user
// sees is the picture of `gatescope screenshot`, and real pointer and key events do what they should. Skipped where Xvfb or xdotool is
// missing.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "app/base/paths.h"
#include "app/shell/app.h"
#include "tests/app/read_png.h"
#include "tests/app/views_stage.h"
#include "tests/app/virtual_display.h"

namespace app::test {
namespace {

constexpr double kLongest_seconds = 120;
constexpr int kWidth = 1280, kHeight = 720;
constexpr const char* kTop = "Prompt and routing###prompt";

void sleep_seconds(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

bool eventually(const std::function<bool()>& condition) {
    for (double waited = 0; waited < kLongest_seconds; waited += 0.2) {
        if (condition()) return true;
        sleep_seconds(0.2);
    }
    return false;
}

/// Share of the pixels of a region that differ by more than a shade.
double difference(const Picture& a, const Picture& b, ImVec2 low = {0, 0}, ImVec2 high = {kWidth, kHeight}) {
    if (a.width_px != b.width_px || a.height_px != b.height_px) return 1;
    int n = 0, n_different = 0;
    for (int y = static_cast<int>(low.y); y < static_cast<int>(high.y); ++y)
        for (int x = static_cast<int>(low.x); x < static_cast<int>(high.x); ++x, ++n) {
            const uint32_t p = a.pixel(x, y), q = b.pixel(x, y);
            bool same = true;
            for (int shift = 0; shift < 24; shift += 8)
                same = same && std::abs(static_cast<int>(p >> shift & 255) - static_cast<int>(q >> shift & 255)) <= 2;
            n_different += !same;
        }
    return static_cast<double>(n_different) / std::max(n, 1);
}

class RealWindow : public testing::Test {
protected:
    void SetUp() override {
        if (!display.is_up()) GTEST_SKIP() << display.problem();
        if (!display.move({kWidth - 1, kHeight - 1})) GTEST_SKIP() << "xdotool is not installed";  // out of the way of hover cards
        program.emplace(display, std::vector<std::string>{"--size", "1280x720", "--scale", "1", "--validate"});
    }
    void TearDown() override {
        if (!program) return;
        EXPECT_TRUE(program->is_running() || program->wait(0) == 0) << program->messages();
        EXPECT_EQ(program->messages().find("validation"), std::string::npos) << program->messages();
    }

    /// The picture, once it has not changed for a while.
    Picture settled() {
        Picture last = display.picture();
        eventually([&] {
            sleep_seconds(0.4);
            Picture now = display.picture();
            const bool same = now.rgba == last.rgba;
            last = std::move(now);
            return same;
        });
        return last;
    }
    void quit() {
        // A busy machine may be slow to take the window's events: asked again, as a user would.
        for (int i = 0; i < 10 && program->is_running(); ++i) {
            ASSERT_TRUE(display.key("ctrl+q"));
            if (program->wait(kLongest_seconds / 10) >= 0) break;
        }
        ASSERT_EQ(program->wait(0), 0) << program->messages();
    }
    nlohmann::json settings() const { return nlohmann::json::parse(gs::test::read_bytes(program->config() / "settings.json")); }

    VirtualDisplay display{kWidth, kHeight};
    std::optional<WindowedProgram> program;
};

/// Where the window has its widgets: the same drawing code, fonts and size, without a display.
struct Places {
    ImVec2 prompt, k, k_left;
    Places() {
        WindowStage stage({kWidth, kHeight}, 1);
        stage.live = true;
        stage.session.load_trace(bundled_run_path());
        stage.session.load_model(bundled_model_path());
        EXPECT_TRUE(stage.session.wait_idle(kLongest_seconds));
        stage.frames(8);
        prompt = stage.find(kTop, {"###prompt_text"});
        k = stage.find(kTop, {"###k"});
        k_left = {k.x - 10, k.y + 6};
    }
};

TEST_F(RealWindow, ShowsWhatTheScreenshotShows) {
    gs::test::TempDir folder;
    ASSERT_TRUE(render_screenshot({.out = folder / "expected.png", .width = kWidth, .height = kHeight}));
    const Picture expected = read_png(folder / "expected.png");
    double worst = 1;
    EXPECT_TRUE(eventually([&] { return (worst = difference(display.picture(), expected)) < 0.002; }))
        << worst << " of the pixels differ: " << program->messages();
}

TEST_F(RealWindow, RunsWhatIsTypedAndComparesWhenKIsDragged) {
    const Places places;
    Picture before = settled();
    ASSERT_TRUE(display.click(places.prompt));
    ASSERT_TRUE(display.key("ctrl+a"));
    ASSERT_TRUE(display.type("Hello llama"));
    ASSERT_TRUE(display.key("Return"));
    EXPECT_TRUE(eventually([&] { return difference(display.picture(), before) > 0.02; })) << "no answer appeared";
    before = settled();
    ASSERT_TRUE(display.drag(places.k, places.k_left));
    EXPECT_TRUE(eventually([&] { return difference(display.picture(), before) > 0.02; })) << "k did nothing";
    settled();
    ASSERT_TRUE(display.move({kWidth / 2, kHeight - 3}));  // leave the text field
    ASSERT_TRUE(display.key("Escape"));
    quit();
    EXPECT_EQ(settings()["prompt"], "Hello llama");
    EXPECT_EQ(settings()["k_hint_done"], true);
}

TEST_F(RealWindow, HoldingShiftShowsThePinnedRunAndLettingGoTheOther) {
    settled();
    ASSERT_TRUE(display.key("p"));
    const Picture before = settled();
    ASSERT_TRUE(display.input({"keydown", "shift"}));
    EXPECT_TRUE(eventually([&] { return difference(display.picture(), before) > 0.005; })) << "A is not marked";
    ASSERT_TRUE(display.input({"keyup", "shift"}));
    EXPECT_TRUE(eventually([&] { return difference(display.picture(), before) == 0; })) << "B is not back";
}

TEST_F(RealWindow, FollowsANewSizeAndComesBackAfterBeingHidden) {
    const Picture full = settled();
    ASSERT_TRUE(display.input({"search", "--sync", "--name", "Gatescope", "windowsize", "--sync", "900", "600"}));
    const Picture small = settled();
    EXPECT_GT(difference(small, full, {0, 0}, {900, 600}), 0.05) << "the layout is another one";
    std::set<uint32_t> right_edge;
    for (int y = 0; y < 600; ++y) right_edge.insert(small.pixel(898, y));
    EXPECT_GT(right_edge.size(), 1u) << "drawn up to the new edge";
    ASSERT_TRUE(display.input({"search", "--name", "Gatescope", "windowunmap", "--sync"}));
    sleep_seconds(1);
    ASSERT_TRUE(display.input({"search", "--name", "Gatescope", "windowmap", "--sync"}));
    EXPECT_TRUE(eventually([&] { return difference(display.picture(), small, {0, 0}, {900, 600}) < 0.002; }));
    EXPECT_TRUE(program->is_running());
}

TEST_F(RealWindow, ScaleKeysAreKeptForTheNextStart) {
    settled();
    ASSERT_TRUE(display.key("ctrl+plus"));
    settled();
    quit();
    EXPECT_EQ(settings()["scale"], 1.25);
}

}  // namespace
}  // namespace app::test
