// Pictures of single panels, drawn by a second shell while the window is there.
#include <gtest/gtest.h>

#include <set>

#include "app/base/paths.h"
#include "app/shell/panel_picture.h"
#include "tests/app/read_png.h"
#include "tests/app/views_stage.h"
#include "tests/support/paths.h"

namespace app::test {
namespace {

constexpr double kLongest_seconds = 120;

size_t n_colors(const Picture& picture) {
    std::set<uint32_t> colors;
    for (size_t i = 0; i + 3 < picture.rgba.size(); i += 4)
        colors.insert(picture.rgba[i] | uint32_t{picture.rgba[i + 1]} << 8 | uint32_t{picture.rgba[i + 2]} << 16);
    return colors.size();
}

TEST(PanelPicture, IsDrawnAtItsSizeFromTheSessionWhileTheWindowStays) {
    const gs::test::TempDir folder;
    WindowStage stage;
    stage.live = true;
    stage.session.load_trace(bundled_run_path());
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames();
    ImGuiContext* const before = ImGui::GetCurrentContext();
    for (const auto& [view, width, height] : {std::tuple("heatmap", 900, 500), {"histogram", 1600, 700}, {"tokens", 640, 400}}) {
        const PanelPicture wanted{.view = view, .width_px = width, .height_px = height, .pick = {.token = 3, .moe_layer = 2}, .path = folder / (std::string(view) + ".png")};
        const auto saved = save_panel_picture(wanted, stage.session, stage.settings);
        ASSERT_TRUE(saved) << saved.error().message();
        const Picture picture = read_png(wanted.path);
        EXPECT_EQ(picture.width_px, width);
        EXPECT_EQ(picture.height_px, height);
        EXPECT_GT(n_colors(picture), 20u) << view << " is more than an empty panel";
        EXPECT_EQ(ImGui::GetCurrentContext(), before);
        stage.frames();
    }
    EXPECT_EQ(stage.ui->selected(), Pick{}) << "the window's own selection is left alone";
}

TEST(PanelPicture, OfAPlaceThatCannotBeWrittenIsAnError) {
    const gs::test::TempDir folder;
    gs::test::write_bytes(folder / "file", "no folder");
    WindowStage stage;
    EXPECT_FALSE(save_panel_picture({.view = "heatmap", .width_px = 320, .height_px = 320, .path = folder / "file" / "x.png"}, stage.session, stage.settings));
    stage.frames();
}

TEST(PanelPicture, IsAskedForByTheCommandWithItsSizeFirst) {
    WindowStage stage;
    stage.live = true;
    stage.session.load_trace(bundled_run_path());
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames();
    stage.key(ImGuiMod_Ctrl | ImGuiMod_Shift | ImGuiKey_P);
    stage.frames();
    stage.type("save picture");
    stage.key(ImGuiKey_Enter);
    stage.frames();
    const ImGuiWindow* popup = ImGui::GetTopMostPopupModal();
    ASSERT_NE(popup, nullptr);
    EXPECT_NE(std::string(popup->Name).find("picture_size"), std::string::npos);
    stage.key(ImGuiKey_Escape);
    stage.frames();
    EXPECT_EQ(ImGui::GetTopMostPopupModal(), nullptr);
}

}  // namespace
}  // namespace app::test
