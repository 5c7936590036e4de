// The pinned run in place of the one on screen while Shift is held alone: every panel draws it as if it were on screen, nothing is lost by
// it, and Shift with anything else means what it meant.
#include <gtest/gtest.h>

#include <map>

#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

constexpr int kLongEnough_frames = static_cast<int>(KeyHold::kAlone_seconds * 60) + 3;
constexpr const char* kTag = "###flash";

/// Vertices of everything in a panel's window and its children: equal numbers are equal pictures.
uint32_t picture_of(const std::string& title) {
    uint32_t hash = 0;
    for (const ImGuiWindow* window : GImGui->Windows)
        if (window->Active && window->RootWindow && title == window->RootWindow->Name)
            hash = ImHashData(window->DrawList->VtxBuffer.Data, static_cast<size_t>(window->DrawList->VtxBuffer.size_in_bytes()), hash);
    return hash;
}

std::string title_of(const ViewRow& row) { return std::string(row.title) + "###" + row.id; }

/// B on screen, another run pinned as A: other policy, other seed, fewer tokens.
class Flash : public testing::Test {
protected:
    Flash() {
        a = make_run(make_trace({.n_tokens = 40, .policy = "k=1", .seed = 5}), 7);
        b = make_run(make_trace({.n_tokens = 90}), 8);
        stage.state.run = b;
        stage.state.pinned = a;
        stage.frames(6);
    }
    /// As the window's back end sends it: the key, and that a modifier is down.
    static InputScript& shift(InputScript& script, bool down) {
        return down ? script.hold(ImGuiMod_Shift).hold(ImGuiKey_LeftShift) : script.release(ImGuiMod_Shift).release(ImGuiKey_LeftShift);
    }
    void hold_shift() {
        InputScript script;
        stage.play(shift(script, true).wait(kLongEnough_frames));
    }
    void let_go() {
        InputScript script;
        stage.play(shift(script, false));
    }
    bool flashes() const { return stage.is_drawn(kTag); }

    std::shared_ptr<gs::RunResult> a, b;
    WindowStage stage{{1600, 900}};
};

TEST_F(Flash, EveryPanelDrawsThePinnedRunAsIfItWereOnScreen) {
    for (const ViewRow& row : all_views()) {
        if (row.places.fixed() || std::string_view(row.id) == "compare") continue;   // the former hold what is done next; Compare shows both
        stage.ui->raise(row.id);
        stage.frames(8);
        const uint32_t of_b = picture_of(title_of(row));
        stage.state.run = a;
        stage.frames(8);
        const uint32_t of_a = picture_of(title_of(row));
        stage.state.run = b;
        stage.frames(8);
        EXPECT_EQ(picture_of(title_of(row)), of_b) << row.id;
        hold_shift();
        EXPECT_TRUE(flashes()) << row.id;
        EXPECT_EQ(picture_of(title_of(row)), of_a) << row.id;
        ImGui::GetIO().AddKeyEvent(ImGuiMod_Shift, false);
        stage.frames(1);
        EXPECT_FALSE(flashes()) << row.id;
        EXPECT_EQ(picture_of(title_of(row)), of_b) << row.id << ": back in the same frame";
        let_go();
    }
}

TEST_F(Flash, NothingMovesByIt) {
    stage.state.previous = a;
    auto comparison = std::make_shared<gs::PolicyComparison>();
    comparison->run_a = a->id, comparison->run_b = b->id;
    stage.state.comparison = comparison;
    stage.state.policy = *gs::Policy::parse("k=2");
    for (const ImVec2 size : {ImVec2(1280, 720), ImVec2(1920, 1080)}) {
        stage.resize(size);
        for (const char* id : {"tokens", "histogram"}) {
            stage.ui->raise(id);
            stage.frames(8);
            const auto places = [] {
                std::map<std::string, std::pair<float, float>> all;
                for (const ImGuiWindow* window : GImGui->Windows)
                    if (window->Active && !(window->Flags & ImGuiWindowFlags_Tooltip) && std::string_view(window->Name) != kTag) all[window->Name] = {window->Pos.x, window->Pos.y};
                return all;
            };
            const auto before = places();
            hold_shift();
            ASSERT_TRUE(flashes());
            EXPECT_EQ(places(), before) << id;
            let_go();
        }
    }
}

TEST_F(Flash, ATapOfShiftIsTooShort) {
    InputScript script;
    for (const InputEvent& event : shift(script, true).wait(4).events()) {
        apply(event);
        stage.frames(1);
        EXPECT_FALSE(flashes());
    }
    EXPECT_GT(stage.ui->awake_until(), 0) << "the frame that shows A is asked for";
    let_go();
    stage.frames(kLongEnough_frames);
    EXPECT_FALSE(flashes());
}

TEST_F(Flash, ShiftWithAnotherKeyAButtonOrTheWheelIsNotForIt) {
    const auto stays_off = [&](const char* what, const InputScript& after) {
        InputScript script;
        stage.play(shift(script, true));
        stage.play(after);
        stage.frames(kLongEnough_frames);
        EXPECT_FALSE(flashes()) << what;
        let_go();
    };
    stays_off("an arrow", InputScript().hold(ImGuiKey_RightArrow).release(ImGuiKey_RightArrow));
    stays_off("another modifier", InputScript().hold(ImGuiMod_Ctrl).release(ImGuiMod_Ctrl));
    stays_off("a drag", InputScript().drag({500, 400}, {520, 420}));
    stays_off("the wheel", InputScript().wheel(-1, {500, 400}));
    hold_shift();
    ASSERT_TRUE(flashes());
    stage.key(ImGuiKey_RightArrow);
    EXPECT_FALSE(flashes()) << "also once it is shown";
    let_go();
    hold_shift();
    EXPECT_TRUE(flashes()) << "and the next time is a new one";
    let_go();
}

TEST_F(Flash, DoesNothingWhileAPromptIsTypedOrAListIsOpen) {
    stage.click("Prompt and routing###prompt", {"###prompt_text"});
    hold_shift();
    EXPECT_FALSE(flashes());
    let_go();
    stage.key(ImGuiKey_Escape);
    stage.key(ImGuiMod_Ctrl | ImGuiMod_Shift | ImGuiKey_P);
    hold_shift();
    EXPECT_FALSE(flashes()) << "the palette";
    let_go();
    stage.key(ImGuiKey_Escape);
    stage.frames(4);
    hold_shift();
    EXPECT_TRUE(flashes());
    let_go();
}

TEST_F(Flash, ZoomAndSelectionAreWhatTheyWere) {
    const std::string line = "gatescope/1 prompt=x policy=native show=heatmap zoom=token_expert@60.000+20.000,4.000+6.000";
    ASSERT_TRUE(stage.ui->restore(line)) << stage.ui->restore(line).error().message();
    stage.frames(150);
    stage.ui->selected() = {80, 2, 9};
    stage.frames();
    const StateLine before = stage.ui->current_state(stage.state);
    ASSERT_FALSE(before.zoom.empty());
    hold_shift();
    ASSERT_TRUE(flashes());
    let_go();
    EXPECT_EQ(to_line(stage.ui->current_state(stage.state)), to_line(before)) << "though A has no such columns and no such token";
}

TEST_F(Flash, ARunOfAnotherModelIsDrawnWhateverIsSelected) {
    stage.state.pinned = make_run(make_trace({.n_tokens = 12, .n_layers = 2, .router = {.n_experts = 4, .n_used = 1}}), 9);
    stage.ui->selected() = {80, 3, 15};
    for (const ViewRow& row : all_views()) {
        stage.ui->raise(row.id);
        stage.frames(6);
        hold_shift();
        EXPECT_TRUE(flashes()) << row.id;
        let_go();
    }
    EXPECT_EQ(stage.ui->selected(), (Pick{80, 3, 15}));
}

TEST_F(Flash, WithNothingPinnedItIsSaidOnce) {
    stage.state.pinned = nullptr;
    hold_shift();
    EXPECT_FALSE(flashes());
    EXPECT_TRUE(stage.is_drawn("###said"));
    let_go();
    stage.frames(200);
    ASSERT_FALSE(stage.is_drawn("###said"));
    hold_shift();
    EXPECT_FALSE(stage.is_drawn("###said"));
    let_go();
}

TEST_F(Flash, TheKeyIsChangedByHoldingAnother) {
    CommandTable& commands = stage.ui->commands();
    EXPECT_EQ(commands.find("run.flash_pinned")->keys_text(), "hold Shift");
    stage.type("?");
    stage.click("Keys###keys", {"###filter"});
    stage.type("flash");
    stage.key(ImGuiKey_Enter);
    const auto change = [&](const InputScript& to) {
        stage.click_key_of("run.flash_pinned");
        stage.play(to);
    };
    change(InputScript().hold(ImGuiMod_Alt).wait(kLongEnough_frames).release(ImGuiMod_Alt));
    EXPECT_EQ(commands.keys_of("run.flash_pinned"), "Alt");
    EXPECT_EQ(commands.changed_keys()["run.flash_pinned"], "Alt");
    change(InputScript().press(ImGuiKey_F9));
    EXPECT_EQ(commands.keys_of("run.flash_pinned"), "F9");
    stage.play(InputScript().hold(ImGuiKey_F9));
    EXPECT_TRUE(flashes()) << "no other key goes with it: at once";
    stage.play(InputScript().release(ImGuiKey_F9));
    EXPECT_FALSE(flashes());
    hold_shift();
    EXPECT_FALSE(flashes());
    let_go();
    commands.read_keys(nlohmann::json({{"run.pin", "Shift"}}));
    EXPECT_EQ(commands.keys_of("run.pin"), "P") << "a modifier by itself is never pressed";
}

}  // namespace
}  // namespace app::test
