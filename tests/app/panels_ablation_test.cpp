// Experts taken out by mouse: where they are seen, by the menu of a right click, and in the panel on a text of the user's own.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include <fmt/format.h>

#include "app/views/views_b.h"
#include "tests/app/views_stage.h"
#include "tests/support/paths.h"

namespace app::test {
namespace {

constexpr const char* kAblation = "Ablation###ablation";
constexpr double kLongest_seconds = 120;

/// A window with a finished run of a model whose runs are quick.
struct Live : WindowStage {
    Live() : WindowStage({1280, 720}) {
        live = true;
        session.load_model(std::filesystem::path(GATESCOPE_GOLDENS) / "models/mixtral/model.gguf");
        session.run({.prompt = "Hello World", .mode = gs::PromptMode::kRaw, .max_new_tokens = 4, .sampler = {.temperature = 0}});
        settle();
    }
    void settle() {
        EXPECT_TRUE(session.wait_idle(kLongest_seconds));
        frames(6);
    }
    void show(const char* id) {
        ui->raise(id);
        frames(6);
    }
    std::string policy() const { return session.latest()->policy.to_text(); }

    /// A place in the panel where a click selects an expert, that one if it is given, which is then selected.
    ImVec2 place_of_an_expert(const char* name, const Pick& wanted = {}) {
        const ImGuiWindow* window = ImGui::FindWindowByName(name);
        if (!window) ADD_FAILURE() << "there is no window " << name;
        for (float y = 0.5f; window && y < 0.97f; y += 11 / window->Size.y)   // what a small cell of the diagram measures
            for (float x = 0.2f; x < 0.8f; x += 14 / window->Size.x) {
                const ImVec2 at{window->Pos.x + x * window->Size.x, window->Pos.y + y * window->Size.y};
                ui->selected() = {};
                play(InputScript().click(at));
                const Pick found = ui->selected();
                if (found.expert >= 0 && found.moe_layer >= 0 && (wanted.empty() || (found.expert == wanted.expert && found.moe_layer == wanted.moe_layer))) return at;
            }
        ADD_FAILURE() << "no expert is found in " << name;
        return {};
    }
    /// Right-clicks there and goes through the menu.
    void choose(ImVec2 at, std::initializer_list<const char*> entries) {
        play(InputScript().click(at, 1));
        for (const char* entry : entries) {
            if (GImGui->OpenPopupStack.empty()) {
                ADD_FAILURE() << "no menu with " << entry;
                break;
            }
            const ImGuiWindow* menu = GImGui->OpenPopupStack.back().Window;
            const ImGuiID id = ImHashStr(entry, 0, menu->ID);
            click_in(*menu, id, entry);
        }
        settle();
    }
    void click_in(const ImGuiWindow& menu, ImGuiID id, const char* entry) {
        const float x = menu.Pos.x + menu.Size.x / 2;
        for (float y = menu.Pos.y + 4; y < menu.Pos.y + menu.Size.y; y += 6) {
            play(InputScript().move({x, y}));
            if (GImGui->HoveredId == id) return play(InputScript().click({x, y}));
        }
        ADD_FAILURE() << "no entry " << entry;
    }
    /// In the panel's chooser of texts.
    void choose_text(const char* entry) {
        click(kAblation, {"###text"});
        ASSERT_FALSE(GImGui->OpenPopupStack.empty());
        click(GImGui->OpenPopupStack.back().Window->Name, {entry});
    }
    std::shared_ptr<const gs::AblationResult> measure() {
        click(kAblation, {"###measure"});
        settle();
        return session.latest()->ablation;
    }
};

/// Of this process while it lives.
class Environment {
public:
    Environment(const char* name, const std::string& value) : m_name(name) {
        if (const char* before = std::getenv(name)) m_before = before;
        setenv(name, value.c_str(), 1);
    }
    ~Environment() {
        if (m_before) setenv(m_name, m_before->c_str(), 1);
        else unsetenv(m_name);
    }
    Environment(const Environment&) = delete;

private:
    const char* m_name;
    std::optional<std::string> m_before;
};

TEST(Window, AnExpertIsTakenOutWhereItIsSeenAndComesBack) {
    struct Row {
        const char *id, *window;
    };
    for (const Row& row : {Row{"heatmap", "Heatmap###heatmap"}, Row{"histogram", "Load###histogram"}, Row{"diagram", "Diagram###diagram"}}) {
        SCOPED_TRACE(row.id);
        Live stage;
        stage.show(row.id);
        ImVec2 at = stage.place_of_an_expert(row.window);
        const int layer = stage.ui->selected().moe_layer, expert = stage.ui->selected().expert;
        stage.choose(at, {"###zero"});
        EXPECT_EQ(stage.policy(), fmt::format("zero@{}={}", layer, expert));
        EXPECT_EQ(stage.session.latest()->run->request.policy.to_text(), stage.policy()) << "the prompt ran again";
        at = stage.place_of_an_expert(row.window, {-1, layer, expert});   // the diagram says who is ablated above itself
        stage.choose(at, {"###around"});
        EXPECT_EQ(stage.policy(), fmt::format("mask@{}={}", layer, expert)) << "one way at a time";
        stage.choose(at, {"###around"});
        EXPECT_EQ(stage.policy(), "native") << "chosen again, it is back";
        stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
        stage.settle();
        EXPECT_EQ(stage.policy(), fmt::format("mask@{}={}", layer, expert));
        stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
        stage.settle();
        EXPECT_EQ(stage.policy(), fmt::format("zero@{}={}", layer, expert));
        stage.choose(at, {"###swap", expert == 2 ? "###to3" : "###to2"});
        EXPECT_EQ(stage.policy(), fmt::format("swap@{}={}>{}", layer, expert, expert == 2 ? 3 : 2));
        stage.choose(at, {"###add"});
        EXPECT_EQ(stage.settings.ablated, (std::vector<gs::AblatedExpert>{{layer, expert, gs::AblationMode::kZero, -1}}));
        EXPECT_TRUE(stage.is_drawn(kAblation)) << "and the panel is in front";
        stage.show(row.id);
        stage.choose(at, {"###take_out"});
        EXPECT_TRUE(stage.settings.ablated.empty());
    }
}

TEST(Window, ATokenOffersTheExpertsThatItUses) {
    Live stage;
    const ImGuiWindow* strip = nullptr;
    for (const ImGuiWindow* window : GImGui->Windows)
        if (std::string(window->Name).starts_with("Tokens###tokens/")) strip = window;
    ASSERT_NE(strip, nullptr);
    const ImVec2 at = stage.find(strip->Name, {"###tokens"});
    stage.ui->selected() = {.moe_layer = 1};
    stage.play(InputScript().click(at));
    const int token = stage.ui->selected().token;
    ASSERT_GE(token, 0);
    const int expert = stage.session.latest()->run->trace.ids(1, token)[1];
    stage.choose(at, {fmt::format("###e{}", expert).c_str(), "###zero"});
    EXPECT_EQ(stage.policy(), fmt::format("zero@1={}", expert));
}

TEST(Window, TheRouterTableAndTheGatesHaveTheMenuToo) {
    for (const auto& [id, window] : {std::pair{"inspector", "Inspector###inspector"}, std::pair{"gates", "Gating###gates"}}) {
        SCOPED_TRACE(id);
        Live stage;
        stage.show(id);
        const ImVec2 at = stage.place_of_an_expert(window);
        const Pick pick = stage.ui->selected();
        stage.choose(at, {"###zero"});
        EXPECT_EQ(stage.policy(), fmt::format("zero@{}={}", pick.moe_layer, pick.expert));
    }
}

TEST(Window, TheLastExpertOfALayerCannotBeRoutedAround) {
    Live stage;
    stage.show("histogram");
    const ImVec2 at = stage.place_of_an_expert("Load###histogram");
    gs::Policy::LayerItem others{.first = stage.ui->selected().moe_layer, .last = stage.ui->selected().moe_layer};
    for (int e = 0; e < 8; ++e)
        if (e != stage.ui->selected().expert) others.masked.push_back(e);
    gs::Policy policy;
    policy.layers.push_back(others);
    stage.session.set_policy(policy);
    stage.settle();
    stage.choose(at, {"###around"});
    EXPECT_EQ(stage.policy(), policy.to_text());
    EXPECT_TRUE(stage.session.latest()->notices.empty()) << "it was not even tried";
    stage.key(ImGuiKey_Escape);
    stage.choose(at, {"###zero"});
    EXPECT_NE(stage.policy(), policy.to_text()) << "the others can still be chosen";
}

TEST(Window, AblatesOnATextThatIsWrittenByHand) {
    Live stage;
    stage.settings.ablated = {{0, 1, gs::AblationMode::kZero, -1}};
    stage.show("ablation");
    stage.choose_text("own text…");
    stage.type("Routers choose experts, and experts answer.");
    ASSERT_FALSE(GImGui->OpenPopupStack.empty());
    stage.click(GImGui->OpenPopupStack.back().Window->Name, {"###done"});
    EXPECT_EQ(stage.settings.measured_text.own, "Routers choose experts, and experts answer.");
    const auto result = stage.measure();
    ASSERT_NE(result, nullptr);
    EXPECT_TRUE(result->complete);
    EXPECT_EQ(result->text_name, "own text");
    EXPECT_GT(result->n_tokens, 5);
    EXPECT_LT(result->n_tokens, 60) << "a sentence, not a sample";
    stage.settings.measured_text.own.clear();
    stage.measure();
    EXPECT_EQ(stage.session.latest()->ablation, result) << "there is nothing to measure: what was measured stays";
}

TEST(Window, AblatesOnTheRunOnScreenAndOnAFile) {
    const gs::test::TempDir home;
    std::ofstream(home / "page.txt") << "The contract binds both parties.";
    const Environment there("HOME", home.path().string()), no_dialog_of_the_desktop("PATH", "");
    Live stage;
    stage.settings.ablated = {{0, 1, gs::AblationMode::kZero, -1}};
    stage.show("ablation");
    stage.choose_text("text of the run");
    const auto of_run = stage.measure();
    ASSERT_NE(of_run, nullptr);
    EXPECT_EQ(of_run->n_tokens, stage.session.latest()->run->trace.n_tokens()) << "its tokens as they are";
    EXPECT_EQ(of_run->text_name, "text of the run");
    stage.choose_text("file…");
    stage.frames(4);
    ASSERT_FALSE(GImGui->OpenPopupStack.empty());
    stage.click(GImGui->OpenPopupStack.back().Window->Name, {"###name"});
    stage.type("page.txt");
    stage.key(ImGuiKey_Enter);
    EXPECT_EQ(stage.settings.measured_text.own, "The contract binds both parties.");
    const auto of_file = stage.measure();
    ASSERT_NE(of_file, of_run);
    EXPECT_EQ(of_file->text_name, "page.txt");
    EXPECT_TRUE(of_file->complete);
}

}  // namespace
}  // namespace app::test
