// Undo and redo of everything that is set: the history itself, then by keys in the whole window.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "app/shell/parameter_history.h"
#include "tests/app/views_stage.h"

namespace app::test {
namespace {

const gs::Policy kNative, kOne{.rule = gs::GateRule::kTopK, .k = 1}, kTwo{.rule = gs::GateRule::kTopK, .k = 2};

TEST(ParameterHistory, GoesBackAndForthThroughRoutingRules) {
    ParameterHistory history;
    ViewSettings settings;
    for (const gs::Policy& p : {kNative, kNative, kOne, kTwo}) history.observe(p, settings);
    EXPECT_EQ(history.n_steps(), 3u);
    EXPECT_FALSE(history.can_redo());
    EXPECT_EQ(history.changes(2), "routing: k=1 → k=2");
    EXPECT_EQ(history.go_to(1, settings)->policy, kOne);
    history.observe(kTwo, settings);   // the session has not caught up yet
    EXPECT_EQ(history.go_to(0, settings)->policy, kNative);
    history.observe(kOne, settings);   // on its way
    history.observe(kNative, settings);
    EXPECT_EQ(history.n_steps(), 3u) << "what the session passes through is no change of the user's";
    EXPECT_FALSE(history.can_undo());
    EXPECT_EQ(history.go_to(1, settings)->policy, kOne);
    history.observe(kOne, settings);
    history.observe({.rule = gs::GateRule::kHard}, settings);   // a new change forgets what was undone
    EXPECT_FALSE(history.can_redo());
    EXPECT_EQ(history.go_to(99, settings), nullptr);
}

TEST(ParameterHistory, TakesWhatIsInHandAsOneStepWhenItIsLetGo) {
    ParameterHistory history;
    ViewSettings settings;
    history.observe(kNative, settings);
    for (int tokens = 128; tokens < 200; ++tokens) {
        settings.max_new_tokens = tokens;
        history.observe(kNative, settings, true);
    }
    history.observe(kNative, settings);
    ASSERT_EQ(history.n_steps(), 2u);
    EXPECT_EQ(history.changes(1), "new tokens: 128 → 199");
    history.go_to(0, settings);
    EXPECT_EQ(settings.max_new_tokens, 128);
}

/// Every row: a change of it alone is a step that is named by it, and comes back by undo and redo.
TEST(ParameterHistory, KnowsEveryParameter) {
    ViewSettings changed;
    changed.prompt = "another", changed.chat = !changed.chat, changed.max_new_tokens = 7, changed.sampler.seed = 9, changed.measured_text.sample = "code", changed.tune.limits[0] = 0.1;
    changed.study.left_out = {"prose"}, changed.ablation_controls = 4, changed.ablated = {{.layer = 1, .expert = 2}}, changed.quantity = Quantity::kPreference, changed.token_color = TokenColor::kMargin;
    changed.phase = gs::PhaseFilter::kDecode, changed.map = ColorMap::kGreys, changed.auto_range = !changed.auto_range, changed.choice_signs = !changed.choice_signs;
    changed.logit_error = 0.5f, changed.ghosts = !changed.ghosts;
    for (const ParameterRow& row : all_parameters()) {
        ParameterHistory history;
        ViewSettings settings;
        history.observe(kNative, settings);
        if (row.copy) row.copy(changed, settings);
        history.observe(row.copy ? kNative : kOne, settings);
        ASSERT_EQ(history.n_steps(), 2u) << row.name;
        EXPECT_TRUE(history.changes(1).starts_with(std::string(row.name) + ": ")) << history.changes(1);
        EXPECT_EQ(history.changes(1).find("; "), std::string::npos) << "one parameter, one change: " << history.changes(1);
        const ParametersSeen before{kNative, ViewSettings{}};
        history.go_to(0, settings);
        EXPECT_TRUE(row.same({kNative, settings}, before)) << row.name;
        history.go_to(1, settings);
        EXPECT_EQ(row.text({row.copy ? kNative : kOne, settings}), row.text({row.copy ? kNative : kOne, changed})) << row.name;
    }
}

TEST(ParameterHistory, LeavesWhatIsNoParameterAlone) {
    ParameterHistory history;
    ViewSettings settings;
    history.observe(kNative, settings);
    settings.k_hint_done = true;
    history.observe(kNative, settings);
    EXPECT_EQ(history.n_steps(), 1u);
    settings.prompt = "b";
    history.observe(kNative, settings);
    history.go_to(0, settings);
    EXPECT_TRUE(settings.k_hint_done);
}

TEST(Undo, TakesAPromptASettingAndAPresetBackByTheKeyboard) {
    WindowStage stage;
    stage.frames();
    const ViewSettings start = stage.settings;
    stage.settings.prompt = "Why do experts differ?";
    stage.frames(1);
    stage.settings.sampler.temperature = 0;
    stage.frames(1);
    stage.settings.quantity = Quantity::kPreference, stage.settings.map = ColorMap::kGreys;   // as a preset does: one step
    stage.frames(1);
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    EXPECT_EQ(stage.settings.quantity, start.quantity);
    EXPECT_EQ(stage.settings.map, start.map);
    EXPECT_EQ(stage.settings.sampler.temperature, 0);
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);   // nothing is left to undo
    EXPECT_EQ(stage.settings.prompt, start.prompt);
    EXPECT_EQ(stage.settings.sampler, start.sampler);
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Y);
    EXPECT_EQ(stage.settings.prompt, "Why do experts differ?");
    stage.key(ImGuiMod_Ctrl | ImGuiKey_H);
    stage.frames();
    ASSERT_TRUE(stage.is_drawn("History###history"));
    const ImGuiID list = ImHashStr("###steps", 0, ImGui::FindWindowByName("History###history")->ID);
    stage.click(fmt::format("History###history/###steps_{:08X}", list).c_str(), {"###step3"});
    EXPECT_EQ(stage.settings.map, ColorMap::kGreys);
    EXPECT_EQ(stage.settings.sampler.temperature, 0);
}

TEST(Undo, TypingInThePromptIsOneStep) {
    constexpr const char* kTop = "Prompt and routing###prompt";
    WindowStage stage;
    stage.frames();
    const std::string start = stage.settings.prompt;
    stage.click(kTop, {"###prompt_text"});
    stage.type(" Say it");
    stage.frames(30);
    stage.type(" in rhyme.");
    const std::string typed = stage.settings.prompt;
    ASSERT_EQ(typed.size(), start.size() + 17);
    stage.play(InputScript().click({640, 500}));   // leaves the field
    stage.frames();
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    EXPECT_EQ(stage.settings.prompt, start);
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Y);
    EXPECT_EQ(stage.settings.prompt, typed);
}

}  // namespace
}  // namespace app::test
