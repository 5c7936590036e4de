// The sweep panel: hand-made sweeps drawn at every size, and the whole way by mouse and by keys from a text to a k in force.
#include <gtest/gtest.h>

#include <cmath>

#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/views/sweep_picture.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/tune_export.h"
#include "tests/app/panels_fixture.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;
constexpr const char* kPanel = "k sweep###sweep";
constexpr double kLongest_seconds = 120;

/// Perplexity 20 + 10 / k, KL 1/k − 1/native, and so on: every figure tells its k.
std::shared_ptr<gs::SweepResult> make_sweep(std::vector<int> ks, int native, int n_layers, size_t n_rows = 1000, uint64_t id = 1) {
    auto sweep = std::make_shared<gs::SweepResult>();
    sweep->id = id;
    sweep->plan.ks = ks;
    sweep->native_k = native;
    sweep->text_name = "prose";
    sweep->ids.assign(101, 7);
    sweep->n_text_tokens = 250;
    for (int m = 0; m < n_layers; ++m) sweep->moe_layers.push_back(m);
    for (size_t i = 0; i < std::min(n_rows, ks.size()); ++i) {
        const double k = ks[i], kl = std::abs(1 / k - 1.0 / native);
        gs::PolicyScore s{.policy = gs::sweep_policies({}, std::vector<int>{ks[i]})[0], .n_scored = 100, .perplexity = 20 + 10 / k, .kl = kl, .top1_agreement = 1 - kl / 2};
        s.tokens_per_s = 100 / k;
        s.n_timed = 16;
        s.bytes_per_token = 1e7 + 1e6 * k;
        s.nll_se = 0.05, s.kl_se = kl / 10, s.top1_se = 0.02, s.tokens_per_s_se = 1;
        s.layer_error.assign(static_cast<size_t>(n_layers), kl * 0.7);
        s.layer_error_se.assign(static_cast<size_t>(n_layers), 0.01);
        s.mean_layer_error = kl * 0.7;
        s.n_error_tokens = 90;
        sweep->rows.push_back(s);
    }
    sweep->complete = sweep->rows.size() == ks.size();
    return sweep;
}

struct Stage : MeasuredStage<gs::SweepResult> {
    explicit Stage(std::shared_ptr<const gs::SweepResult> measured, ImVec2 size = {1100, 640}) : MeasuredStage(&gs::SessionState::sweep, std::move(measured), size) {}
};

TEST(SweepPanel, SaysWhatItWaitsFor) {
    const auto view = make_sweep_view();
    Stage stage(nullptr);
    stage.frames(*view);
    EXPECT_TRUE(stage.says("press Sweep")) << stage.text;
    stage.state.activity = gs::Activity::kSweeping;
    stage.frames(*view);
    EXPECT_TRUE(stage.says("Measuring")) << stage.text;
    stage.state.activity = gs::Activity::kIdle;
    stage.state.model = nullptr;
    stage.frames(*view);
    EXPECT_TRUE(stage.says("needs a loaded model")) << stage.text;
    stage.state.model = std::make_shared<gs::ModelCard>();
    stage.frames(*view);
    EXPECT_TRUE(stage.says("A dense model")) << stage.text;
}

TEST(SweepPanel, DrawsEverySweepAtEverySizeInsideItsWindow) {
    std::vector<int> many;
    for (int k = 1; k <= 128; ++k) many.push_back(k);
    const std::shared_ptr<gs::SweepResult> sweeps[] = {make_sweep({2}, 2, 1), make_sweep({1, 2, 3, 4}, 2, 30), make_sweep({1, 2, 3, 4}, 2, 30, 0), make_sweep({1, 2, 3, 4}, 2, 30, 2), make_sweep(many, 8, 48)};
    for (const ImVec2 size : {ImVec2(200, 120), ImVec2(420, 700), ImVec2(1280, 620)})
        for (const auto& sweep : sweeps) {
            Stage stage(sweep, size);
            const auto view = make_sweep_view();
            stage.frames(*view, 4);
            stage.expect_drawn_inside();
        }
}

TEST(SweepPanel, SaysHowManyTokensAndHowFarItIs) {
    Stage stage(make_sweep({1, 2, 3, 4}, 2, 3, 2));
    const auto view = make_sweep_view();
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("prose: 100 tokens scored (the text has 250)")) << stage.text;
    EXPECT_TRUE(stage.says("2 of 4 k done, stopped")) << stage.text;
    EXPECT_TRUE(stage.says("Use k = 2")) << "the native k to begin with\n" << stage.text;
    stage.state.activity = gs::Activity::kSweeping;
    stage.state.progress_text = "50 %";
    stage.frames(*view, 2);
    EXPECT_TRUE(stage.says("2 of 4 k done;")) << stage.text;
    EXPECT_TRUE(stage.says("50 %")) << stage.text;
}

TEST(SweepPanel, ACurveIsHoveredForItsValuesAndClickedForItsK) {
    Stage stage(make_sweep({1, 2, 3, 4}, 2, 3));
    const auto view = make_sweep_view();
    stage.frames(*view, 4);
    stage.hover(*view, {150, 300});                        // left half of the first plot: k = 1 or 2
    stage.frames(*view, 2);
    EXPECT_TRUE(stage.says("perplexity")) << stage.text;
    EXPECT_TRUE(stage.says("30 ± 1.5") || stage.says("25 ± 1.2")) << stage.text;
    EXPECT_TRUE(stage.says("100 tokens scored, output error over 90; computed")) << stage.text;
    stage.click(*view, {110, 300});
    ASSERT_TRUE(stage.session.wait_idle(5));
    EXPECT_EQ(stage.session.latest()->policy.to_text(), "k=1");
}

TEST(SweepPanel, TheSweepBeforeOverTheSameTextStaysAsAGhost) {
    const auto first = make_sweep({1, 2, 3, 4}, 2, 3);
    Stage stage(first);
    const auto view = make_sweep_view();
    stage.frames(*view, 4);
    EXPECT_FALSE(stage.says("previous:"));
    auto second = make_sweep({1, 2, 3, 4}, 2, 3, 2, 2);
    second->plan.base = *gs::Policy::parse("weights=one");
    stage.state.sweep = second;
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("previous: native")) << stage.text;
    const int with_ghost = stage.n_vertices;
    stage.settings.ghosts = false;
    stage.frames(*view, 4);
    EXPECT_LT(stage.n_vertices, with_ghost);
    stage.settings.ghosts = true;
    auto grown = make_sweep({1, 2, 3, 4}, 2, 3, 4, 2);       // the same sweep, further on
    stage.state.sweep = grown;
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("previous: native"));
    auto other = make_sweep({1, 2, 3, 4}, 2, 3, 4, 3);
    other->ids.assign(101, 8);
    stage.state.sweep = other;
    stage.frames(*view, 4);
    EXPECT_FALSE(stage.says("previous:")) << "of another text";
}

TEST(SweepPicture, CurvesHaveWhatHasAValue) {
    auto sweep = make_sweep({1, 2, 3}, 2, 2);
    sweep->rows[2].n_timed = 0;
    const SweepCurve speed = sweep_curve(*sweep, SweepFigure::kSpeed, false);
    EXPECT_EQ(speed.k, (std::vector<double>{1, 2}));
    EXPECT_EQ(speed.low[0], 99);
    EXPECT_EQ(speed.high[0], 101);
    const SweepCurve kl = sweep_curve(*sweep, SweepFigure::kKl, true);
    EXPECT_EQ(kl.k, (std::vector<double>{1, 3})) << "0 at the native k has no logarithm";
    for (const double low : kl.low) EXPECT_GT(low, 0);
    EXPECT_EQ(sweep_curve(*sweep, SweepFigure::kLayerError, false, 1).value[0], sweep->rows[0].layer_error[1]);
    EXPECT_EQ(sweep_text(sweep->rows[2], SweepFigure::kSpeed), "–");
    EXPECT_EQ(sweep_text(sweep->rows[0], SweepFigure::kPerplexity), "30.0 ± 1.50");
    EXPECT_EQ(nearest_row(*sweep, 2.4), 1);
    EXPECT_EQ(nearest_row(*sweep, 99), 2);
    EXPECT_EQ(n_complete_rows(*sweep), 3);
    sweep->rows[1].n_scored = 64;
    EXPECT_EQ(n_complete_rows(*sweep), 2);
    for (const bool log_scale : {false, true})
        for (const SweepFigure figure : kSweepFigures) {
            const SweepRange range = sweep_range({sweep_curve(*sweep, figure, log_scale)}, figure, log_scale);
            EXPECT_LT(range.low, range.high);
        }
    EXPECT_FALSE(wants_log(sweep_curve(*sweep, SweepFigure::kPerplexity, false)));
}

/// A window with the panel in front and a model whose runs are quick.
struct Live : WindowStage {
    explicit Live(const char* view) : WindowStage({1280, 720}) {
        live = true;
        session.load_model(std::filesystem::path(GATESCOPE_GOLDENS) / "models/mixtral/model.gguf");
        session.run({.prompt = "Hello World", .mode = gs::PromptMode::kRaw, .max_new_tokens = 4, .sampler = {.temperature = 0}});
        EXPECT_TRUE(session.wait_idle(kLongest_seconds));
        frames(6);                                         // until there are tabs to choose from
        ui->raise(view);
        frames(6);
    }
    void settle() {
        EXPECT_TRUE(session.wait_idle(kLongest_seconds));
        frames(6);
    }
};

TEST(Window, FromATextToAnAppliedKByMouseAndKeys) {
    Live stage("sweep");
    ASSERT_TRUE(stage.is_drawn(kPanel));
    stage.settings.measured_text = {.source = TextChoice::Source::kOwn, .own = "A text of the user's own, about routers and the experts they choose.", .max_tokens = 128};
    stage.click(kPanel, {"###sweep"});
    stage.settle();
    const auto sweep = stage.session.latest()->sweep;
    ASSERT_NE(sweep, nullptr);
    ASSERT_TRUE(sweep->complete);
    EXPECT_EQ(sweep->text_name, "own text");
    EXPECT_EQ(sweep->rows.size(), 8u);
    stage.click(kPanel, {"###k"});                         // somewhere on the slider, then to its left end by keys
    stage.key(ImGuiKey_Escape);
    stage.click(kPanel, {"###use"});
    stage.settle();
    const gs::Policy used = stage.session.latest()->policy;
    EXPECT_GE(used.k, 1);
    EXPECT_FALSE(used.is_native());
    EXPECT_EQ(stage.session.latest()->run->request.policy, used) << "the prompt ran again";
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    stage.settle();
    EXPECT_TRUE(stage.session.latest()->policy.is_native());
    stage.ui->raise("sweep");
    stage.frames(6);
    ImGui::SetClipboardText("");
    stage.click(kPanel, {"###export"});
    const ImGuiWindow* menu = GImGui->OpenPopupStack.empty() ? nullptr : GImGui->OpenPopupStack.back().Window;
    ASSERT_NE(menu, nullptr);
    stage.click(menu->Name, {"###csv"});
    EXPECT_EQ(std::string(ImGui::GetClipboardText()), gs::sweep_csv(*sweep));
}

TEST(Window, ASweepOfNothingSaysSoAndKeepsTheWindow) {
    Live stage("sweep");
    stage.settings.measured_text = {.source = TextChoice::Source::kOwn};
    stage.click(kPanel, {"###sweep"});
    stage.settle();
    EXPECT_EQ(stage.session.latest()->sweep, nullptr);
    stage.settings.measured_text.own = "a";                // one token
    stage.click(kPanel, {"###sweep"});
    stage.settle();
    EXPECT_TRUE(stage.is_drawn(kPanel));
}

}  // namespace
}  // namespace app::test
