// The sensitivity panel: what it shows of hand-made maps, and the whole way by mouse from a text to an applied schedule.
#include <gtest/gtest.h>

#include <cmath>

#include <fmt/format.h>

#include "app/views/sensitivity_edits.h"
#include "app/views/sensitivity_picture.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/k_grid.h"
#include "engine/run/tune_export.h"
#include "tests/app/panels_fixture.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;
constexpr const char* kPanel = "Sensitivity###sensitivity";
constexpr double kLongest_seconds = 120;

/// Layer m loses (m + 1) · (native - k)² thousandths of a nat below its own k, a tenth of that above.
std::shared_ptr<gs::SensitivityMap> make_map(int n_layers, std::vector<int> ks, int native, int n_done = 1 << 30) {
    auto map = std::make_shared<gs::SensitivityMap>();
    map->ks = std::move(ks);
    map->unchanged = {.n_scored = 99, .kl = 0, .nll = 3, .top1_agreement = 1, .bytes_per_token = 10e6 + 1e5 * native * n_layers};
    map->dense_bytes = 10e6;
    map->expert_bytes = 1e5;
    for (int m = 0; m < n_layers; ++m) {
        map->moe_layers.push_back(m);
        map->base_k.push_back(native);
        for (const int k : map->ks) {
            gs::SensitivityCell cell = map->unchanged;
            cell.kl = 1e-3 * (m + 1) * (k - native) * (k - native) * (k < native ? 1 : 0.1);
            cell.nll += cell.kl;
            cell.top1_agreement = 1 - cell.kl;
            cell.bytes_per_token += 1e5 * (k - native);
            if (static_cast<int>(map->cells.size()) >= n_done) cell = {};
            map->n_cells_done += cell.n_scored > 0;
            map->cells.push_back(cell);
        }
    }
    map->complete = map->n_cells_done == static_cast<int>(map->cells.size());
    for (const int k : map->ks) {
        double kl = 0;
        for (int m = 0; m < n_layers; ++m) kl += 1.1e-3 * (m + 1) * (k - native) * (k - native) * (k < native ? 1 : 0.1);
        gs::PolicyScore score{.policy = gs::with_uniform_k({}, k), .n_scored = 99, .perplexity = std::exp(3 + kl), .kl = kl, .top1_agreement = 1 - std::min(kl, 1.0)};
        score.bytes_per_token = 10e6 + 1e5 * k * n_layers;
        map->uniform.push_back(score);
    }
    return map;
}

struct Stage : MeasuredStage<gs::SensitivityMap> {
    explicit Stage(std::shared_ptr<const gs::SensitivityMap> measured, ImVec2 size = {1100, 640}) : MeasuredStage(&gs::SessionState::sensitivity, std::move(measured), size) {}
};

TEST(SensitivityPanel, SaysWhatItWaitsFor) {
    const auto view = make_sensitivity_view();
    Stage stage(nullptr);
    stage.frames(*view);
    EXPECT_TRUE(stage.says("press Measure")) << stage.text;
    stage.state.model = nullptr;
    stage.frames(*view);
    EXPECT_TRUE(stage.says("needs a loaded model")) << stage.text;
    auto dense = std::make_shared<gs::ModelCard>();
    stage.state.model = dense;
    stage.frames(*view);
    EXPECT_TRUE(stage.says("A dense model")) << stage.text;
}

TEST(SensitivityPanel, DrawsEveryMapAtEverySizeInsideItsWindow) {
    std::vector<int> many;
    for (int k = 1; k <= 128; ++k) many.push_back(k);
    const std::shared_ptr<gs::SensitivityMap> maps[] = {make_map(1, {2}, 2), make_map(30, {1, 2, 3, 4, 6, 8, 16}, 4), make_map(30, {1, 2, 4}, 4, 40), make_map(4, {1, 2}, 2, 0),
                                                        make_map(48, many, 8)};
    for (const ImVec2 size : {ImVec2(200, 120), ImVec2(420, 700), ImVec2(1280, 620)})
        for (const auto& map : maps) {
            Stage stage(map, size);
            const auto view = make_sensitivity_view();
            stage.frames(*view, 4);
            stage.expect_drawn_inside();
        }
}

TEST(SensitivityPanel, ShowsThePlanBesideTheBestSingleK) {
    const auto map = make_map(6, {1, 2, 3, 4}, 4);
    Stage stage(map);
    const auto view = make_sensitivity_view();
    stage.frames(*view, 4);
    SchedulePlans plans;
    plans.set_map(map);
    const gs::Budget start{gs::BudgetKind::kKl, map->uniform[2].kl};
    const auto plan = plans.plan(start);
    ASSERT_TRUE(plan);
    EXPECT_TRUE(stage.says(format_number(plan->predicted.kl))) << stage.text;
    EXPECT_TRUE(stage.says(format_bytes(plan->predicted.bytes_per_token))) << stage.text;
    EXPECT_TRUE(stage.says("k = 3")) << "keeps what it costs itself";
    EXPECT_TRUE(stage.says("A prediction")) << stage.text;
}

TEST(SensitivityPanel, ShowsWhatARunFoundAndThatTheScheduleLoses) {
    const auto map = make_map(6, {1, 2, 3, 4}, 4);
    Stage stage(map);
    SchedulePlans plans;
    plans.set_map(map);
    auto result = std::make_shared<gs::ScheduleResult>();
    result->budget = {gs::BudgetKind::kBytes, 11.5e6};
    result->schedule = *plans.plan(result->budget);
    result->verified = {.n_scored = 99, .perplexity = 21.25, .kl = 0.0625, .top1_agreement = 0.875, .tokens_per_s = 123, .bytes_per_token = 11.4e6};
    result->within = true;
    result->uniform = gs::PolicyScore{.perplexity = 20.5, .kl = 0.03125, .top1_agreement = 0.9, .tokens_per_s = 124, .bytes_per_token = 11.2e6};
    result->uniform_k = 2;
    result->verdict = gs::ScheduleVerdict::kUniform;
    result->n_tokens = 100;
    stage.state.schedule = result;
    const auto view = make_sensitivity_view();
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("The schedule loses")) << stage.text;
    for (const double value : {0.0625, 0.0312, 21.25, 20.5, 123.0, 124.0}) EXPECT_TRUE(stage.says(format_number(value))) << value << "\n" << stage.text;
    EXPECT_TRUE(stage.says("100 tokens"));
}

TEST(SensitivityPicture, TakesLogarithmsOfWhatHasOne) {
    const gs::SensitivityCell none{}, own{.n_scored = 9, .kl = 0, .nll = 1, .top1_agreement = 1}, cell{.n_scored = 9, .kl = 0.01, .nll = 2, .top1_agreement = 0.5};
    for (const bool log_scale : {false, true}) EXPECT_TRUE(std::isnan(sensitivity_value(none, SensitivityQuantity::kKl, log_scale)));
    EXPECT_EQ(sensitivity_value(own, SensitivityQuantity::kKl, false), 0);
    EXPECT_TRUE(std::isnan(sensitivity_value(own, SensitivityQuantity::kKl, true)));
    EXPECT_FLOAT_EQ(sensitivity_value(cell, SensitivityQuantity::kKl, true), -2);
    EXPECT_FLOAT_EQ(sensitivity_value(cell, SensitivityQuantity::kPerplexity, true), static_cast<float>(std::exp(2.0)));
    EXPECT_FLOAT_EQ(sensitivity_value(cell, SensitivityQuantity::kTop1, false), 0.5f);
    const auto map = make_map(3, {1, 2}, 2);
    const ValueRange range = sensitivity_range(*map, SensitivityQuantity::kKl, false);
    EXPECT_FLOAT_EQ(range.low, 0);
    EXPECT_FLOAT_EQ(range.high, 3e-3f);
}

TEST(SchedulePlans, TheFrontierFallsAndPlansLieOnIt) {
    const auto map = make_map(8, {1, 2, 3, 4, 6}, 4);
    SchedulePlans plans;
    plans.set_map(make_map(8, {1, 2}, 2, 3));
    EXPECT_FALSE(plans.ready()) << "a map that is not complete";
    plans.set_map(map);
    ASSERT_TRUE(plans.ready());
    EXPECT_TRUE(plans.take_new());
    EXPECT_FALSE(plans.take_new());
    const auto& frontier = plans.frontier(gs::BudgetKind::kKl);
    for (size_t i = 1; i < frontier.bytes.size(); ++i) {
        EXPECT_GT(frontier.bytes[i], frontier.bytes[i - 1]);
        EXPECT_LT(frontier.loss[i], frontier.loss[i - 1]);
    }
    for (size_t i = 0; i < frontier.bytes.size(); ++i)
        EXPECT_DOUBLE_EQ(plans.plan({gs::BudgetKind::kBytes, frontier.bytes[i]})->predicted.kl, frontier.loss[i]);
    EXPECT_FALSE(plans.plan({gs::BudgetKind::kBytes, 1e6}));
}

TEST(ScheduleEdits, AStrokeIsOneStepOfUndo) {
    ScheduleEdits edits;
    const ScheduleEdits::Ks found = {4, 4, 4};
    EXPECT_FALSE(edits.now());
    edits.end_stroke();
    EXPECT_FALSE(edits.can_undo()) << "nothing was painted";
    edits.paint(found, 0, 1);
    edits.paint({9, 9, 9}, 1, 2);                          // what was found meanwhile does not matter within a stroke
    edits.end_stroke();
    EXPECT_EQ(*edits.now(), (ScheduleEdits::Ks{1, 2, 4}));
    edits.paint(found, 2, 4);
    edits.end_stroke();
    edits.undo();
    EXPECT_FALSE(edits.now()) << "a stroke that changed nothing is no step";
    EXPECT_FALSE(edits.can_undo());
    edits.redo();
    edits.reset();
    EXPECT_FALSE(edits.now());
    edits.undo();
    EXPECT_EQ(*edits.now(), (ScheduleEdits::Ks{1, 2, 4}));
    edits.paint(found, 0, 3);
    edits.end_stroke();
    EXPECT_FALSE(edits.can_redo()) << "what was undone is gone after a new change";
    EXPECT_EQ(*edits.now(), (ScheduleEdits::Ks{3, 2, 4}));
    edits.paint(found, 7, 3);
    edits.end_stroke();
    EXPECT_EQ(edits.now()->size(), 3u);
}

TEST(SensitivityPanel, AStrokeOverTheMapChangesTheScheduleAndCanBeUndone) {
    const auto map = make_map(6, {1, 2, 3, 4}, 4);
    Stage stage(map);
    const auto view = make_sensitivity_view();
    stage.frames(*view, 4);
    ASSERT_TRUE(stage.says("A prediction")) << stage.text;
    SchedulePlans plans;
    plans.set_map(map);
    const gs::Budget start{gs::BudgetKind::kKl, map->uniform[2].kl};
    const std::string found = format_bytes(plans.plan(start)->predicted.bytes_per_token);
    ImGuiIO& io = ImGui::GetIO();
    stage.hover(*view, {150, 500});                        // the lowest row: k = 1
    EXPECT_TRUE(stage.says("k = 1")) << stage.text;
    io.AddMouseButtonEvent(0, true);
    stage.frames(*view, 2);
    for (const float x : {250.0f, 350.0f, 450.0f}) stage.hover(*view, {x, 500});
    io.AddMouseButtonEvent(0, false);
    stage.frames(*view, 3);
    EXPECT_TRUE(stage.says("Changed by hand")) << stage.text;
    stage.frames(*view, 2);
    const std::string by_hand = stage.text;
    const auto press = [&](ImGuiKey key) {
        io.AddKeyEvent(ImGuiMod_Ctrl, true);
        io.AddKeyEvent(key, true);
        stage.frames(*view, 2);
        io.AddKeyEvent(key, false);
        io.AddKeyEvent(ImGuiMod_Ctrl, false);
        stage.frames(*view, 3);
    };
    press(ImGuiKey_Z);
    EXPECT_TRUE(stage.says("A prediction")) << "one stroke, one step\n" << stage.text;
    EXPECT_TRUE(stage.says(found));
    press(ImGuiKey_Y);
    EXPECT_TRUE(stage.says("Changed by hand")) << stage.text;
    EXPECT_EQ(stage.text, by_hand);
}

/// An item of the schedule's side of the panel, which is a window within it.
ImVec2 find_in_schedule(WindowStage& stage, const char* item) {
    const ImGuiWindow* panel = ImGui::FindWindowByName(kPanel);
    if (!panel) return {};
    const std::string name = fmt::format("{}/###schedule_{:08X}", panel->Name, ImHashStr("###schedule", 0, panel->ID));
    return stage.find(name.c_str(), {item});
}

TEST(Window, FromATextToAnAppliedScheduleByMouse) {
    WindowStage stage({1280, 720});
    stage.live = true;
    stage.session.load_model(std::filesystem::path(GATESCOPE_GOLDENS) / "models/mixtral/model.gguf");
    stage.session.run({.prompt = "Hello World", .mode = gs::PromptMode::kRaw, .max_new_tokens = 4, .sampler = {.temperature = 0}});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);   // until there are tabs to choose from
    stage.ui->raise("sensitivity");
    stage.frames(6);
    ASSERT_TRUE(stage.is_drawn(kPanel));
    stage.click(kPanel, {"###measure"});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    const auto map = stage.session.latest()->sensitivity;
    ASSERT_NE(map, nullptr);
    ASSERT_TRUE(map->complete);
    stage.play(InputScript().click(find_in_schedule(stage, "###check")));
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    const auto schedule = stage.session.latest()->schedule;
    ASSERT_NE(schedule, nullptr);
    EXPECT_TRUE(schedule->within);
    // A layer changed by hand is run as it is.
    const ImGuiWindow* panel = ImGui::FindWindowByName(kPanel);
    const ImVec2 cell(panel->Pos.x + panel->Size.x * 0.2f, panel->Pos.y + panel->Size.y * 0.6f);
    stage.play(InputScript().drag(cell, {cell.x + panel->Size.x * 0.2f, cell.y}));
    stage.play(InputScript().click(find_in_schedule(stage, "###check")));
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    const auto by_hand = stage.session.latest()->schedule;
    EXPECT_TRUE(by_hand->given);
    EXPECT_NE(by_hand->schedule.ks, schedule->schedule.ks);
    stage.play(InputScript().click(find_in_schedule(stage, "###reset")));
    stage.play(InputScript().click(find_in_schedule(stage, "###apply")));
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    EXPECT_EQ(stage.session.latest()->policy, schedule->policy) << "what was found, run before";
    EXPECT_EQ(stage.session.latest()->run->request.policy, schedule->policy);
    ImGui::SetClipboardText("");
    stage.ui->raise("sensitivity");
    stage.frames(6);
    stage.click(kPanel, {"###csv"});
    EXPECT_EQ(std::string(ImGui::GetClipboardText()), gs::sensitivity_csv(*map));
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    EXPECT_TRUE(stage.session.latest()->policy.is_native());
}

}  // namespace
}  // namespace app::test
