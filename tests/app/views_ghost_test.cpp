// How the run before went on, dim in the token strip under the place where the texts part.
#include <gtest/gtest.h>

#include "app/views/text_ghost.h"
#include "app/views/views_b.h"
#include "imgui_internal.h"
#include "tests/app/panels_fixture.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

gs::TraceSnapshot written(const std::vector<std::string>& pieces, const char* policy = "k=4") {
    gs::TraceInfo info;
    info.model_name = "dense";
    info.n_layers = 4;
    std::vector<gs::TokenRow> rows;
    for (const std::string& piece : pieces) rows.push_back({.text = piece});
    gs::TraceWriter writer(info);
    writer.begin_tokens(rows, *gs::Policy::parse(policy));
    writer.publish();
    return writer.snapshot();
}

/// Looks at the ghost that a panel would draw now.
class GhostProbe final : public View {
public:
    TextGhost ghost;
    void draw(ViewContext& context) override { ghost.update(context); }
};

class Ghost : public testing::Test {
protected:
    void set(const std::vector<std::string>& before, const std::vector<std::string>& now, gs::RunPhase phase = gs::RunPhase::kFinished) {
        stage.set_trace(written(before));
        auto run = stage.state.run;
        stage.set_trace(written(now, "k=1"));
        stage.state.previous = run;
        set_phase(phase);
        stage.frames(probe, 1);
    }
    void set_phase(gs::RunPhase phase) {
        auto run = std::make_shared<gs::RunResult>(*stage.state.run);
        run->phase = phase;
        stage.state.run = run;
    }
    PanelStage stage{gs::TraceSnapshot{}, {900, 300}};
    GhostProbe probe;
};

TEST_F(Ghost, BeginsAtTheFirstTokenThatDiffers) {
    set({"<s>", "A", " llama", " is", " an", "\n", "animal"}, {"<s>", "A", " llama", " has", " wool", "\n"});
    ASSERT_TRUE(probe.ghost.ready());
    EXPECT_EQ(probe.ghost.at(), 3);
    EXPECT_EQ(probe.ghost.continuation(), " is an¶animal");
    EXPECT_EQ(probe.ghost.name(), "previous: k=4");
}

TEST_F(Ghost, SaysWhichRunWentOnWhereTheOtherEnded) {
    set({"a", "b", "c", "d"}, {"a", "b"});
    ASSERT_TRUE(probe.ghost.ready());
    EXPECT_EQ(probe.ghost.at(), 2);
    EXPECT_EQ(probe.ghost.continuation(), "cd");
    set({"a", "b"}, {"a", "b", "c"});
    ASSERT_TRUE(probe.ghost.ready());
    EXPECT_EQ(probe.ghost.at(), 2);
    EXPECT_EQ(probe.ghost.continuation(), "(ended here)");
    set({"a", "b"}, {"a", "b"});
    EXPECT_FALSE(probe.ghost.ready()) << "equal texts have none";
}

TEST_F(Ghost, OfARunThatIsStillWrittenComesWithTheTokenThatDiffers) {
    set({"a", "b", "c", "d"}, {"a", "b"}, gs::RunPhase::kDecoding);
    EXPECT_FALSE(probe.ghost.ready()) << "it may still follow";
    const auto before = stage.state.previous;
    const uint64_t id = stage.state.run->id;
    for (const auto& [now, at] : {std::pair(std::vector<std::string>{"a", "b", "c"}, -1), std::pair(std::vector<std::string>{"a", "b", "c", "x"}, 3)}) {
        auto run = std::make_shared<gs::RunResult>(*stage.state.run);
        run->trace = written(now, "k=1");
        run->id = id;
        stage.state.run = run;
        stage.what_if.set_run(run->trace);
        stage.frames(probe, 1);
        EXPECT_EQ(probe.ghost.ready(), at >= 0);
        EXPECT_EQ(probe.ghost.at(), at);
    }
    set_phase(gs::RunPhase::kFinished);
    stage.frames(probe, 1);
    EXPECT_EQ(probe.ghost.at(), 3);
    stage.state.previous = nullptr;
    stage.frames(probe, 1);
    EXPECT_FALSE(probe.ghost.ready());
}

TEST_F(Ghost, OfLongRunsIsFoundAndCut) {
    std::vector<std::string> before(4096, " word"), now = before;
    now[1000] = " other";
    set(before, now);
    EXPECT_EQ(probe.ghost.at(), 1000);
    EXPECT_LT(probe.ghost.continuation().size(), 2000u);
    EXPECT_TRUE(probe.ghost.continuation().ends_with("…"));
}

TEST_F(Ghost, IsALineInTheStripWithACardAndCanBeTurnedOff) {
    std::vector<std::string> before(60, " llama"), now = before;
    now[30] = " camel";
    before[45] = " vicuna";
    set(before, now);
    const auto view = make_tokens_view();
    stage.frames(*view, 3);
    const int with = stage.n_vertices;
    EXPECT_TRUE(stage.says("previous"));
    const auto card_at = [&](float y) {
        stage.hover(*view, {400, y});
        return stage.says("previous: k=4, from token 31 on") && stage.says("vicuna");
    };
    float y = 30;
    while (y < 300 && !card_at(y)) y += 4;
    ASSERT_LT(y, 300) << "no card";
    EXPECT_EQ(stage.hovered_next.token, -1) << "the line is no token";
    const float unit = ImGui::GetFontSize();
    stage.click(*view, {60, y + 1.6f * unit});
    EXPECT_GT(stage.selected.token, 30) << "the tokens under it are where they are drawn";
    stage.selected = {};
    stage.settings.ghosts = false;
    stage.hover(*view, {1, 1});
    EXPECT_LT(stage.n_vertices, with);
    for (y = 30; y < 300; y += 4) EXPECT_FALSE(card_at(y)) << y;
}

TEST_F(Ghost, TokensThatComeOneByOneBreakLinesAsTheWholeDoes) {
    const std::vector<std::string> all = {"user", "\n", "a", "b\n", "c"};
    const auto picture = [&](View& view) {
        stage.frames(view, 3);
        uint32_t hash = 0;
        for (const ImGuiWindow* window : GImGui->Windows)
            if (window->Active && std::string_view(window->Name).find("###strip") != std::string_view::npos)
                hash = ImHashData(window->DrawList->VtxBuffer.Data, static_cast<size_t>(window->DrawList->VtxBuffer.size_in_bytes()), hash);
        return hash;
    };
    const auto grown = make_tokens_view(), at_once = make_tokens_view();
    for (size_t n = 1; n <= all.size(); ++n) {
        auto run = std::make_shared<gs::RunResult>();
        run->id = 9;
        run->trace = written({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n)});
        stage.state.run = run;
        stage.what_if.set_run(run->trace);
        stage.frames(*grown, 1);
    }
    EXPECT_EQ(picture(*grown), picture(*at_once));
}

}  // namespace
}  // namespace app::test
