// The shell's parts that need no graphics: when to draw, what frames cost, settings, themes.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "app/shell/file_io.h"
#include "app/shell/frame_pacer.h"
#include "app/shell/frame_stats.h"
#include "app/shell/settings.h"
#include "app/shell/theme.h"

namespace app {
namespace {

namespace fs = std::filesystem;

TEST(FramePacer, SleepsAfterInputHasSettled) {
    FramePacer pacer;
    pacer.note_input();
    int drawn = 0;
    double now = 10;
    for (; pacer.next(now).draw && drawn < 100; ++drawn) pacer.note_frame(now += 0.02, 0, false);
    EXPECT_EQ(drawn, FramePacer::kSettleFrames);
    EXPECT_LT(pacer.next(now + 1000).wait_seconds, 0) << "until an event comes";
}

TEST(FramePacer, AWakeIsFewerFramesAndDoesNotCutInputShort) {
    FramePacer pacer;
    for (int i = 0; i < 10; ++i) pacer.note_frame(i, 0, false);
    pacer.note_wake();
    int drawn = 0;
    for (; pacer.next(20 + drawn).draw && drawn < 100; ++drawn) pacer.note_frame(20 + drawn, 0, false);
    EXPECT_EQ(drawn, FramePacer::kWakeFrames);
    pacer.note_input();
    pacer.note_wake();
    for (drawn = 0; pacer.next(40 + drawn).draw && drawn < 100; ++drawn) pacer.note_frame(40 + drawn, 0, false);
    EXPECT_EQ(drawn, FramePacer::kSettleFrames);
}

TEST(FramePacer, StaysAwakeForAnAnimationAndNoLonger) {
    FramePacer pacer;
    for (int i = 0; i < 10; ++i) pacer.note_frame(1, 2.0, false);
    EXPECT_TRUE(pacer.next(1.5).draw);
    EXPECT_FALSE(pacer.next(2.5).draw);
}

TEST(FramePacer, FramesKeepTheirDistance) {
    FramePacer pacer;
    pacer.set_shortest_frame(0.010);
    pacer.note_frame(1.000, 5, false);
    const FramePacer::Next soon = pacer.next(1.004);
    EXPECT_FALSE(soon.draw);
    EXPECT_NEAR(soon.wait_seconds, 0.006, 1e-12);
    EXPECT_TRUE(pacer.next(1.011).draw);
}

TEST(FramePacer, ACaretBlinksAtItsOwnPace) {
    FramePacer pacer;
    for (int i = 0; i < 10; ++i) pacer.note_frame(1, 0, true);
    const FramePacer::Next rest = pacer.next(1.1);
    EXPECT_FALSE(rest.draw);
    EXPECT_NEAR(rest.wait_seconds, FramePacer::kCaretSeconds - 0.1, 1e-12);
    EXPECT_TRUE(pacer.next(1 + FramePacer::kCaretSeconds + 0.001).draw);
}

TEST(FrameStats, SummarisesTheNewestFrames) {
    FrameStats stats;
    EXPECT_EQ(stats.summary().n_frames, 0u);
    for (double ms : {4.0, 1.0, 3.0, 2.0}) stats.add(ms);
    EXPECT_EQ(stats.summary().min_ms, 1);
    EXPECT_EQ(stats.summary().median_ms, 2.5);
    EXPECT_EQ(stats.summary().max_ms, 4);
    for (size_t i = 0; i < FrameStats::kKept; ++i) stats.add(9);
    EXPECT_EQ(stats.summary().min_ms, 9) << "older frames are forgotten";
    EXPECT_EQ(stats.summary().n_frames, 4 + FrameStats::kKept);
}

class SettingsFiles : public testing::Test {
protected:
    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }
    void write(const char* name, const std::string& text) const { std::ofstream(folder / name, std::ios::binary) << text; }
    const fs::path folder =
        fs::path(testing::TempDir()) /
        (std::string("settings-") + testing::UnitTest::GetInstance()->current_test_info()->name() + std::to_string(::getpid()));
};

TEST_F(SettingsFiles, RoundTripAndUnknownKeysStay) {
    write("settings.json", R"({"version": 1, "of_a_later_version": [1, 2], "theme": "dark"})");
    {
        Settings settings(folder);
        EXPECT_TRUE(settings.problems().empty());
        settings.values["theme"] = "light";
        ASSERT_TRUE(settings.save());
        ASSERT_TRUE(settings.save_layout("[Window][panel]\nPos=1,2\n"));
    }
    Settings again(folder);
    EXPECT_EQ(again.values["theme"], "light");
    EXPECT_EQ(again.values["of_a_later_version"], nlohmann::json({1, 2}));
    EXPECT_EQ(again.layout(), "[Window][panel]\nPos=1,2\n");
    for (const auto& entry : fs::directory_iterator(folder)) EXPECT_NE(entry.path().extension(), ".part") << "no half-written file is left";
}

TEST_F(SettingsFiles, BrokenFilesAreSetAsideWithAMessage) {
    const std::string brokens[] = {"{\"theme\": ", "[1, 2]", "", std::string("\0\x01", 2), std::string(1000, '[')};
    for (const std::string& broken : brokens) {
        write("settings.json", broken);
        Settings settings(folder);
        ASSERT_EQ(settings.problems().size(), 1u) << broken;
        EXPECT_EQ(settings.problems()[0].code, "settings_broken");
        EXPECT_TRUE(settings.values.is_object());
        EXPECT_FALSE(fs::exists(folder / "settings.json"));
        EXPECT_EQ(*read_file(folder / "settings.json.broken"), broken) << "kept for the user to look at";
        ASSERT_TRUE(settings.save());
        EXPECT_TRUE(Settings(folder).problems().empty());
    }
    write("layout.ini", std::string("\x7f" "ELF\0\0", 6));
    Settings settings(folder);
    ASSERT_EQ(settings.problems().size(), 1u);
    EXPECT_TRUE(settings.layout().empty());
    EXPECT_TRUE(fs::exists(folder / "layout.ini.broken"));
}

TEST_F(SettingsFiles, TextThatIsNotUtf8DoesNotStopSaving) {
    Settings settings(folder);
    settings.values["prompt"] = "caf\xe9";
    ASSERT_TRUE(settings.save());
    EXPECT_TRUE(Settings(folder).problems().empty());
}

TEST_F(SettingsFiles, WithoutAFolderNothingIsKept) {
    Settings settings{fs::path()};
    settings.values["theme"] = "light";
    EXPECT_TRUE(settings.save());
    EXPECT_TRUE(settings.save_layout("[x]"));
    EXPECT_FALSE(fs::exists("settings.json"));
}

TEST_F(SettingsFiles, AnUnwritableFolderIsAnError) {
    write("a-file", "");
    Settings settings(folder / "a-file");
    settings.values["theme"] = "light";
    auto saved = settings.save();
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code, "cannot_write");
}

/// WCAG 2.1 contrast ratio of two 0xRRGGBB colours.
double contrast(uint32_t a, uint32_t b) {
    const auto luminance = [](uint32_t rgb) {
        const auto channel = [&](int shift) {
            const double v = double(rgb >> shift & 255) / 255;
            return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
        };
        return 0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0);
    };
    const double la = luminance(a), lb = luminance(b);
    return (std::max(la, lb) + 0.05) / (std::min(la, lb) + 0.05);
}

TEST(ThemePalettes, TextReadsOnEverySurface) {
    for (ThemeKind kind : kThemes) {
        const Palette& p = palette(kind);
        for (uint32_t surface : {p.window, p.panel, p.popup, p.frame, p.frame_hovered, p.frame_active, p.row_alternate, p.button,
                                 p.button_hovered, p.button_active, p.header, p.header_hovered, p.header_active, p.tab_hovered, p.grab})
            EXPECT_GE(contrast(p.text, surface), 4.5) << name_of(kind) << " text on " << std::hex << surface;
        for (uint32_t surface : {p.window, p.panel, p.popup, p.frame, p.row_alternate})
            EXPECT_GE(contrast(p.text_dim, surface), 4.5) << name_of(kind) << " dim text on " << std::hex << surface;
        for (uint32_t message : {p.warning, p.error, p.ok, p.what_if, p.accent})
            EXPECT_GE(contrast(message, p.panel), 4.5) << name_of(kind) << " message " << std::hex << message;
        EXPECT_GE(contrast(p.accent_text, p.accent), 4.5) << name_of(kind);
    }
}

TEST(ThemePalettes, MarksStandOut) {
    for (ThemeKind kind : kThemes) {
        const Palette& p = palette(kind);
        for (uint32_t mark : {p.accent, p.selection, p.hover, p.focus, p.what_if, p.warning, p.error, p.ok})
            for (uint32_t surface : {p.panel, p.frame, p.track})
                EXPECT_GE(contrast(mark, surface), 3.0) << name_of(kind) << std::hex << " " << mark << " on " << surface;
    }
}

TEST(ThemePalettes, HighContrastDrawsEveryEdgeAndReadsAtSevenToOne) {
    const Palette& p = palette(ThemeKind::kContrast);
    for (uint32_t surface : {p.window, p.panel, p.popup, p.frame, p.frame_hovered, p.frame_active, p.button, p.button_hovered, p.button_active, p.header_active}) {
        EXPECT_GE(contrast(p.text, surface), 7) << std::hex << surface;
        EXPECT_GE(contrast(p.border, surface), 3) << std::hex << surface;
    }
    EXPECT_GE(contrast(p.text_dim, p.panel), 7);
    EXPECT_GE(contrast(p.focus, p.button_active), 7);
}

TEST(ThemePalettes, NamesParseBack) {
    for (ThemeKind kind : kThemes) {
        ThemeKind read = kind == ThemeKind::kDark ? ThemeKind::kLight : ThemeKind::kDark;
        EXPECT_TRUE(parse_theme(name_of(kind), read));
        EXPECT_EQ(read, kind);
    }
    ThemeKind untouched = ThemeKind::kLight;
    EXPECT_FALSE(parse_theme("solarized", untouched));
    EXPECT_EQ(untouched, ThemeKind::kLight);
}

}  // namespace
}  // namespace app
