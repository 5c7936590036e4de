// The panels that explain: ablation by mouse from a click to an applied policy and back, the diagram, cost, and two models beside each other.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include <fmt/format.h>

#include "app/views/ablation_parts.h"
#include "app/views/diagram_draw.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "tests/app/panels_fixture.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;
constexpr const char* kAblation = "Ablation###ablation";
constexpr double kLongest_seconds = 120;
constexpr ImVec2 kSizes[] = {{200, 120}, {420, 700}, {900, 500}, {1280, 620}};

struct Stage : PanelStage {
    explicit Stage(gs::TraceSnapshot trace, ImVec2 size = {1100, 640}) : PanelStage(std::move(trace), size) { state.model = make_card(state.run->trace); }
};

std::shared_ptr<gs::AblationResult> made_result(int n_controls, double kl) {
    auto r = std::make_shared<gs::AblationResult>();
    r->experts = {{1, 3, gs::AblationMode::kZero, -1}};
    r->used = {40};
    r->n_tokens = 100;
    r->text_name = "prose";
    r->model_hash = make_trace().info().model_hash;
    r->effect = {.n_scored = 99, .kl = kl, .delta_logprob = -0.0625, .flip_rate = 0.125};
    for (int i = 0; i < n_controls; ++i)
        r->controls.push_back({.experts = {{1, 4 + i, gs::AblationMode::kZero, -1}}, .used = {38}, .effect = {.n_scored = 99, .kl = 0.01 * (i + 1), .delta_logprob = -0.001, .flip_rate = 0.01}});
    r->text = gs::AblationText{.prompt = "What?", .base = "A llama is an animal.", .ablated = "A llama is a house.", .n_base = 6, .n_ablated = 6, .first_difference = 3, .sampler = "greedy"};
    r->complete = true;
    return r;
}

TEST(AblationSet, AnExpertIsInItOnceAndNeverRunsForAnother) {
    ViewSettings settings;
    ablate_expert(settings, {2, 1, gs::AblationMode::kZero, -1});
    ablate_expert(settings, {2, 1, gs::AblationMode::kRouteAround, -1});
    ASSERT_EQ(settings.ablated.size(), 1u);
    EXPECT_EQ(ablated_entry(settings, 2, 1)->mode, gs::AblationMode::kRouteAround);
    ablate_expert(settings, {2, 5, gs::AblationMode::kSwap, 7});
    ablate_expert(settings, {3, 7, gs::AblationMode::kZero, -1});
    EXPECT_EQ(settings.ablated.size(), 3u) << "expert 7 of another layer";
    ablate_expert(settings, {2, 7, gs::AblationMode::kZero, -1});
    EXPECT_EQ(ablated_entry(settings, 2, 5), nullptr) << "7 was to run in its place";
    keep_expert(settings, 2, 1);
    EXPECT_EQ(ablated_entry(settings, 2, 1), nullptr);
}

TEST(AblationPanel, SaysWhatItWaitsForAndShowsTheResultBesideItsControls) {
    Stage stage(make_trace());
    const auto view = make_ablation_view();
    stage.frames(*view);
    EXPECT_TRUE(stage.says("No expert is ablated")) << stage.text;
    stage.settings.ablated = {{1, 3, gs::AblationMode::kZero, -1}};
    stage.frames(*view);
    EXPECT_TRUE(stage.says("layer 1 · expert 3: zero")) << stage.text;
    stage.state.ablation = made_result(4, 0.5);
    stage.frames(*view);
    for (const char* part : {"used by 40 of 100", "99 tokens scored", "More than any of 4 random experts", "differ from generated token 4"}) EXPECT_TRUE(stage.says(part)) << part << "\n" << stage.text;
    EXPECT_TRUE(stage.says("0.5 |")) << stage.text;
    EXPECT_TRUE(stage.says("0.025 ± 0.0129")) << "mean and deviation of the controls\n" << stage.text;
    stage.state.ablation = made_result(4, 0.025);
    stage.settings.ablated.clear();
    stage.frames(*view);
    EXPECT_TRUE(stage.says("2 of 4 random experts")) << stage.text;
    EXPECT_TRUE(stage.says("has changed since")) << stage.text;
}

TEST(ExplainPanels, DrawInsideTheirWindowAtEverySize) {
    const gs::RouterSpec large{.n_experts = 256, .n_used = 8, .score = gs::ScoreFn::kSigmoid, .renormalise = true};
    for (const ImVec2 size : kSizes)
        for (const bool many : {false, true}) {
            Stage stage(many ? make_trace({.n_layers = 6, .n_dense = 3, .router = large}) : make_trace(), size);
            stage.settings.ablated = {{1, 3, gs::AblationMode::kZero, -1}, {2, 0, gs::AblationMode::kSwap, 1}};
            stage.state.ablation = made_result(many ? 8 : 0, 0.2);
            stage.selected.expert = 3;
            for (const auto& make : {make_ablation_view, make_diagram_view, make_cost_view, make_side_by_side_view}) {
                const auto view = make();
                stage.frames(*view, 4);
                stage.expect_drawn_inside();
            }
        }
}

TEST(CellGrid, FillsItsAreaWithSquaresThatDoNotOverlap) {
    for (const int n : {1, 2, 7, 16, 128, 256})
        for (const ImVec2 room : {ImVec2(300, 200), ImVec2(90, 500), ImVec2(40, 40)}) {
            const CellGrid grid(n, {10, 20}, room, 1000);
            std::set<int> seen;
            for (int i = 0; i < n; ++i) {
                EXPECT_GE(grid.corner(i).x, 10 - 0.01f);
                EXPECT_LE(grid.corner(i).y + grid.cell, 20 + room.y + 0.5f) << n;
                EXPECT_LE(grid.corner(i).x + grid.cell, 10 + room.x + 0.5f) << n;
                EXPECT_EQ(grid.at(grid.center(i)), i);
                seen.insert(grid.at(grid.center(i)));
            }
            EXPECT_EQ(seen.size(), static_cast<size_t>(n));
            EXPECT_EQ(grid.at({0, 0}), -1);
        }
}

TEST(DiagramPanel, ExpertsArePickedFromIt) {
    Stage stage(make_trace());
    const auto view = make_diagram_view();
    stage.frames(*view);
    std::set<int> hovered;
    ImVec2 of_last{};
    for (float y = 60; y < 620; y += 18)
        for (float x = 150; x < 700; x += 18) {
            stage.hover(*view, {x, y});
            if (stage.hovered_next.expert >= 0) hovered.insert(stage.hovered_next.expert), of_last = {x, y};
        }
    EXPECT_EQ(hovered.size(), 16u) << "every expert can be reached";
    ASSERT_FALSE(hovered.empty());
    stage.hover(*view, of_last);
    const int expert = stage.hovered_next.expert;
    stage.click(*view, of_last);
    EXPECT_EQ(stage.selected.expert, expert);
    EXPECT_GE(stage.selected.moe_layer, 0);
}

TEST(CostPanel, ShowsTheLoadedModelBesideDenseOnesAndThePrices) {
    Stage stage(make_trace(), {1280, 800});
    auto card = std::make_shared<gs::ModelCard>(*stage.state.model);
    card->spec.router = make_trace().info().router;
    card->spec.moe_layers = {0, 1, 2, 3};
    card->spec.n_layers = 4, card->spec.n_embd = 100, card->spec.expert_ff = 10, card->spec.n_heads = 2, card->spec.head_dim_k = card->spec.head_dim_v = 50;
    card->spec.attention.resize(4);
    card->total_params = 5'000'000, card->active_params = 2'345'000;
    stage.state.model = card;
    const auto view = make_cost_view();
    stage.frames(*view, 4);
    for (const char* part : {"dense, same total", "dense, same active", "288 B", "no weights)", "GroqCloud", "unknown", "671 B \u2260"}) EXPECT_TRUE(stage.says(part)) << part << "\n" << stage.text;
    EXPECT_TRUE(stage.says(format_count(2'345'000))) << stage.text;
}

TEST(Window, AblatesByMouseAppliesItAndTakesItBack) {
    WindowStage stage({1280, 720});
    stage.live = true;
    stage.session.load_model(std::filesystem::path(GATESCOPE_GOLDENS) / "models/mixtral/model.gguf");
    stage.session.run({.prompt = "Hello World", .mode = gs::PromptMode::kRaw, .max_new_tokens = 4, .sampler = {.temperature = 0}});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    stage.ui->raise("ablation");
    stage.ui->selected() = {-1, 0, 1};
    stage.frames(6);
    ASSERT_TRUE(stage.is_drawn(kAblation));
    stage.click(kAblation, {"ablate", "zero", "###mode"});
    ASSERT_EQ(stage.settings.ablated.size(), 1u);
    EXPECT_EQ(stage.settings.ablated[0], (gs::AblatedExpert{0, 1, gs::AblationMode::kZero, -1}));
    stage.click(kAblation, {"###measure"});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    const auto result = stage.session.latest()->ablation;
    ASSERT_NE(result, nullptr);
    EXPECT_TRUE(result->complete);
    EXPECT_FALSE(result->controls.empty());
    EXPECT_TRUE(result->text);
    stage.click(kAblation, {"###apply"});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    EXPECT_EQ(stage.session.latest()->policy.to_text(), "zero@0=1");
    EXPECT_EQ(stage.session.latest()->run->request.policy.to_text(), "zero@0=1");
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    EXPECT_TRUE(stage.session.latest()->policy.is_native());
    stage.frames(6);
    stage.ui->raise("ablation");
    stage.frames(6);
    stage.click(kAblation, {"###set0"});
    EXPECT_TRUE(stage.settings.ablated.empty());
}

}  // namespace
}  // namespace app::test
