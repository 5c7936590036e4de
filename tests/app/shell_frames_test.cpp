// The shell on the real driver, off screen, validation layer on.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <thread>

#include "app/shell/app.h"
#include "app/shell/shell.h"
#include "imgui_internal.h"
#include "tests/app/read_png.h"
#include "tests/support/paths.h"

namespace app {
namespace {

namespace fs = std::filesystem;

class ShellFrames : public testing::Test {
protected:
    void SetUp() override { make({.headless = true, .width = 400, .height = 300, .validation = true}); }
    void TearDown() override {
        if (shell) {
            EXPECT_EQ(shell->validation_messages(), 0);
        }
        shell.reset();
        std::error_code ignored;
        fs::remove_all(folder, ignored);
    }
    void make(const ShellOptions& options) {
        shell.reset();
        auto made = Shell::create(options);
        ASSERT_TRUE(made) << made.error().message();
        shell = std::move(*made);
    }
    const fs::path folder = fs::path(testing::TempDir()) / ("shell-" + std::to_string(::getpid()));
    std::unique_ptr<Shell> shell;
};

void draw_panel(FrameInfo&) {
    ImGui::SetNextWindowPos({20, 20});
    ImGui::SetNextWindowSize({300, 200});
    ImGui::Begin("panel");
    ImGui::TextUnformatted("routing");
    ImGui::End();
}

TEST_F(ShellFrames, ScreenshotHoldsThePixelsOfThePicture) {
    ASSERT_TRUE(shell->run_frames(4, draw_panel));
    const fs::path file = folder / "new" / "shot.png";
    auto written = shell->screenshot(file);
    ASSERT_TRUE(written) << written.error().message();
    const Picture read = test::read_png(file);
    auto picture = shell->picture();
    ASSERT_TRUE(picture);
    EXPECT_EQ(read.width_px, 400);
    EXPECT_EQ(read.height_px, 300);
    EXPECT_TRUE(read.rgba == picture->rgba);
    EXPECT_EQ(picture->pixel(399, 299), palette(ThemeKind::kDark).window);
    EXPECT_EQ(picture->pixel(30, 210), palette(ThemeKind::kDark).panel);
    std::set<uint32_t> colors;
    for (int x = 25; x < 120; ++x)
        for (int y = 45; y < 75; ++y) colors.insert(picture->pixel(x, y));
    EXPECT_GT(colors.size(), 10u) << "text is anti-aliased: many shades";
}

TEST_F(ShellFrames, AScreenshotThatCannotBeWrittenSaysWhere) {
    ASSERT_TRUE(shell->run_frames(1, draw_panel));
    auto written = shell->screenshot("/proc/no-such-folder/shot.png");
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, "cannot_write");
    EXPECT_NE(written.error().what.find("/proc/no-such-folder/shot.png"), std::string::npos);
}

TEST_F(ShellFrames, EqualFramesGiveEqualPictures) {
    ASSERT_TRUE(shell->run_frames(4, draw_panel));
    const Picture first = *shell->picture();
    ASSERT_TRUE(shell->run_frames(3, draw_panel));
    EXPECT_EQ(shell->picture()->rgba, first.rgba);
}

TEST_F(ShellFrames, ThemeAndScaleChangeLive) {
    ASSERT_TRUE(shell->run_frames(2, draw_panel));
    shell->set_theme(ThemeKind::kLight);
    for (float scale : {0.75f, 1.5f, 3.0f, 1.0f}) {
        shell->set_scale(scale);
        float font_px = 0;
        ASSERT_TRUE(shell->run_frames(3, [&](FrameInfo& info) {
            EXPECT_EQ(info.scale, scale);
            font_px = ImGui::GetFontSize();
            draw_panel(info);
        }));
        EXPECT_FLOAT_EQ(font_px, 16 * scale);
    }
    EXPECT_EQ(shell->picture()->pixel(399, 299), palette(ThemeKind::kLight).window);
    shell->set_scale(17);
    ASSERT_TRUE(shell->run_frames(1, draw_panel));
    EXPECT_EQ(shell->scale(), 3.0f) << "kept within 75 to 300 %";
}

TEST_F(ShellFrames, ScriptsClickAndType) {
    char text[64] = "";
    int n_presses = 0;
    ImVec2 field{}, button{};
    const auto draw = [&](FrameInfo& info) {
        draw_panel(info);
        ImGui::Begin("panel");
        ImGui::InputText("###field", text, sizeof text);
        field = ImGui::GetItemRectMin();
        n_presses += ImGui::Button("Run###run");
        button = ImGui::GetItemRectMin();
        ImGui::End();
    };
    ASSERT_TRUE(shell->run_frames(3, draw));
    ASSERT_TRUE(shell->run_script(
        InputScript().click({field.x + 30, field.y + 8}).type("llama ∞").click({button.x + 8, button.y + 8}).events(), draw));
    EXPECT_STREQ(text, "llama ∞");
    EXPECT_EQ(n_presses, 1);
}

TEST_F(ShellFrames, IdleDrawsNothingAndAWakeDrawsAFewFrames) {
    auto idle = shell->count_idle_frames(0.3, draw_panel);
    ASSERT_TRUE(idle);
    EXPECT_EQ(*idle, 0);
    std::thread worker([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
        for (int i = 0; i < 1000; ++i) shell->wake();            // a burst is one wake
    });
    auto woken = shell->count_idle_frames(0.4, draw_panel);
    worker.join();
    ASSERT_TRUE(woken);
    EXPECT_GE(*woken, 1);
    EXPECT_LE(*woken, 8) << "a thousand calls must not be a thousand frames";
}

TEST_F(ShellFrames, CountsAndTimesFrames) {
    ASSERT_TRUE(shell->run_frames(7, draw_panel));
    const FrameStats::Summary s = shell->stats().summary();
    EXPECT_EQ(s.n_frames, 7u);
    EXPECT_GT(s.min_ms, 0);
    EXPECT_LE(s.min_ms, s.median_ms);
    EXPECT_LE(s.median_ms, s.max_ms);
}

TEST_F(ShellFrames, FontsHaveTheSymbolsThatTokensNeed) {
    ASSERT_TRUE(shell->run_frames(1, draw_panel));
    // ␣ ↵ → Σ ‖ ∞ ≤ … ü Ж λ and two icons.
    for (ImFont* font : {shell->fonts().text, shell->fonts().mono})
        for (ImWchar c : {0x2423, 0x21b5, 0x2192, 0x3a3, 0x2016, 0x221e, 0x2264, 0x2026, 0xfc, 0x416, 0x3bb, 0xf04b, 0xf00a})
            EXPECT_TRUE(font->IsGlyphInFont(c)) << std::hex << c;
}

TEST_F(ShellFrames, LayoutIsKeptInTheConfigFolder) {
    const ShellOptions options{.headless = true, .width = 400, .height = 300, .validation = true, .config_dir = folder};
    make(options);
    ImVec2 position;
    bool place = true;
    const auto draw = [&](FrameInfo&) {
        if (place) ImGui::SetNextWindowPos({77, 55});
        ImGui::Begin("movable");
        position = ImGui::GetWindowPos();
        ImGui::End();
    };
    ASSERT_TRUE(shell->run_frames(3, draw));
    make(options);
    place = false;
    ASSERT_TRUE(shell->run_frames(2, draw));
    EXPECT_EQ(position.x, 77);
    EXPECT_EQ(position.y, 55);
    EXPECT_TRUE(fs::exists(folder / "layout.ini"));
}

TEST_F(ShellFrames, RunWithoutAWindowIsRefused) {
    auto done = shell->run(draw_panel);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind, gs::ErrorKind::kUsage);
}

TEST(ShellStart, NoDisplayAndNoDriverAreErrorsThatNameTheRemedy) {
    const auto with_variables = [](std::initializer_list<std::pair<const char*, const char*>> set, bool headless) {
        std::vector<std::pair<std::string, std::optional<std::string>>> before;
        for (const auto& [name, value] : set) {
            const char* old = std::getenv(name);
            before.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
            value ? ::setenv(name, value, 1) : ::unsetenv(name);
        }
        auto made = Shell::create({.headless = headless, .width = 64, .height = 64});
        for (const auto& [name, value] : before) value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
        return made ? gs::Error{} : made.error();
    };
    const gs::Error no_display = with_variables({{"DISPLAY", nullptr}, {"WAYLAND_DISPLAY", nullptr}}, false);
    EXPECT_EQ(no_display.code, "no_display");
    EXPECT_EQ(no_display.kind, gs::ErrorKind::kDevice);
    EXPECT_NE(no_display.remedy.find("screenshot"), std::string::npos);
    const gs::Error no_driver = with_variables({{"VK_DRIVER_FILES", "/nonexistent.json"}, {"VK_ICD_FILENAMES", "/nonexistent.json"}}, true);
    EXPECT_EQ(no_driver.code, "no_vulkan");
    EXPECT_NE(no_driver.remedy.find("mesa-vulkan-drivers"), std::string::npos);
}

/// Sets $GATESCOPE_ASSETS for the scope.
class AssetsIn {
public:
    explicit AssetsIn(const fs::path& folder) {
        if (const char* old = std::getenv("GATESCOPE_ASSETS")) m_before = old;
        ::setenv("GATESCOPE_ASSETS", folder.c_str(), 1);
    }
    ~AssetsIn() { m_before ? ::setenv("GATESCOPE_ASSETS", m_before->c_str(), 1) : ::unsetenv("GATESCOPE_ASSETS"); }

private:
    std::optional<std::string> m_before;
};

TEST(ShellStart, MissingFontsAreAnErrorWithThePath) {
    const AssetsIn assets("/nonexistent");
    auto made = Shell::create({.headless = true, .width = 64, .height = 64});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, "font_missing");
    EXPECT_NE(made.error().what.find("/nonexistent/fonts/"), std::string::npos);
}

/// With fonts, but without models, runs, and presets; then with presets that are none.
TEST(ShellStart, TheWindowIsDrawnWithoutTheDeliveredPresets) {
    const gs::test::TempDir folder;
    fs::create_directory_symlink(gs::test::source("assets/fonts"), folder / "fonts");
    const AssetsIn assets(folder.path());
    for (const char* presets : {"", "no presets"}) {
        if (*presets) gs::test::write_bytes(folder / "presets.json", presets);
        const auto drawn = render_screenshot({.out = folder / "window.png", .width = 640, .height = 400});
        ASSERT_TRUE(drawn) << drawn.error().message();
        EXPECT_EQ(test::read_png(folder / "window.png").width_px, 640);
    }
}

}  // namespace
}  // namespace app
