// A heatmap over memory that another interface writes: which values it is drawn from, and when no longer. On the real driver (the software one where there
// is no other), off screen, validation layer on. The test is the other interface.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "app/shell/shell.h"
#include "app/widgets/gpu_shared.h"
#include "app/widgets/heatmap.h"
#include "tests/interop/mapped_file.h"

namespace app {
namespace {

constexpr int kWidth = 480, kHeight = 360, kExperts = 16, kPositions = 1200;
constexpr gs::SharedLayout kLayout{.first_moe_layer = 1, .n_layers = 2, .n_positions = kPositions, .n_experts = kExperts};

class SharedHeatmap : public testing::Test {
protected:
    void SetUp() override {
        auto made = Shell::create({.headless = true, .width = kWidth, .height = kHeight, .validation = true});
        ASSERT_TRUE(made) << made.error().message();
        shell = std::move(*made);
        viewer = shell->viewer();
        if (!viewer->device()) GTEST_SKIP() << viewer->device().error().why;
        map.emplace(shell->heatmaps());
        input.n_cols = 40;
        input.n_rows = kExperts;
        input.fill_column = [](int col, std::span<float> out) {
            for (size_t row = 0; row < out.size(); ++row) out[row] = hosts(col, int(row));
        };
        input.on_device = HeatmapOnDevice{.run = 7, .plane = gs::SharedLayout::kPreference, .moe_layer = 2};
        input.col_label = input.row_label = [](int) { return std::string(); };
        give_memory();
    }
    void TearDown() override {
        map.reset();
        if (!shell) return;
        frames(1);
        EXPECT_EQ(shell->validation_messages(), 0);
    }
    void give_memory() {
        auto given = viewer->allocate(kLayout);
        ASSERT_TRUE(given) << given.error().message();
        memory = *given;
        file = std::make_unique<test::MappedFile>(memory);
        (void)close(memory.fd);
        ASSERT_TRUE(*file);
        std::span<float> all = file->floats(kLayout.n_floats());
        std::fill(all.begin(), all.end(), 1.0f);
        for (int col = 0; col < kPositions; ++col)
            for (int row = 0; row < kExperts; ++row) all[kLayout.at(gs::SharedLayout::kPreference, 2, col) + uint64_t(row)] = engines(col, row);
    }
    static float hosts(int col, int row) { return float((col * 37 + row * 11) % 256) / 255; }
    static float engines(int col, int row) { return float((col * 13 + row * 29) % 256) / 255; }

    void frames(int n) {
        auto done = shell->run_frames(n, [this](FrameInfo&) {
            ImGui::SetNextWindowPos({0, 0});
            ImGui::SetNextWindowSize({kWidth, kHeight});
            ImGui::Begin("map", nullptr, ImGuiWindowFlags_NoDecoration);
            if (map) map->draw("map", input, view, {440, 290});
            ImGui::End();
            if (after_drawing) after_drawing();
        });
        ASSERT_TRUE(done) << done.error().message();
    }
    std::vector<uint8_t> pixels() {
        frames(3);
        auto drawn = shell->picture();
        EXPECT_TRUE(drawn) << drawn.error().message();
        return drawn->rgba;
    }
    /// The same picture out of the host's memory, where `value` fills the columns.
    std::vector<uint8_t> expected(float (*value)(int, int)) {
        HeatmapInput kept = input;
        std::swap(kept, input);
        input.on_device.reset();
        input.n_cols = kept.n_cols, input.n_rows = kept.n_rows;
        input.col_label = input.row_label = kept.col_label;
        input.revision = ++n_revisions;
        input.fill_column = [value](int col, std::span<float> out) {
            for (size_t row = 0; row < out.size(); ++row) out[row] = value(col, int(row));
        };
        const auto drawn = pixels();
        std::swap(kept, input);
        input.revision = ++n_revisions;
        return drawn;
    }
    bool draws_shared() {
        const uint64_t before = shell->heatmaps().n_drawn_shared();
        input.revision = ++n_revisions;
        frames(1);
        return shell->heatmaps().n_drawn_shared() > before;
    }

    std::unique_ptr<Shell> shell;
    std::shared_ptr<gs::RoutingViewer> viewer;
    std::optional<Heatmap> map;
    gs::SharedMemory memory;
    std::unique_ptr<test::MappedFile> file;
    std::function<void()> after_drawing;
    HeatmapInput input;
    HeatmapView view;
    uint64_t n_revisions = 0;
};

TEST_F(SharedHeatmap, ShowsWhatTheEngineWroteOfItsRunAndOtherwiseWhatTheHostHas) {
    const auto from_host = expected(hosts), from_engine = expected(engines);
    ASSERT_NE(from_host, from_engine);
    EXPECT_EQ(pixels(), from_host) << "no run has begun";
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    EXPECT_EQ(pixels(), from_engine);
    input.on_device->moe_layer = 3;
    EXPECT_EQ(pixels(), from_host) << "a layer that is elsewhere";
    input.on_device->moe_layer = 0;
    EXPECT_EQ(pixels(), from_host) << "a layer of an earlier stage";
    input.on_device->moe_layer = 2;
    EXPECT_EQ(pixels(), from_engine);
    ASSERT_TRUE(viewer->begin_run(memory.id, 8));
    EXPECT_EQ(pixels(), from_host) << "another run's by now";
    input.on_device->run = 8;
    EXPECT_EQ(pixels(), from_engine);
    viewer->close(memory.id);
    EXPECT_EQ(pixels(), from_host) << "the engine is gone";
}

TEST_F(SharedHeatmap, ColumnsThatAreAppendedAreReadWithoutACopy) {
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    pixels();
    EXPECT_EQ(shell->heatmaps().n_bytes_copied(), 0u);
    input.n_cols = 47;
    const auto drawn = pixels();
    EXPECT_EQ(shell->heatmaps().n_bytes_copied(), 0u);
    EXPECT_EQ(drawn, expected(engines));
    EXPECT_GT(shell->heatmaps().n_bytes_copied(), 0u);
    // Back on the host everything is there, also what was never copied before.
    input.on_device.reset();
    EXPECT_EQ(pixels(), expected(hosts));
}

TEST_F(SharedHeatmap, ZoomedOutItShowsTheMaximaOfTheHost) {
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    input.n_cols = 590;                          // up to three to a pixel, and single cells are still looked at
    EXPECT_EQ(pixels(), expected(engines));
    EXPECT_TRUE(draws_shared());
    input.n_cols = 1100;
    EXPECT_EQ(pixels(), expected(hosts)) << "levels above the cells";
    view = {.first_col = 500, .n_cols_shown = 50, .follow = false};
    EXPECT_EQ(pixels(), expected(engines));
    input.n_cols = kPositions + 1;
    EXPECT_EQ(pixels(), expected(hosts)) << "one more than there is room for";
    EXPECT_FALSE(draws_shared());
}

TEST_F(SharedHeatmap, ARunThatBeginsBetweenTheWidgetAndItsRecordingIsNotDrawn) {
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    const auto from_host = expected(hosts);
    after_drawing = [this] {
        EXPECT_TRUE(viewer->begin_run(memory.id, 8));
        after_drawing = nullptr;
    };
    input.revision = ++n_revisions;
    frames(1);
    auto drawn = shell->picture();
    ASSERT_TRUE(drawn);
    EXPECT_EQ(drawn->rgba, from_host);
}

TEST_F(SharedHeatmap, MemoryGivenUpWhileAFrameIsMadeStaysUntilItIsDone) {
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    const auto from_host = expected(hosts), from_engine = expected(engines);
    EXPECT_EQ(pixels(), from_engine);
    after_drawing = [this] {
        give_memory();                           // a longer context, an engine that starts again
        after_drawing = nullptr;
    };
    EXPECT_EQ(pixels(), from_host);
    EXPECT_FALSE(viewer->begin_run(memory.id - 1, 7)) << "the old memory";
    viewer->close(memory.id - 1);
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    EXPECT_EQ(pixels(), from_engine);
}

TEST_F(SharedHeatmap, ARunWaitsForTheFrameThatIsDrawnAndGoesOnWithoutWhenThatDoesNotEnd) {
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    auto& shared = static_cast<GpuShared&>(*viewer);
    const auto cells = shared.cells(7, gs::SharedLayout::kWeights, 1, 1, kExperts);
    ASSERT_TRUE(cells);
    ASSERT_TRUE(shared.hold(*cells));
    EXPECT_FALSE(viewer->begin_run(memory.id, 8)) << "nobody lets go";
    EXPECT_FALSE(shared.hold(*cells)) << "nothing is drawn any more, whoever it was of";
    std::atomic<bool> let_go = false, seen = false;
    std::thread engine([&] {
        EXPECT_TRUE(viewer->begin_run(memory.id, 9));
        seen = let_go.load();
    });
    while (shared.cells(7, gs::SharedLayout::kWeights, 1, 1, kExperts)) std::this_thread::yield();
    let_go = true;
    shared.let_go();
    engine.join();
    EXPECT_TRUE(seen);
    EXPECT_TRUE(shared.cells(9, gs::SharedLayout::kWeights, 1, 1, kExperts));
}

TEST_F(SharedHeatmap, AViewerThatOutlivesTheWindowSharesNothing) {
    map.reset();
    ASSERT_TRUE(viewer->begin_run(memory.id, 7));
    shell.reset();
    EXPECT_FALSE(viewer->device());
    EXPECT_FALSE(viewer->allocate(kLayout));
    EXPECT_FALSE(viewer->begin_run(memory.id, 8));
    viewer->close(memory.id);
}

TEST(SharedHeatmapOff, SaysWhy) {
    auto shell = Shell::create({.headless = true, .width = 320, .height = 320, .interop = false});
    ASSERT_TRUE(shell);
    ASSERT_FALSE((*shell)->viewer()->device());
    EXPECT_EQ((*shell)->viewer()->device().error().why, "--no-interop asks for it");
}

}  // namespace
}  // namespace app
