// Scenarios of what a session measures beside runs: gates, sweeps, sensitivity maps and schedules.
#include "tests/run/session_fixture.h"

namespace gs {
namespace {

using namespace test;

TEST(Session, AnswersGatesDuringAPausedRunWithoutDisturbingIt) {
    Watched w;
    w.loaded("granitemoe");
    w.session.run(request("What is a llama?", 8));
    const std::string undisturbed = w.idle()->run->text;
    for (int i = 0; i < 8; ++i) {
        w.session.step(request("What is a llama?", 8));
        w.idle();
        w.session.request_gates(i, i % 3);
        const State state = w.idle();
        ASSERT_TRUE(state->gates);
        EXPECT_EQ(state->gates->token, i);
        EXPECT_EQ(state->gates->moe_layer, i % 3);
    }
    EXPECT_EQ(w.session.latest()->run->text, undisturbed);
    w.session.request_gates(9999, 0);
    w.session.request_gates(0, 77);
    EXPECT_TRUE(w.idle()->notices.empty()) << "asked of a run that is gone: no message";
}

TEST(Session, NewestGatesRequestWins) {
    Watched w;
    w.loaded("granitemoe");
    w.session.run(request("What is a llama?", 8));
    w.idle();
    for (int i = 0; i < 50; ++i) w.session.request_gates(i % 10, 0);
    w.session.request_gates(3, 2);
    const State state = w.idle();
    ASSERT_TRUE(state->gates);
    EXPECT_EQ(state->gates->token, 3);
    EXPECT_EQ(state->gates->moe_layer, 2);
}

TEST(Session, SweepsK) {
    Watched w;
    w.loaded("mixtral");
    w.session.request_sweep({.text = "The router picks 2 of 8 experts for every token of a text, and the sweep tries all the numbers."});
    const State state = w.idle();
    ASSERT_TRUE(state->sweep);
    EXPECT_TRUE(state->sweep->complete);
    ASSERT_EQ(state->sweep->rows.size(), 8u);
    EXPECT_EQ(state->sweep->native_k, 2);
    EXPECT_EQ(state->sweep->id, 1u);
    EXPECT_EQ(state->sweep->n_text_tokens, state->sweep->n_tokens());
    EXPECT_EQ(state->sweep->rows[0].layer_error.size(), state->model->spec.moe_layers.size());
    EXPECT_EQ(state->sweep->rows[1].kl, 0) << "k = 2 is native";
    for (int k = 1; k <= 8; ++k) EXPECT_EQ(state->sweep->rows[static_cast<size_t>(k) - 1].policy.k, k);
}

TEST(Session, ASweepLeavesAPausedRunAlone) {
    Watched w;
    w.loaded("granitemoe");
    const RunRequest r = request("What is a llama?", 8);
    w.session.run(r);
    const std::string undisturbed = w.idle()->run->text;
    w.session.step(r);
    w.idle();
    w.session.request_sweep({.text = "Some text to be swept over while a run is paused in the middle."});
    w.session.request_gates(1, 1);
    EXPECT_TRUE(w.idle()->sweep->complete);
    EXPECT_TRUE(w.session.latest()->gates);
    w.session.resume();
    EXPECT_EQ(w.idle()->run->text, undisturbed);
}

TEST(Session, ASweepWaitsForTheRunningRun) {
    Watched w(true);
    w.loaded("mixtral");
    const auto act = [&] {
        w.session.run(request("Hello World", 30));
        w.session.request_sweep({.text = "A text for the sweep."});
    };
    const State begun = w.first_while(act, [](const SessionState& s) { return s.activity == Activity::kSweeping; });
    ASSERT_TRUE(begun);
    EXPECT_EQ(begun->run->phase, RunPhase::kFinished);
    EXPECT_TRUE(w.idle()->sweep->complete);
}

TEST(Session, CancelEndsASweepAndKeepsItsRows) {
    Watched w(true);
    w.loaded("mixtral");
    std::string text;
    for (int i = 0; i < 200; ++i) text += "word " + std::to_string(i) + " ";
    w.session.request_sweep({.text = text});
    ASSERT_TRUE(w.until([](const SessionState& s) { return s.sweep && !s.sweep->rows.empty(); }));
    w.session.cancel();
    const State state = w.idle();
    EXPECT_FALSE(state->sweep->complete);
    EXPECT_FALSE(state->sweep->rows.empty());
    EXPECT_EQ(state->activity, Activity::kIdle);
    EXPECT_TRUE(state->notices.empty()) << "what was asked for is no error";
}

const char* const kTunedText = "The router picks 2 of 8 experts for every token of a text, and the map tries other numbers in one layer at a time.";

TEST(Session, MapsSensitivityAndChecksASchedule) {
    Watched w;
    w.loaded("mixtral");
    w.session.request_sensitivity({.text = kTunedText, .text_name = "a sentence", .ks = {1, 3}, .max_tokens = 1000});
    w.session.request_schedule({BudgetKind::kKl, 1e9});
    const State state = w.idle();
    ASSERT_TRUE(state->sensitivity);
    EXPECT_TRUE(state->sensitivity->complete);
    EXPECT_EQ(state->sensitivity->text_name, "a sentence");
    EXPECT_EQ(state->sensitivity->ks, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(state->sensitivity->uniform.size(), 3u);
    ASSERT_TRUE(state->schedule) << "it waited for the map";
    EXPECT_EQ(state->schedule->policy.to_text(), "k@0-" + std::to_string(state->model->spec.n_layers - 1) + "=1");
    EXPECT_EQ(state->schedule->uniform_k, 1);
    EXPECT_TRUE(state->notices.empty());
    std::vector<int> by_hand(state->sensitivity->moe_layers.size(), 2);
    by_hand.back() = 3;
    w.session.request_schedule({BudgetKind::kKl, 1e9}, by_hand);
    const State checked = w.idle();
    EXPECT_TRUE(checked->schedule->given);
    EXPECT_EQ(checked->schedule->schedule.ks, by_hand);
    w.session.request_sensitivity({.text = kTunedText, .ks = {1}, .max_tokens = 5});
    const State other = w.idle();
    EXPECT_EQ(other->sensitivity->ids.size(), 5u);
    EXPECT_TRUE(other->notices.empty()) << "as many tokens as were asked for";
    EXPECT_EQ(other->schedule, nullptr) << "of another map";
}

TEST(Session, CancelEndsAMapAndKeepsItsCells) {
    Watched w(true);
    w.loaded("mixtral");
    std::string text;
    for (int i = 0; i < 100; ++i) text += "word " + std::to_string(i) + " ";
    w.session.request_sensitivity({.text = text, .ks = {1, 2, 3, 4, 5, 6, 7, 8}, .max_tokens = 1000});
    ASSERT_TRUE(w.until([](const SessionState& s) { return s.sensitivity && s.sensitivity->n_cells_done > 0; }));
    w.session.cancel();
    const State state = w.idle();
    EXPECT_FALSE(state->sensitivity->complete);
    EXPECT_EQ(state->activity, Activity::kIdle);
    EXPECT_TRUE(state->notices.empty());
    w.session.request_schedule({BudgetKind::kKl, 1});
    EXPECT_TRUE(has_notice(*w.idle(), "map_incomplete"));
    EXPECT_EQ(w.loaded("granitemoe")->sensitivity, nullptr) << "of the model before";
}

}  // namespace
}  // namespace gs
