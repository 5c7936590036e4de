// The table of commands: keys as text, conflicts, rebinding, search; and that menus, keys, palette and list all act through it.
#include <gtest/gtest.h>

#include "app/shell/command_palette.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

TEST(KeyBindings, ParseBackAndRefuseWhatIsNoKey) {
    for (const char* text : {"Ctrl+Shift+P", "Space", "F11", "Ctrl+0", "Alt+3", "[", ".", "?", "K", "7", "Left", "Ctrl+=", "Ctrl+-", "Num+", "Ctrl+Num+", "Esc", "Home", "Shift", "Ctrl"}) {
        const auto binding = parse_binding(text);
        ASSERT_TRUE(binding) << text;
        EXPECT_EQ(to_text(*binding), text);
    }
    EXPECT_EQ(parse_binding("k"), parse_binding("K")) << "a letter is the key, not the case";
    EXPECT_EQ(parse_binding("ctrl+o"), parse_binding("Ctrl+O"));
    for (const char* text : {"Ctrl+", "Hyper+K", "NoSuchKey", "Ctrl+Shift", "ab"}) EXPECT_FALSE(parse_binding(text)) << text;
    EXPECT_EQ(parse_bindings("Ctrl+Y nonsense Ctrl+Shift+Z").size(), 2u);
}

TEST(Commands, NoTwoHaveTheSameKeyAndEveryOneIsExplained) {
    WindowStage stage;
    const CommandTable& commands = stage.ui->commands();
    EXPECT_GT(commands.all().size(), 40u);
    for (const Command& command : commands.all()) {
        EXPECT_FALSE(command.title.empty()) << command.id;
        EXPECT_FALSE(command.note.empty()) << command.id;
        EXPECT_EQ(parse_bindings(command.default_keys).size(), size_t(std::count(command.default_keys.begin(), command.default_keys.end(), ' ') + !command.default_keys.empty()))
            << command.id << ": " << command.default_keys;
        for (const KeyBinding& key : command.keys) EXPECT_EQ(commands.conflict(command.id, key), nullptr) << command.id << " " << to_text(key);
    }
    // What design/ux.md R13 lists.
    const std::pair<const char*, const char*> expected[] = {{"run.toggle", "Space"}, {"run.step", "."}, {"token.previous", ", Left"}, {"layer.next", "]"}, {"run.restart", "R"}, {"run.flash_pinned", "Shift"},
        {"k.4", "4"}, {"rule.soft", "S"}, {"rule.hard", "H"}, {"rule.topk", "T"}, {"panel.compare", "C"}, {"view.fit", "F"}, {"help.keys", "?"},
        {"help.palette", "Ctrl+Shift+P"}, {"file.open", "Ctrl+O"}, {"edit.undo", "Ctrl+Z"}, {"view.full_screen", "F11"}, {"view.normal", "Ctrl+0 Ctrl+Keypad0"}};
    for (const auto& [id, keys] : expected) EXPECT_EQ(commands.keys_of(id), keys) << id;
}

TEST(Commands, AKeyTakenFromAnotherIsKeptInTheSettingsAndCanBeReset) {
    CommandTable table;
    const auto nothing = [](ViewContext&) {};
    table.add({"a", CommandGroup::kFile, "A", "a", "Ctrl+A", nothing});
    table.add({"b", CommandGroup::kFile, "B", "b", "Ctrl+B F5", nothing});
    const KeyBinding f5 = *parse_binding("F5");
    ASSERT_NE(table.conflict("a", f5), nullptr);
    EXPECT_EQ(table.conflict("a", f5)->id, "b");
    table.bind("a", f5);
    EXPECT_EQ(table.keys_of("a"), "F5");
    EXPECT_EQ(table.keys_of("b"), "Ctrl+B");
    const nlohmann::json kept = table.changed_keys();
    EXPECT_EQ(kept, nlohmann::json({{"a", "F5"}, {"b", "Ctrl+B"}}));
    CommandTable again;
    again.add({"a", CommandGroup::kFile, "A", "a", "Ctrl+A", nothing});
    again.read_keys(nlohmann::json::parse(R"({"a": "F5", "b": "Ctrl+B", "c": 3, "later": "F7"})"));
    again.add({"b", CommandGroup::kFile, "B", "b", "Ctrl+B F5", nothing});
    EXPECT_EQ(again.keys_of("a"), "F5");
    EXPECT_EQ(again.keys_of("b"), "Ctrl+B") << "also of a command that is added later";
    EXPECT_EQ(again.changed_keys()["later"], "F7") << "of a version that knows it";
    again.read_keys(nlohmann::json::parse(R"({"a": "no such key"})"));
    EXPECT_EQ(again.keys_of("a"), "F5");
    table.reset_keys("b");
    EXPECT_EQ(table.keys_of("b"), "Ctrl+B F5");
    EXPECT_EQ(table.keys_of("a"), "") << "the key went back";
    table.reset_all_keys();
    EXPECT_EQ(table.keys_of("a"), "Ctrl+A");
    EXPECT_TRUE(table.changed_keys().empty());
}

TEST(Commands, SearchPrefersBeginningsOfWords) {
    EXPECT_EQ(fuzzy_score("xyz", "Copy the state"), 0);
    EXPECT_GT(fuzzy_score("", "anything"), 0);
    EXPECT_GT(fuzzy_score("cs", "Copy state"), fuzzy_score("cs", "Focus"));
    EXPECT_GT(fuzzy_score("heat", "Heatmap"), fuzzy_score("heat", "High-contrast theme at night"));
    EXPECT_GT(fuzzy_score("open", "Open…"), fuzzy_score("open", "Reopen a panel"));
    EXPECT_GT(fuzzy_score("opt", "Open to part"), 0);
    EXPECT_GT(fuzzy_score("ab", "a xb"), 0) << "a word further on must not hide a letter in front of it";
}

class CommandsInTheWindow : public testing::Test {
protected:
    CommandsInTheWindow() {
        stage.state.run = make_run(make_trace(), 1);
        stage.frames();
    }
    WindowStage stage;
};

TEST_F(CommandsInTheWindow, ThePaletteRunsWhatIsTypedAndChosen) {
    stage.key(ImGuiMod_Ctrl | ImGuiMod_Shift | ImGuiKey_P);
    ASSERT_TRUE(ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopup));
    stage.type("layout teach");
    stage.key(ImGuiKey_Enter);
    EXPECT_EQ(stage.ui->layout_state().layout, LayoutKind::kTeach);
    EXPECT_FALSE(ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopup));
    EXPECT_TRUE(stage.ui->selected().empty()) << "what is typed there is no shortcut";
    EXPECT_FALSE(stage.ui->what_if().active());
    // The last one is offered first; one further down is the next.
    stage.key(ImGuiMod_Ctrl | ImGuiMod_Shift | ImGuiKey_P);
    stage.type("k = ");
    stage.key(ImGuiKey_DownArrow);
    stage.key(ImGuiKey_Enter);
    EXPECT_EQ(stage.ui->what_if().policy().value_or(gs::Policy{}).k, 2);
    stage.key(ImGuiMod_Ctrl | ImGuiMod_Shift | ImGuiKey_P);
    stage.key(ImGuiKey_Escape);
    EXPECT_FALSE(ImGui::IsPopupOpen(nullptr, ImGuiPopupFlags_AnyPopup));
}

TEST_F(CommandsInTheWindow, AKeyIsChangedInTheListWithAWarningWhenItIsTaken) {
    stage.type("?");
    stage.click("Keys###keys", {"###filter"});
    stage.type("previous layer");
    stage.key(ImGuiKey_Enter);
    const auto change = [&] { stage.click_key_of("layer.previous"); };
    change();
    stage.type("z");
    EXPECT_EQ(stage.ui->commands().keys_of("layer.previous"), "Z");
    stage.ui->selected() = {};
    stage.type("z");
    EXPECT_EQ(stage.ui->selected().moe_layer, make_trace().n_moe_layers() / 2 - 1) << "one below the middle, which is shown when none is selected";
    change();
    stage.type("n");  // native routing has it
    EXPECT_EQ(stage.ui->commands().keys_of("layer.previous"), "Z") << "not without being asked";
    EXPECT_EQ(stage.ui->commands().keys_of("rule.native"), "N");
    stage.click("Keys###keys", {"###take"});
    EXPECT_EQ(stage.ui->commands().keys_of("layer.previous"), "N");
    EXPECT_EQ(stage.ui->commands().keys_of("rule.native"), "");
    change();
    stage.key(ImGuiMod_Ctrl | ImGuiKey_K);
    EXPECT_EQ(stage.ui->commands().keys_of("layer.previous"), "Ctrl+K");
    stage.click("Keys###keys", {"###reset_all"});
    EXPECT_EQ(stage.ui->commands().keys_of("layer.previous"), "[");
    EXPECT_EQ(stage.ui->commands().keys_of("rule.native"), "N");
}

TEST_F(CommandsInTheWindow, NoKeyOfOneSignFiresWhileAnyTextFieldIsActive) {
    stage.click("Prompt and routing###prompt", {"###prompt_text"});
    const std::string before = stage.settings.prompt;
    const LayoutState layout = stage.ui->layout_state();
    for (const Command& command : stage.ui->commands().all())
        for (const KeyBinding& key : command.keys)
            if (key.character) stage.type(std::string(1, char(key.character)));
    EXPECT_FALSE(stage.ui->what_if().active());
    EXPECT_TRUE(stage.ui->selected().empty());
    EXPECT_EQ(stage.ui->layout_state().open, layout.open);
    EXPECT_GT(stage.settings.prompt.size(), before.size());
}

TEST_F(CommandsInTheWindow, AModifierLetGoInTheFrameOfItsKeyStillCounts) {
    ImGuiIO& io = ImGui::GetIO();
    const auto control = [&](bool down) {
        io.AddKeyEvent(ImGuiMod_Ctrl, down);
        io.AddKeyEvent(ImGuiKey_LeftCtrl, down);
    };
    control(true);
    stage.frames(1);
    io.AddKeyEvent(ImGuiKey_H, true);
    control(false);
    io.AddKeyEvent(ImGuiKey_H, false);
    stage.frames();
    EXPECT_TRUE(stage.is_drawn("History###history"));
    stage.key(ImGuiKey_Escape);
    control(true);
    stage.frames(1);
    control(false);   // and then a letter by itself
    io.AddKeyEvent(ImGuiKey_H, true);
    io.AddInputCharacter('h');
    io.AddKeyEvent(ImGuiKey_H, false);
    stage.frames();
    EXPECT_FALSE(stage.is_drawn("History###history"));
    ASSERT_TRUE(stage.ui->what_if().active());
    EXPECT_EQ(stage.ui->what_if().policy()->rule, gs::GateRule::kHard);
}

TEST_F(CommandsInTheWindow, EveryMenuItemActsOnTheSameTable) {
    stage.click("##MainMenuBar", {"##MenuBar", "View###view_menu", ""});
    stage.click("###Menu_00", {"###theme.contrast", ""});
    EXPECT_EQ(stage.ui->take_requests().appearance.value_or(Appearance{}).theme, "contrast");
    stage.click("##MainMenuBar", {"##MenuBar", "View###view_menu", ""});
    stage.click("###Menu_00", {"###panel.layers", ""});
    EXPECT_TRUE(stage.is_drawn("Layers###layers"));
    stage.key(ImGuiKey_F11);
    EXPECT_TRUE(stage.ui->take_requests().full_screen);
}

TEST_F(CommandsInTheWindow, TheHistoryIsAListToStepThrough) {
    for (const char* policy : {"k=3", "k=2", "k=1"}) {
        stage.state.policy = *gs::Policy::parse(policy);
        stage.frames(2);
    }
    stage.key(ImGuiMod_Ctrl | ImGuiKey_H);
    const ImGuiWindow* list = nullptr;
    for (const ImGuiWindow* window : GImGui->Windows)
        if (std::string_view(window->Name).starts_with("History###history/###steps")) list = window;
    ASSERT_NE(list, nullptr);
    stage.click(list->Name, {"###step1"});
    EXPECT_EQ(stage.ui->what_if().policy().value_or(gs::Policy{}).k, 3);
}

TEST(Layouts, ShowTheirPanelsAndResetBringsThemBack) {
    for (const ImVec2 size : {ImVec2(1280, 720), ImVec2(1920, 1080), ImVec2(640, 400)}) {
        WindowStage stage(size);
        stage.state.run = make_run(make_trace(), 1);
        for (const LayoutKind layout : kLayouts) {
            stage.ui->set_layout(layout);
            stage.frames(6);
            EXPECT_EQ(ImGui::GetStyle().FontScaleMain, layout == LayoutKind::kTeach ? 1.25f : 1.0f);
            for (const ViewRow& row : all_views())
                EXPECT_EQ(stage.ui->is_open(row.id), row.places.in(layout) != Dock::kClosed) << name_of(layout) << " " << row.id;
            // Whatever is closed can be asked for and comes as a tab.
            stage.ui->raise("sensitivity");
            stage.frames(6);
            EXPECT_TRUE(stage.is_drawn("Sensitivity###sensitivity"));
            const ImGuiWindow* window = ImGui::FindWindowByName("Sensitivity###sensitivity");
            EXPECT_TRUE(window->DockNode != nullptr);
            stage.ui->reset_layout();
            stage.frames(6);
            EXPECT_EQ(stage.ui->is_open("sensitivity"), layout == LayoutKind::kTune);
        }
    }
}

TEST(Layouts, NamesParseBack) {
    for (const LayoutKind layout : kLayouts) {
        LayoutKind read = layout == LayoutKind::kTune ? LayoutKind::kTeach : LayoutKind::kTune;
        EXPECT_TRUE(parse_layout(name_of(layout), read));
        EXPECT_EQ(read, layout);
    }
    LayoutKind untouched = LayoutKind::kTeach;
    EXPECT_FALSE(parse_layout("Explore ", untouched));
    EXPECT_EQ(untouched, LayoutKind::kTeach);
}

}  // namespace
}  // namespace app::test
