// The Compare panel: what it says of two runs, and what clicks on its parts do.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include <fmt/format.h>

#include "app/report/report.h"
#include "app/views/compare_difference.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/io/import_trace.h"
#include "tests/app/panels_fixture.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace app::test {
namespace {

using gs::test::make_trace;

/// A pinned run and one of the same tokens with k = 1 in the decoded part.
struct Stage : PanelStage {
    explicit Stage(ImVec2 size = {1280, 640}, const char* policy = "k=1") : PanelStage(make_trace({.policy = policy}), size) {
        auto run = make_run(state.run->trace, 52, "a llama is a plant");
        state.run = run;
        state.pinned = make_run(make_trace(), 51, "a llama is an animal");
        compare();
    }
    void compare() {
        auto found = std::make_shared<gs::RunDiff>(gs::diff_runs(state.pinned->trace, state.run->trace));
        found->run_a = state.pinned->id, found->run_b = state.run->id;
        state.diff = found;
    }
};

TEST(ComparePanel, ShowsEveryFigureWithItsNullWhereThereIsRoom) {
    const auto view = make_compare_view();
    Stage stage({1500, 800});
    stage.frames(*view, 4);
    const gs::RunDiff& diff = *stage.state.diff;
    EXPECT_TRUE(stage.says(fmt::format("{}  (uniform {})", format_percent(diff.agreement), format_percent(diff.agreement_null)))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("{}  (uniform {})", format_percent(diff.any_layer_flip_rate), format_percent(diff.any_layer_flip_null)))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("{} nats", format_number(diff.kl)))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("{} changed of {} decisions", diff.flips.size(), 64 * 4))) << stage.text;
    EXPECT_TRUE(stage.says("A, pinned")) << stage.text;
    EXPECT_TRUE(stage.says("B − A: orange more in B")) << stage.text;
    stage.expect_drawn_inside();
}

TEST(ComparePanel, DrawsAtEverySizeInsideItsWindow) {
    for (const ImVec2 size : {ImVec2(200, 120), ImVec2(420, 700), ImVec2(1280, 216), ImVec2(1900, 1000)}) {
        Stage stage(size);
        const auto view = make_compare_view();
        stage.frames(*view, 4);
        EXPECT_GT(stage.n_vertices, 20);
        EXPECT_LE(stage.drawn_high.x, size.x);
        EXPECT_LE(stage.drawn_high.y, size.y);
    }
}

TEST(ComparePanel, SaysThatARunIsPinnedAndWhatToDoNext) {
    const auto view = make_compare_view();
    Stage stage;
    stage.state.run = stage.state.pinned;
    stage.state.diff = nullptr;
    stage.frames(*view);
    EXPECT_TRUE(stage.says("This run is pinned as A")) << stage.text;
    stage.state.pinned = nullptr;
    stage.frames(*view);
    EXPECT_TRUE(stage.says("Pin this run")) << stage.text;
}

TEST(ComparePanel, SaysWhyRoutersOfOtherSizesAreNotCompared) {
    const auto view = make_compare_view();
    Stage stage;
    stage.state.run = make_run(make_trace({.n_layers = 6}), 60, "other words");
    stage.compare();
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("4 MoE layers of 16 experts in A, 6 of 16 in B")) << stage.text;
}

TEST(DifferencePicture, IsBMinusAWithNotChosenAsZeroAndASymmetricRange) {
    Stage stage;
    const gs::TraceSnapshot &a = stage.state.pinned->trace, &b = stage.state.run->trace;
    DifferencePicture picture;
    for (const DifferenceOf what : {DifferenceOf::kAppliedWeight, DifferenceOf::kPreference, DifferenceOf::kChosen}) {
        picture.update(stage.state.diff, a, b, 2, what);
        float largest = 0;
        for (int pair = 0; pair < picture.n_pairs(); ++pair)
            for (int e = 0; e < picture.n_experts(); ++e) {
                const gs::TokenPair tokens = stage.state.diff->pairs[static_cast<size_t>(pair)];
                const auto weight = [&](const gs::TraceSnapshot& trace, int token) {
                    const auto ids = trace.ids(2, token);
                    for (size_t slot = 0; slot < ids.size(); ++slot)
                        if (ids[slot] == e) return what == DifferenceOf::kChosen ? 1.0f : trace.weights(2, token)[slot];
                    return 0.0f;
                };
                const float expected = what == DifferenceOf::kPreference ? 0.0f : weight(b, tokens.b) - weight(a, tokens.a);   // same logits: same preference
                EXPECT_FLOAT_EQ(picture.value(pair, e), expected);
                largest = std::max(largest, std::abs(expected));
            }
        EXPECT_FLOAT_EQ(picture.range(), largest > 0 ? largest : 1.0f);
    }
}

TEST(DifferencePicture, OffersOnlyWhatBothRunsHold) {
    const gs::test::TempDir dir;
    gs::test::write_bytes(dir / "x.csv", "layer,expert\n0,1\n0,2\n1,3\n1,4\n0,5\n0,6\n1,1\n1,0\n");
    const auto imported = gs::open_trace(dir / "x.csv");
    ASSERT_TRUE(imported);
    EXPECT_FALSE(can_subtract(DifferenceOf::kAppliedWeight, *imported, make_trace()));
    EXPECT_FALSE(can_subtract(DifferenceOf::kPreference, make_trace(), *imported));
    EXPECT_TRUE(can_subtract(DifferenceOf::kChosen, make_trace(), *imported));
}

TEST(ImportedRun, IsDrawnByEveryPanelWhichSayWhatItLacks) {
    const gs::test::TempDir dir;
    gs::test::write_bytes(dir / "x.csv", "layer,expert\n0,1\n0,2\n1,3\n1,4\n0,5\n0,6\n1,1\n1,0\n");
    const auto imported = gs::open_trace(dir / "x.csv");
    ASSERT_TRUE(imported);
    for (const ViewRow& row : all_views()) {
        PanelStage stage(*imported, {1100, 640});
        stage.selected = {0, 0, 1};
        const auto view = row.make();
        stage.frames(*view, 4);
        EXPECT_GT(stage.n_vertices, 20) << row.id;
        EXPECT_EQ(stage.text.find("nan"), std::string::npos) << row.id << ": " << stage.text;
        const std::map<std::string, const char*> said = {{"gates", "No router logits"}, {"heatmap", "holds no weights"}, {"inspector", "not in the recorded run"}};
        const auto expected = said.find(row.id);
        if (expected != said.end()) {
            EXPECT_NE(stage.text.find(expected->second), std::string::npos) << stage.text;
        }
    }
}

TEST(Window, PinsWithAKeyAndAClickOnAChangeSelectsIt) {
    WindowStage stage({1600, 900});
    stage.live = true;
    stage.session.load_model(std::filesystem::path(GATESCOPE_GOLDENS) / "models/mixtral/model.gguf");
    stage.session.run({.prompt = "Hello World", .mode = gs::PromptMode::kRaw, .max_new_tokens = 4, .sampler = {.temperature = 0}});
    ASSERT_TRUE(stage.session.wait_idle(120));
    stage.frames(6);
    stage.type("p");
    ASSERT_TRUE(stage.session.wait_idle(120));
    stage.frames(6);
    ASSERT_NE(stage.session.latest()->pinned, nullptr);
    ASSERT_TRUE(stage.is_drawn("Compare###compare"));
    stage.session.rerun_and_compare({.rule = gs::GateRule::kTopK, .k = 1});
    ASSERT_TRUE(stage.session.wait_idle(120));
    stage.frames(8);
    const auto diff = stage.session.latest()->diff;
    ASSERT_NE(diff, nullptr);
    ASSERT_FALSE(diff->flips.empty());
    const ImVec2 pin = stage.find("Compare###compare", {"###pin"});
    stage.play(InputScript().click({pin.x - 30, pin.y}));   // "changes" is left of it
    stage.frames(4);
    const ImGuiWindow* panel = ImGui::FindWindowByName("Compare###compare");
    const std::string table = fmt::format("{}/###flips_{:08X}", panel->Name, ImHashStr("###flips", 0, panel->ID));
    const ImGuiWindow* inner = ImGui::FindWindowByName(table.c_str());
    ASSERT_NE(inner, nullptr);
    for (float y = inner->Pos.y + 30; y < inner->Pos.y + inner->Size.y && stage.ui->selected().token < 0; y += 8) stage.play(InputScript().click({inner->Pos.x + 30, y}));
    const Pick picked = stage.ui->selected();
    const gs::RouteFlip& clearest = diff->flips.front();
    EXPECT_EQ(picked.token, diff->pairs[static_cast<size_t>(clearest.pair)].b);
    EXPECT_EQ(picked.moe_layer, clearest.moe_layer);
    stage.key(ImGuiMod_Shift | ImGuiKey_P);
    ASSERT_TRUE(stage.session.wait_idle(120));
    EXPECT_EQ(stage.session.latest()->run->id, diff->run_a) << "Shift+P swaps";
}

TEST(Report, IsOnePageWithoutScriptsAndEscapesWhatItShows) {
    gs::TraceInfo info = gs::test::make_trace_info({.n_layers = 2});
    info.model_name = "<script>alert(1)</script>";
    info.prompt = "a \"quoted\" & <b>bold</b> prompt";
    gs::TraceWriter writer(info);
    const gs::TokenRow row{.id = 5, .text = "<img src=x onerror=alert(2)>\xff"};
    writer.begin_tokens(std::span(&row, 1), {});
    std::vector<float> logits(static_cast<size_t>(info.router.n_experts), 0.0f), weights(4, 0.25f);
    logits[7] = 1;
    for (int m = 0; m < 2; ++m) writer.set_route(m, 0, logits, std::vector<int32_t>{7, 0, 1, 2}, weights);
    writer.publish();
    const std::string html = html_report(writer.snapshot());
    EXPECT_EQ(html.find("<script"), std::string::npos);
    EXPECT_EQ(html.find("<img src=x"), std::string::npos);
    EXPECT_EQ(html.find("http:"), std::string::npos);
    EXPECT_NE(html.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
    EXPECT_NE(html.find("a &quot;quoted&quot; &amp; &lt;b&gt;bold&lt;/b&gt; prompt"), std::string::npos);
    EXPECT_NE(html.find("onerror=alert(2)&gt;\\xFF"), std::string::npos);
    EXPECT_NE(html.find("expert 7"), std::string::npos);
    EXPECT_NE(html.find("src=\"data:image/png;base64,iVBORw0KGgo"), std::string::npos);
    EXPECT_NE(html.find("</html>"), std::string::npos);
}

}  // namespace
}  // namespace app::test
