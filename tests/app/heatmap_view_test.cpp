#include "app/widgets/heatmap_view.h"

#include <gtest/gtest.h>

#include "app/widgets/heatmap_axes.h"

namespace app {
namespace {

struct HeatmapViewTest : testing::Test {
    void resolve() { resolve_view(view, n_cols, n_rows, 100, cols, rows); }
    void zoom(double factor, float at_px) {
        zoom_view(view, cols, rows, factor, factor, cols.to_cell(at_px), rows.to_cell(50));
        resolve();
    }
    int n_cols = 200, n_rows = 16;
    HeatmapView view;
    HeatmapAxis cols{.origin_px = 40, .length_px = 800}, rows{.origin_px = 10, .length_px = 160};
};

TEST_F(HeatmapViewTest, FitsEverythingAtFirst) {
    resolve();
    EXPECT_EQ(cols.begin(), 0);
    EXPECT_EQ(cols.end(), 200);
    EXPECT_FLOAT_EQ(cols.cell_px(), 4);
    EXPECT_FLOAT_EQ(rows.cell_px(), 10);
}

TEST_F(HeatmapViewTest, FewColumnsDoNotBecomeBillboards) {
    n_cols = 3;
    resolve();
    EXPECT_FLOAT_EQ(cols.cell_px(), 100);
    EXPECT_FLOAT_EQ(cols.to_px(0), 40);
    EXPECT_EQ(cols.end(), 3);
}

TEST_F(HeatmapViewTest, ZoomKeepsTheCellUnderThePointer) {
    resolve();
    const double before = cols.to_cell(440);
    zoom(0.5, 440);
    EXPECT_FLOAT_EQ(cols.cell_px(), 8);
    // The way there and back is a handful of roundings in float: a pixel position has 24 bits.
    EXPECT_NEAR(cols.to_cell(440), before, 1e-4);
    EXPECT_FALSE(view.follow);
}

TEST_F(HeatmapViewTest, ZoomingOutPastEverythingFitsAndFollowsAgain) {
    resolve();
    zoom(0.25, 440);
    zoom(10, 440);
    EXPECT_EQ(view.n_cols_shown, 0);
    EXPECT_TRUE(view.follow || view.first_col == 0);
    EXPECT_EQ(cols.begin(), 0);
    EXPECT_EQ(cols.end(), 200);
}

TEST_F(HeatmapViewTest, ZoomStopsAtTwoCells) {
    resolve();
    for (int i = 0; i < 100; ++i) zoom(0.5, 440);
    EXPECT_DOUBLE_EQ(cols.shown, 2);
    EXPECT_GE(cols.first, 0);
    EXPECT_LE(cols.first + cols.shown, 200);
}

TEST_F(HeatmapViewTest, PanningStopsAtTheEdgesAndDetaches) {
    resolve();
    zoom(0.25, 440);
    view.follow = true;
    pan_view(view, cols, rows, -1e6, -1e6);
    resolve();
    EXPECT_DOUBLE_EQ(cols.first, 0);
    EXPECT_FALSE(view.follow);
    pan_view(view, cols, rows, 1e6, 1e6);
    resolve();
    EXPECT_DOUBLE_EQ(cols.first + cols.shown, 200);
    EXPECT_DOUBLE_EQ(rows.first + rows.shown, 16);
}

TEST_F(HeatmapViewTest, FollowingKeepsTheNewestColumnInView) {
    view.n_cols_shown = 50;
    resolve();
    EXPECT_DOUBLE_EQ(cols.first, 150);
    n_cols = 260;
    resolve();
    EXPECT_DOUBLE_EQ(cols.first, 210);
    pan_view(view, cols, rows, -10, 0);
    n_cols = 300;
    resolve();
    EXPECT_DOUBLE_EQ(cols.first, 200) << "detached: new columns must not move the picture";
}

TEST(HeatmapAxes, LabelStepsAreRound) {
    EXPECT_EQ(label_step(20, 14), 1);
    EXPECT_EQ(label_step(8, 14), 2);
    EXPECT_EQ(label_step(4, 14), 5);
    EXPECT_EQ(label_step(1, 14), 20);
    EXPECT_EQ(label_step(0.01f, 14), 2000);
}

}  // namespace
}  // namespace app
