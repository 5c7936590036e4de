// Each layout is left as the user arranged it: panels that are open, where they stand, how wide they are, which tab is in front.
#include <gtest/gtest.h>

#include "app/shell/app_settings.h"
#include "tests/app/views_stage.h"
#include "implot.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

constexpr const char* kInspector = "Inspector###inspector";

const ImGuiWindow& window(const char* name) {
    const ImGuiWindow* found = ImGui::FindWindowByName(name);
    return found ? *found : (ADD_FAILURE() << "no window " << name, *GImGui->Windows[0]);
}

/// Where everything stands, to compare.
std::string picture_of(const AppUi& ui) {
    std::string all;
    for (const ViewRow& row : all_views()) {
        if (row.places.fixed() || !ui.is_open(row.id)) continue;
        const ImGuiWindow& w = window((std::string(row.title) + "###" + row.id).c_str());
        all += std::string(row.id) + (w.DockTabIsVisible ? " in front " : " behind ") + std::to_string(static_cast<int>(w.Pos.x)) + "," + std::to_string(static_cast<int>(w.Pos.y)) + " " +
               std::to_string(static_cast<int>(w.Size.x)) + "x" + std::to_string(static_cast<int>(w.Size.y)) + "\n";
    }
    return all;
}

class LayoutsLeft : public testing::Test {
protected:
    LayoutsLeft() { begin(stage); }
    static void begin(WindowStage& of) {
        of.state.run = make_run(make_trace(), 1);
        of.frames(8);
    }
    /// The line between the inspector and what is left of it is dragged, a panel opened, and another tab brought to the front.
    void rearrange(float by) {
        const ImVec2 line = {window(kInspector).Pos.x - 1, window(kInspector).Pos.y + window(kInspector).Size.y / 2};
        const float before = window(kInspector).Size.x;
        stage.play(InputScript().drag(line, {line.x - by, line.y}));
        stage.frames(4);
        ASSERT_NEAR(window(kInspector).Size.x, before + by, 8) << "the line was not found";
        stage.ui->raise("dense");
        stage.frames(8);
        ASSERT_TRUE(stage.ui->is_open("dense"));
        stage.ui->raise("compare");
        stage.frames(6);
    }
    void command(const char* id) {
        stage.key(ImGuiMod_Ctrl | ImGuiMod_Shift | ImGuiKey_P);
        stage.type(stage.ui->commands().find(id)->title);
        stage.key(ImGuiKey_Enter);
        stage.frames(10);
    }
    WindowStage stage{{1600, 900}};
};

TEST_F(LayoutsLeft, ComeBackAsTheyWere) {
    rearrange(60);
    const std::string explore = picture_of(*stage.ui);
    command("layout.teach");
    const std::string teach_delivered = picture_of(*stage.ui);
    EXPECT_FALSE(stage.ui->is_open("dense")) << "that was another layout's";
    rearrange(-40);
    const std::string teach = picture_of(*stage.ui);
    EXPECT_NE(teach, teach_delivered);
    command("layout.explore");
    EXPECT_EQ(picture_of(*stage.ui), explore);
    command("layout.teach");
    EXPECT_EQ(picture_of(*stage.ui), teach);
    command("layout.explore");
    EXPECT_EQ(picture_of(*stage.ui), explore) << "and again";
}

TEST_F(LayoutsLeft, AsDeliveredHaveTheFirstOfEachPlaceInFront) {
    for (const LayoutKind layout : {LayoutKind::kTune, LayoutKind::kTeach, LayoutKind::kExplore}) {
        stage.ui->set_layout(layout);
        stage.ui->reset_layout();
        stage.frames(10);
        for (const Dock dock : {Dock::kCenter, Dock::kBeside, Dock::kRight, Dock::kBottom})
            for (const ViewRow& row : all_views()) {
                if (row.places.in(layout) != dock) continue;
                EXPECT_TRUE(window((std::string(row.title) + "###" + row.id).c_str()).DockTabIsVisible || dock == Dock::kBeside) << name_of(layout) << " " << row.id;
                break;
            }
    }
}

TEST_F(LayoutsLeft, ResetIsOfTheOneInForceOnly) {
    command("layout.reset");
    const std::string explore_delivered = picture_of(*stage.ui);
    rearrange(60);
    const std::string explore = picture_of(*stage.ui);
    command("layout.tune");
    const std::string tune_delivered = picture_of(*stage.ui);
    rearrange(50);
    command("layout.reset");
    EXPECT_EQ(picture_of(*stage.ui), tune_delivered);
    command("layout.explore");
    EXPECT_EQ(picture_of(*stage.ui), explore);
    command("layout.reset");
    EXPECT_EQ(picture_of(*stage.ui), explore_delivered);
}

TEST_F(LayoutsLeft, AreKeptInTheSettingsForTheNextStart) {
    rearrange(60);
    const std::string explore = picture_of(*stage.ui);
    command("layout.teach");
    rearrange(-40);
    const std::string teach = picture_of(*stage.ui), in_force = ImGui::SaveIniSettingsToMemory();
    nlohmann::json values = nlohmann::json::object();
    write_layout(values, stage.ui->layout_state());
    const std::string file = values.dump();

    const ImGuiContext* before = GImGui;
    ImGui::SetCurrentContext(nullptr);
    ImPlot::SetCurrentContext(nullptr);
    {
        WindowStage next({1600, 900});
        ImGui::LoadIniSettingsFromMemory(in_force.data(), in_force.size());
        LayoutState state;
        ASSERT_TRUE(read_layout(nlohmann::json::parse(file), state));
        next.ui->set_layout_state(state);
        begin(next);
        EXPECT_EQ(picture_of(*next.ui), teach);
        next.ui->set_layout(LayoutKind::kExplore);
        next.frames(10);
        EXPECT_EQ(picture_of(*next.ui), explore);
    }
    ImGui::SetCurrentContext(const_cast<ImGuiContext*>(before));
}

TEST_F(LayoutsLeft, AStateOfAnotherLayoutShowsItsPanelsThere) {
    rearrange(60);
    const std::string explore = picture_of(*stage.ui);
    ASSERT_TRUE(stage.ui->restore("gatescope/1 prompt=x policy=native layout=tune show=cost"));
    stage.frames(10);
    EXPECT_TRUE(stage.is_drawn("Cost###cost"));
    EXPECT_TRUE(window("Cost###cost").DockNode != nullptr);
    stage.ui->set_layout(LayoutKind::kTeach);     // twice within a frame: the one between was never drawn
    stage.ui->set_layout(LayoutKind::kExplore);
    stage.frames(10);
    EXPECT_EQ(picture_of(*stage.ui), explore);
}

TEST_F(LayoutsLeft, TeachLeavesWeightsAndTemperatureToMore) {
    const char* bar = "Prompt and routing###prompt";
    stage.find(bar, {"###weights"});
    stage.find(bar, {"###temperature"});
    command("layout.teach");
    const ImGuiID weights = ImHashStr("###weights", 0, window(bar).ID), temperature = ImHashStr("###temperature", 0, window(bar).ID);
    for (float y = window(bar).Pos.y; y < window(bar).Pos.y + window(bar).Size.y; y += 6)
        for (float x = 0; x < 1600; x += 12) {
            ImGui::GetIO().AddMousePosEvent(x, y);
            stage.frames(1);
            EXPECT_TRUE(GImGui->HoveredId != weights && GImGui->HoveredId != temperature) << x << "," << y;
        }
    stage.click(bar, {"###more"});
    const ImGuiWindow* popup = GImGui->OpenPopupStack.Size ? GImGui->OpenPopupStack[0].Window : nullptr;
    ASSERT_NE(popup, nullptr);
    stage.find(popup->Name, {"###temperature"});
}

}  // namespace
}  // namespace app::test
