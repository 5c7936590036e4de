// State lines, presets and bookmarks: as text, as files, and in the window with the bundled model.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "app/base/paths.h"
#include "app/shell/file_io.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

namespace fs = std::filesystem;
using gs::test::make_trace;
constexpr double kLongest_seconds = 300;

StateLine full_state() {
    StateLine s;
    s.settings.prompt = "two\nlines, a \"quote\", a \\ and a tab\t; k=1 ä\x01";
    s.settings.chat = false;
    s.settings.max_new_tokens = 7;
    s.settings.sampler.seed = 99;
    s.settings.quantity = Quantity::kPreference;
    s.settings.token_color = TokenColor::kMargin;
    s.settings.phase = gs::PhaseFilter::kDecode;
    s.settings.map = ColorMap::kBlueOrange;
    s.settings.auto_range = false;
    s.policy = *gs::Policy::parse("rule=topk,k=2,k@4-7=1,mask@3=5:9,weights=one,temp=0.8");
    s.compare = gs::Policy{};
    s.pick = {12, 3, 5};
    s.layout = LayoutKind::kTune;
    s.show = {"heatmap", "compare"};
    s.zoom = "layer_expert@1.500+4.000,0.000+8.000";
    s.model = "a model";
    return s;
}

TEST(StateLines, ParseBackToTheSame) {
    for (const StateLine& state : {StateLine{}, full_state()}) {
        const std::string line = to_line(state);
        EXPECT_EQ(line.find('\n'), std::string::npos);
        const auto back = parse_state_line("  " + line + "\n");
        ASSERT_TRUE(back) << back.error().message();
        EXPECT_EQ(to_line(*back), line);
        EXPECT_EQ(back->settings.prompt, state.settings.prompt);
        EXPECT_EQ(back->settings.sampler, state.settings.sampler);
        EXPECT_EQ(back->policy, state.policy);
        EXPECT_EQ(back->compare, state.compare);
        EXPECT_EQ(back->pick, state.pick);
        EXPECT_EQ(back->show, state.show);
    }
    EXPECT_EQ(to_line(StateLine{}), "gatescope/1 prompt=\"What is a llama?\" policy=native");
}

TEST(StateLines, UnknownKeysAreIgnoredAndMissingOnesAreTheDefault) {
    const auto state = parse_state_line("gatescope/1 later=\"of a later version\" prompt=hi camera=1,2,3");
    ASSERT_TRUE(state) << state.error().message();
    EXPECT_EQ(state->settings.prompt, "hi");
    EXPECT_TRUE(state->policy.is_native());
    EXPECT_EQ(state->pick, Pick{});
    EXPECT_EQ(state->settings.max_new_tokens, ViewSettings{}.max_new_tokens);
}

TEST(StateLines, SayWhatIsWrong) {
    const std::pair<const char*, const char*> cases[] = {
        {"", "not_a_state"}, {"hello", "not_a_state"}, {"gatescope/2 prompt=hi", "state_version"}, {"gatescope/1x prompt=hi", "state_version"},
        {"gatescope/1 tokens=0", "bad_state"}, {"gatescope/1 tokens=1e9", "bad_state"}, {"gatescope/1 token=-3", "bad_state"}, {"gatescope/1 layer=99999999999", "bad_state"},
        {"gatescope/1 policy=k=0", "bad_state"}, {"gatescope/1 layout=none", "bad_state"}, {"gatescope/1 quantity=", "bad_state"}, {"gatescope/1 sampler=x=y", "bad_state"},
        {"gatescope/1 prompt=\"no end", "bad_state"}, {"gatescope/1 prompt=\"\\q\"", "bad_state"}, {"gatescope/1 word", "bad_state"}, {"gatescope/1 a b=c", "bad_state"}};
    for (const auto& [line, code] : cases) {
        const auto state = parse_state_line(line);
        ASSERT_FALSE(state) << line;
        EXPECT_EQ(state.error().code, code) << line;
        EXPECT_FALSE(state.error().why.empty());
    }
    const auto state = parse_state_line("gatescope/1 map=jet");
    EXPECT_NE(state.error().why.find("cividis, viridis, greys, blue-orange"), std::string::npos) << "what is allowed is named";
}

TEST(StateLines, AnyTextIsReadOrRefused) {
    std::mt19937 random(5);
    const std::string good = to_line(full_state());
    for (int i = 0; i < 20000; ++i) {
        std::string line = good;
        for (unsigned n = random() % 4 + 1; n > 0; --n) {
            const size_t at = random() % line.size();
            if (random() % 3 == 0) line.erase(at, random() % 8);
            else if (random() % 2) line[at] = static_cast<char>(random() % 256);
            else line.insert(at, 1, "\"\\= ,@+x"[random() % 8]);
            if (line.empty()) line = " ";
        }
        if (const auto state = parse_state_line(line)) {
            const auto again = parse_state_line(to_line(*state));
            ASSERT_TRUE(again) << line << "\n" << again.error().message();
            EXPECT_EQ(to_line(*again), to_line(*state));
        }
    }
}

class Folder : public testing::Test {
protected:
    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }
    const fs::path folder = fs::path(testing::TempDir()) / (std::string("state-") + testing::UnitTest::GetInstance()->current_test_info()->name() + std::to_string(::getpid()));
};

using PresetFiles = Folder;

TEST_F(PresetFiles, OwnOnesComeBackAndBadOnesAreNamed) {
    const std::string line = to_line(full_state());
    const auto saved = save_preset(folder / "presets", "My lesson: k = 1!", "What breaks", line);
    ASSERT_TRUE(saved) << saved.error().message();
    ASSERT_TRUE(save_preset(folder / "presets", "My lesson, k = 1", "Other", line)) << "another title with the same letters is another file";
    ASSERT_TRUE(save_preset(folder / "presets", "My lesson: k = 1!", "Replaced", line));
    EXPECT_FALSE(save_preset(folder / "presets", "", "x", line));
    EXPECT_FALSE(save_preset({}, "title", "x", line));
    for (const char* bad : {"{", "[]", R"({"title": "t", "sentence": "s"})", R"({"title": "t", "sentence": "s", "state": "gatescope/9"})"})
        std::ofstream(folder / "presets" / ("bad" + std::to_string(std::string(bad).size()) + ".json")) << bad;
    std::vector<gs::Error> problems;
    const auto presets = read_own_presets(folder / "presets", problems);
    EXPECT_EQ(problems.size(), 4u);
    ASSERT_EQ(presets.size(), 2u);
    EXPECT_EQ(presets[1].title, "My lesson: k = 1!");
    EXPECT_EQ(presets[1].sentence, "Replaced");
    EXPECT_EQ(presets[1].line, line);
    ASSERT_TRUE(delete_preset(presets[1]));
    problems.clear();
    EXPECT_EQ(read_own_presets(folder / "presets", problems).size(), 1u);
}

TEST(Presets, DeliveredOnesAreEightToTenGoodStates) {
    const auto presets = read_presets(asset_path("presets.json"));
    ASSERT_TRUE(presets) << presets.error().message();
    EXPECT_GE(presets->size(), 8u);
    EXPECT_LE(presets->size(), 10u);
    for (const Preset& preset : *presets) {
        const auto state = parse_state_line(preset.line);
        ASSERT_TRUE(state) << preset.id;
        EXPECT_EQ(to_line(*state), preset.line) << preset.id << ": written as the window writes it";
        for (const std::string& id : state->show)
            EXPECT_TRUE(std::any_of(all_views().begin(), all_views().end(), [&](const ViewRow& row) { return id == row.id; })) << preset.id << " shows " << id;
    }
}

using BookmarkFiles = Folder;

TEST_F(BookmarkFiles, BelongToAPromptOfAModel) {
    const fs::path file = folder / "bookmarks.json";
    const Bookmark mark{"the comma", {4, 2, 7}, "heatmap", "token_expert@1.000+8.000,0.000+0.000"};
    {
        Bookmarks marks(file);
        ASSERT_TRUE(marks.set(3, mark)) << "before any trace is shown it is no error, and nothing";
        EXPECT_FALSE(marks.at(3));
        marks.show("aaaa");
        ASSERT_TRUE(marks.set(3, mark));
        marks.show("bbbb");
        EXPECT_FALSE(marks.at(3));
    }
    Bookmarks again(file);
    again.show("aaaa");
    EXPECT_EQ(again.at(3), mark);
    ASSERT_TRUE(again.set(3, std::nullopt));
    EXPECT_FALSE(Bookmarks(file).at(3));
    std::ofstream(file) << "not json";
    Bookmarks broken(file);
    ASSERT_TRUE(broken.problem());
    EXPECT_TRUE(fs::exists(folder / "bookmarks.json.broken"));
    std::ofstream(file) << R"({"aaaa": {"1": {"token": "x", "layer": 1e99, "name": 3}, "2": 7}, "cccc": []})";
    Bookmarks odd(file);
    odd.show("aaaa");
    EXPECT_EQ(odd.at(1), Bookmark{});
    EXPECT_FALSE(odd.at(2));
    odd.show("cccc");
    EXPECT_TRUE(odd.set(1, mark));
    EXPECT_EQ(odd.at(1), mark);
}

TEST(BookmarkIdentity, IsOfModelAndPromptNotOfWhatWasGenerated) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 20, .n_prompt = 10}), longer = make_trace({.n_tokens = 40, .n_prompt = 10});
    EXPECT_EQ(identity_of(trace), identity_of(longer));
    EXPECT_NE(identity_of(trace), identity_of(make_trace({.n_tokens = 20, .n_prompt = 9})));
    EXPECT_EQ(identity_of({}), "");
}

TEST(BookmarksInTheWindow, AreSetAndGoneToByDigits) {
    WindowStage stage;
    stage.state.run = make_run(make_trace({.n_layers = 6}), 1);
    stage.frames();
    stage.ui->selected() = {7, 2, 5};
    stage.key(ImGuiMod_Ctrl | ImGuiKey_4);
    EXPECT_TRUE(stage.ui->what_if().policy() == std::nullopt) << "Ctrl+4 is not k = 4";
    stage.ui->selected() = {};
    stage.key(ImGuiMod_Alt | ImGuiKey_4);
    EXPECT_EQ(stage.ui->selected(), (Pick{7, 2, 5}));
    stage.ui->selected() = {};
    stage.key(ImGuiMod_Ctrl | ImGuiKey_B);
    const ImGuiWindow* list = ImGui::FindWindowByName("Bookmarks###bookmarks");
    ASSERT_NE(list, nullptr);
    const int slot = 4;
    const ImGuiID row = ImHashData(&slot, sizeof(slot), list->ID), wanted = ImHashStr("###go", 0, row);
    bool gone = false;
    for (float y = list->Pos.y + 6; y < list->Pos.y + list->Size.y && !gone; y += 6) {
        ImGui::GetIO().AddMousePosEvent(list->Pos.x + ImGui::GetStyle().WindowPadding.x + 8, y);
        stage.frames(1);
        if (GImGui->HoveredId != wanted) continue;
        stage.play(InputScript().click({list->Pos.x + ImGui::GetStyle().WindowPadding.x + 8, y}));
        gone = true;
    }
    EXPECT_TRUE(gone);
    EXPECT_EQ(stage.ui->selected(), (Pick{7, 2, 5}));
}

TEST(StatesInTheWindow, AreCopiedAndPastedWithoutAModel) {
    WindowStage stage;
    auto run = make_run(make_trace({.n_layers = 6}), 1);
    run->request.prompt = "the prompt";
    stage.state.run = run;
    stage.frames();
    stage.ui->selected() = {7, 2, 5};
    stage.key(ImGuiMod_Ctrl | ImGuiKey_S);
    const std::string line = ImGui::GetClipboardText();
    EXPECT_TRUE(line.starts_with("gatescope/1 prompt=\"the prompt\"")) << line;
    EXPECT_NE(line.find(" token=7 layer=2 expert=5"), std::string::npos) << line;
    ImGui::SetClipboardText("gatescope/1 tokens=zero");
    stage.key(ImGuiMod_Ctrl | ImGuiKey_V);
    ASSERT_EQ(stage.session.latest()->notices.size(), 1u);
    EXPECT_EQ(stage.session.latest()->notices[0].error.code, "bad_state");
    EXPECT_EQ(stage.ui->selected(), (Pick{7, 2, 5})) << "a bad line changes nothing";
    // In a text field Ctrl+V is the field's.
    stage.click("Prompt and routing###prompt", {"###prompt_text"});
    ImGui::SetClipboardText(line.c_str());
    stage.key(ImGuiMod_Ctrl | ImGuiKey_V);
    EXPECT_NE(stage.settings.prompt.find("gatescope/1"), std::string::npos);
}

using Gallery = Folder;

TEST_F(Gallery, OpensAPresetAndKeepsAnOwnOne) {
    WindowStage stage;
    auto run = make_run(make_trace({.n_layers = 30}), 1);
    run->request.prompt = "something else";
    stage.state.run = run;
    stage.ui->set_folder(folder);
    stage.frames();
    stage.key(ImGuiMod_Ctrl | ImGuiKey_P);
    ASSERT_TRUE(stage.is_drawn("Presets###presets"));
    const ImGuiWindow* cards = nullptr;
    for (const ImGuiWindow* window : GImGui->Windows)
        if (std::string_view(window->Name).starts_with("Presets###presets/###cards")) cards = window;
    ASSERT_NE(cards, nullptr);
    stage.click(cards->Name, {"punctuation", "###open"});
    EXPECT_TRUE(stage.settings.prompt.starts_with("Hello, world!"));
    EXPECT_FALSE(stage.settings.chat);
    EXPECT_FALSE(stage.is_drawn("Presets###presets")) << "it makes room for what it opened";
    const auto notices = stage.session.latest()->notices;
    ASSERT_EQ(notices.size(), 1u) << "no model: the prompt cannot be run, and that is said";
    EXPECT_EQ(notices[0].error.code, "needs_model");
    stage.key(ImGuiMod_Ctrl | ImGuiKey_P);
    stage.click("Presets###presets", {"###title"});
    stage.type("Mine");
    stage.click("Presets###presets", {"###save_preset"});
    EXPECT_TRUE(fs::exists(folder / "presets" / "mine.json"));
    ASSERT_NE(stage.ui->commands().find("preset.own.mine"), nullptr) << "in menu and palette at once";
    EXPECT_EQ(stage.ui->commands().find("preset.own.mine")->title, "Mine");
}

TEST(StatesInTheWindow, RunComparedAndSelectedAgainAsTheyWere) {
    WindowStage stage({1600, 900});
    stage.live = true;
    stage.session.load_model(bundled_model_path());
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    const auto settle = [&] {
        for (int i = 0; i < 4; ++i) {
            ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
            stage.frames(6);
        }
    };
    ASSERT_TRUE(stage.ui->restore("gatescope/1 prompt=\"Count to three.\" tokens=8 sampler=greedy policy=k=1 compare=native token=6 layer=3 expert=2 layout=tune show=heatmap zoom=layer_expert quantity=preference"));
    settle();
    const auto state = stage.session.latest();
    ASSERT_NE(state->run, nullptr);
    EXPECT_EQ(state->run->request.prompt, "Count to three.");
    EXPECT_EQ(state->policy.to_text(), "k=1");
    ASSERT_NE(state->comparison, nullptr);
    EXPECT_GT(state->comparison->b.kl, 0);
    EXPECT_EQ(stage.ui->selected(), (Pick{6, 3, 2}));
    EXPECT_EQ(stage.ui->layout_state().layout, LayoutKind::kTune);
    EXPECT_EQ(stage.settings.quantity, Quantity::kPreference);
    const StateLine now = stage.ui->current_state(*state);
    EXPECT_EQ(now.compare, gs::Policy{});
    EXPECT_EQ(now.zoom, "layer_expert");
    // The line of now gives the same run again, token for token.
    const std::string line = to_line(now);
    stage.ui->selected() = {};
    ASSERT_TRUE(stage.ui->restore("gatescope/1 prompt=hello tokens=4 sampler=greedy"));
    settle();
    EXPECT_TRUE(stage.session.latest()->policy.is_native());
    ASSERT_TRUE(stage.ui->restore(line));
    settle();
    const auto again = stage.session.latest();
    EXPECT_EQ(again->run->text, state->run->text);
    EXPECT_EQ(again->policy.to_text(), "k=1");
    EXPECT_EQ(to_line(stage.ui->current_state(*again)), line);
}

}  // namespace
}  // namespace app::test
