// Heatmaps on the real driver (the software one where there is no other), off screen, validation layer on: what the picture shows is
// compared with what the widget says lies under each pixel, through the CPU's colour tables.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <random>

#include "app/shell/shell.h"
#include "app/widgets/heatmap.h"

namespace app {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kWidth = 480, kHeight = 360;

uint32_t rgb_of(ImU32 color) {
    return (color >> IM_COL32_R_SHIFT & 255) << 16 | (color >> IM_COL32_G_SHIFT & 255) << 8 | (color >> IM_COL32_B_SHIFT & 255);
}

class HeatmapRender : public testing::Test {
protected:
    void SetUp() override {
        auto made = Shell::create({.headless = true, .width = kWidth, .height = kHeight, .validation = true});
        ASSERT_TRUE(made) << made.error().message();
        shell = std::move(*made);
        map.emplace(shell->heatmaps());
        input.n_cols = 48;
        input.n_rows = 32;
        input.fill_column = [this](int col, std::span<float> out) {
            ++n_filled;
            for (size_t row = 0; row < out.size(); ++row) out[row] = value(col, int(row));
        };
        input.col_label = input.row_label = [](int) { return std::string(); };
    }
    void TearDown() override {
        map.reset();
        if (shell) {
            frames(1);
            EXPECT_EQ(shell->validation_messages(), 0);
        }
    }
    void draw_ui() {
        ImGui::SetNextWindowPos({0, 0});
        ImGui::SetNextWindowSize({kWidth, kHeight});
        ImGui::Begin("map", nullptr, ImGuiWindowFlags_NoDecoration);
        ImGui::Button("before");
        if (map) hit = map->draw("map", input, view, {440, 290});
        clicked = clicked || hit.clicked;
        moved_cols += hit.move_cols;
        moved_rows += hit.move_rows;
        ImGui::Button("after");
        ImGui::End();
    }
    void frames(int n) {
        auto done = shell->run_frames(n, [this](FrameInfo&) { draw_ui(); });
        ASSERT_TRUE(done) << done.error().message();
    }
    void play(const InputScript& script) {
        auto done = shell->run_script(script.events(), [this](FrameInfo&) { draw_ui(); });
        ASSERT_TRUE(done) << done.error().message();
    }
    Picture picture() {
        auto drawn = shell->picture();
        EXPECT_TRUE(drawn) << drawn.error().message();
        return std::move(*drawn);
    }
    /// What the widget says lies under pixel (x, y); it takes ImGui a frame to find what is under a pointer that came from elsewhere.
    HeatmapHit probe(int x, int y) {
        apply({.kind = InputEvent::Kind::kMouseMove, .position = {float(x), float(y)}});
        frames(2);
        return hit;
    }
    /// The picture with the pointer elsewhere, then every probe against it. Returns how many hit a cell.
    template <class Check>
    int compare(int n_probes, const Check& check) {
        play(InputScript().move({-100, -100}));
        const Picture shown = picture();
        std::mt19937 random(5);
        int n_cells = 0;
        for (int i = 0; i < n_probes; ++i) {
            const int x = int(random() % kWidth), y = 45 + int(random() % 270);
            const HeatmapHit at = probe(x, y);
            if (!at.hovered) continue;
            ++n_cells;
            check(at, shown.pixel(x, y), x, y);
        }
        return n_cells;
    }
    static float value(int col, int row) { return float((col * 37 + row * 11) % 256) / 255; }

    std::unique_ptr<Shell> shell;
    std::optional<Heatmap> map;
    HeatmapInput input;
    HeatmapView view;
    HeatmapHit hit;
    bool clicked = false;
    int n_filled = 0, moved_cols = 0, moved_rows = 0;
};

TEST_F(HeatmapRender, PixelsHaveTheColoursOfTheCpuTables) {
    for (ColorMap colors : kColorMaps) {
        input.map = colors;
        input.low = colors == ColorMap::kBlueOrange ? -1.0f : 0.0f;
        const int n = compare(60, [&](const HeatmapHit& at, uint32_t pixel, int x, int y) {
            EXPECT_EQ(at.value, value(at.col, at.row));
            const float t = (at.value - input.low) / (input.high - input.low);
            // The shader multiplies by 1 / range where this divides: an index may differ by one where t is half way between two.
            const uint32_t want[] = {rgb_of(sample(colors, t)), rgb_of(sample(colors, t - 1e-6f)), rgb_of(sample(colors, t + 1e-6f))};
            EXPECT_TRUE(pixel == want[0] || pixel == want[1] || pixel == want[2])
                << name_of(colors) << " at " << x << "," << y << " cell " << at.col << "," << at.row << std::hex << ": " << pixel << " not "
                << want[0];
        });
        EXPECT_GT(n, 30);
    }
}

TEST_F(HeatmapRender, SwappedAxesShowTheSameCellsTheOtherWay) {
    input.swap_axes = true;
    input.n_rows = 64;                           // cells too small for a gap, as in the other direction
    const int n = compare(
        80, [&](const HeatmapHit& at, uint32_t pixel, int, int) { EXPECT_EQ(pixel, rgb_of(sample(input.map, value(at.col, at.row)))); });
    EXPECT_GT(n, 40);
    const HeatmapHit left = probe(120, 150), right = probe(300, 150), lower = probe(120, 250);
    ASSERT_TRUE(left.hovered && right.hovered && lower.hovered);
    EXPECT_GT(right.row, left.row);
    EXPECT_EQ(right.col, left.col);
    EXPECT_GT(lower.col, left.col);
}

TEST_F(HeatmapRender, MissingValuesHaveTheirOwnLook) {
    input.fill_column = [](int col, std::span<float> out) { std::fill(out.begin(), out.end(), col % 2 ? kNan : 1.0f); };
    frames(1);                                   // the theme is there from the first frame on
    const uint32_t high = rgb_of(table(input.map)[255]), none = rgb_of(ImGui::GetColorU32(ImGuiCol_FrameBg));
    int n_plain = 0, n_stripe = 0;
    compare(120, [&](const HeatmapHit& at, uint32_t pixel, int, int) {
        if (at.col % 2 == 0) {
            EXPECT_EQ(pixel, high);
            return;
        }
        EXPECT_TRUE(std::isnan(at.value));
        EXPECT_NE(pixel, high);
        ++(pixel == none ? n_plain : n_stripe);
    });
    EXPECT_GT(n_plain, 0);
    EXPECT_GT(n_stripe, 0);
}

TEST_F(HeatmapRender, ALoneHotCellSurvivesZoomingOut) {
    input.n_cols = 6000;
    input.n_rows = 300;
    input.fill_column = [](int col, std::span<float> out) {
        std::fill(out.begin(), out.end(), 0.0f);
        if (col == 4321) out[123] = 1.0f;
    };
    play(InputScript().move({-100, -100}));
    const Picture shown = picture();
    const uint32_t hot = rgb_of(table(input.map)[255]), cold = rgb_of(table(input.map)[0]);
    int n_hot = 0, n_cold = 0;
    for (int y = 0; y < kHeight; ++y)
        for (int x = 0; x < kWidth; ++x) {
            n_hot += shown.pixel(x, y) == hot;
            n_cold += shown.pixel(x, y) == cold;
        }
    // A pixel reads the cells of a coarser level that it touches: the cell shows in the one or two pixels on each axis that touch it there.
    EXPECT_GE(n_hot, 1);
    EXPECT_LE(n_hot, 9);
    EXPECT_GT(n_cold, 50000);
}

TEST_F(HeatmapRender, ZoomedOutPixelsShowTheMaximumOfTheirCells) {
    input.n_cols = 3000;
    input.n_rows = 90;
    const auto sparse = [](int col, int row) { return (col * 7919 + row * 104729) % 97 == 0 ? float((col + row) % 200 + 56) / 255 : 0.0f; };
    input.fill_column = [&](int col, std::span<float> out) {
        for (size_t row = 0; row < out.size(); ++row) out[row] = sparse(col, int(row));
    };
    play(InputScript().move({-100, -100}));
    const Picture shown = picture();
    const HeatmapHit first = probe(200, 150), next = probe(201, 150);
    ASSERT_TRUE(first.hovered && next.hovered);
    ASSERT_GT(next.col - first.col, 4) << "several columns a pixel";
    // Whatever the level rounds to, a pixel shows no less than the strongest cell under its centre's column and row and no more than the
    // strongest within twice its own width around it.
    const int wide = 2 * (next.col - first.col) + 2;
    float around = 0, here = first.value;
    for (int col = first.col - wide; col <= first.col + wide; ++col)
        for (int row = first.row - 2; row <= first.row + 2; ++row) around = std::max(around, sparse(col, row));
    float level = -1;
    for (int i = 0; i < 256; ++i)
        if (rgb_of(table(input.map)[size_t(i)]) == shown.pixel(200, 150)) level = float(i) / 255;
    ASSERT_GE(level, 0) << "a colour of the map";
    EXPECT_GE(level, here - 0.5f / 255);
    EXPECT_LE(level, around + 0.5f / 255);
}

TEST_F(HeatmapRender, DrawsAgainOnlyWhenSomethingChangedAndFillsOnlyNewColumns) {
    play(InputScript().move({-100, -100}).wait(3));
    EXPECT_EQ(n_filled, 48);
    const uint64_t drawn = shell->heatmaps().n_drawn();
    frames(5);
    EXPECT_EQ(shell->heatmaps().n_drawn(), drawn);
    EXPECT_EQ(n_filled, 48);
    input.n_cols = 50;
    frames(1);
    EXPECT_EQ(n_filled, 50);
    EXPECT_EQ(shell->heatmaps().n_drawn(), drawn + 1);
    input.revision++;
    frames(1);
    EXPECT_EQ(n_filled, 100);
    input.high = 2;
    frames(1);
    EXPECT_EQ(shell->heatmaps().n_drawn(), drawn + 3);
    EXPECT_EQ(n_filled, 100) << "another range is the shader's business";
}

TEST_F(HeatmapRender, AppendedColumnsShow) {
    const int n = compare(
        40, [&](const HeatmapHit& at, uint32_t pixel, int, int) { EXPECT_EQ(pixel, rgb_of(sample(input.map, value(at.col, at.row)))); });
    EXPECT_GT(n, 20);
    input.n_cols = 90;                           // past the first capacity of 64: laid out anew
    int n_new = 0;
    compare(80, [&](const HeatmapHit& at, uint32_t pixel, int, int) {
        n_new += at.col >= 48;
        EXPECT_EQ(pixel, rgb_of(sample(input.map, value(at.col, at.row))));
    });
    EXPECT_GT(n_new, 10);
}

TEST_F(HeatmapRender, WheelZoomsAtThePointerAndDoubleClickFits) {
    frames(3);
    const HeatmapHit before = probe(250, 150);
    ASSERT_TRUE(before.hovered);
    play(InputScript().wheel(4, {250, 150}));
    EXPECT_EQ(hit.col, before.col);
    EXPECT_EQ(hit.row, before.row);
    EXPECT_GT(view.n_cols_shown, 0);
    EXPECT_LT(view.n_cols_shown, 30);
    EXPECT_FALSE(view.follow);
    play(InputScript().double_click({250, 150}));
    EXPECT_EQ(view.n_cols_shown, 0);
    EXPECT_TRUE(view.follow);
}

TEST_F(HeatmapRender, ClickSelectsDragPansAndNeitherIsTheOther) {
    play(InputScript().wheel(4, {250, 150}));
    clicked = false;
    const double first = view.first_col;
    play(InputScript().drag({250, 150}, {330, 150}));
    EXPECT_FALSE(clicked);
    EXPECT_LT(view.first_col, first);
    const double panned = view.first_col;
    play(InputScript().wait(60).click({250, 150}));   // a second later: not the second half of a double click
    EXPECT_TRUE(clicked);
    EXPECT_EQ(view.first_col, panned);
}

TEST_F(HeatmapRender, ArrowKeysMoveTheSelectionAndNotTheFocus) {
    play(InputScript().click({250, 150}));
    play(InputScript()
             .press(ImGuiKey_RightArrow)
             .press(ImGuiKey_RightArrow)
             .press(ImGuiKey_UpArrow)
             .press(ImGuiMod_Shift | ImGuiKey_DownArrow));
    EXPECT_EQ(moved_cols, 2);
    EXPECT_EQ(moved_rows, -1 + 10);
    play(InputScript().press(ImGuiKey_Home));
    EXPECT_EQ(moved_cols, 2 - input.n_cols);
}

TEST_F(HeatmapRender, AMapLargerThanTheDeviceSaysSo) {
    input.n_cols = 1 << 26;                      // with 32 rows 2^31 cells: 8 GiB and more
    input.revision++;
    frames(2);
    EXPECT_EQ(n_filled, 48 * 0) << "nothing is filled that cannot be drawn";
    input.n_cols = 48;
    input.revision++;
    frames(2);
    EXPECT_EQ(n_filled, 48);
}

TEST_F(HeatmapRender, EndingAHeatmapInTheFrameThatDrewItIsSafe) {
    frames(3);
    auto done = shell->run_frames(1, [&](FrameInfo&) {
        draw_ui();
        map.reset();
    });
    EXPECT_TRUE(done);
    frames(2);
    EXPECT_EQ(shell->validation_messages(), 0);
}

}  // namespace
}  // namespace app
