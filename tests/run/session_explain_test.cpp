// Ablations and comparisons of two models through the session: results fill in, the newest wins, errors become notices.
#include <gtest/gtest.h>

#include "tests/run/session_fixture.h"

namespace gs {
namespace {

using namespace test;

const char* const kText = "The router picks 2 of 8 experts for every token of a text, and one of them is taken out.";

AblationRequest ablation(int expert) {
    AblationRequest request{.text = kText, .text_name = "a sentence", .n_controls = 2};
    request.experts = {{0, expert, AblationMode::kZero, -1}};
    return request;
}

TEST(Session, AblatesOnATextAndOnTheRunAndNeedsEither) {
    Watched w;
    w.session.request_ablation(ablation(1));
    EXPECT_TRUE(has_notice(*w.idle(), "no_model"));
    w.loaded("mixtral");
    AblationRequest of_run = ablation(1);
    of_run.of_run = true;
    w.session.request_ablation(of_run);
    EXPECT_TRUE(has_notice(*w.idle(), "no_run"));
    w.session.request_ablation(ablation(99));
    EXPECT_TRUE(has_notice(*w.idle(), "bad_expert"));
    AblationRequest request = ablation(1);
    request.continuation = test::request("Hello World", 4);
    w.session.request_ablation(request);
    const State state = w.idle();
    ASSERT_TRUE(state->ablation);
    EXPECT_TRUE(state->ablation->complete);
    EXPECT_EQ(state->ablation->text_name, "a sentence");
    EXPECT_EQ(state->ablation->text->n_base, 4);
    EXPECT_EQ(state->activity, Activity::kIdle);
    w.session.run(test::request("Hello World", 6));
    w.idle();
    w.session.request_ablation(of_run);
    const State after = w.idle();
    ASSERT_TRUE(after->ablation->complete);
    EXPECT_EQ(after->ablation->n_tokens, after->run->trace.n_tokens());
    EXPECT_EQ(after->ablation->effect.n_scored, after->run->trace.n_tokens() - after->run->n_prompt_tokens) << "the answer alone";
    EXPECT_EQ(w.loaded("granitemoe")->ablation, nullptr) << "of the model before";
}

TEST(Session, ANewerAblationReplacesTheOneBefore) {
    Watched w(true);
    w.loaded("mixtral");
    AblationRequest slow = ablation(1);
    for (int i = 0; i < 40; ++i) slow.text += kText;
    slow.n_controls = 6;
    w.session.request_ablation(slow);
    ASSERT_TRUE(w.until([](const SessionState& s) { return s.activity == Activity::kAblating; }));
    w.session.request_ablation(ablation(2));
    const State state = w.idle();
    ASSERT_TRUE(state->ablation);
    EXPECT_EQ(state->ablation->experts[0].expert, 2);
    EXPECT_TRUE(state->ablation->complete);
    EXPECT_TRUE(state->notices.empty()) << "what was asked for is no error";
}

TEST(Session, RunsTwoModelsAndKeepsItsOwn) {
    Watched w;
    const State loaded = w.loaded("mixtral");
    SideRequest request{.other = model_file("llama"), .run = test::request("Hello World", 4), .text = kText, .text_name = "a sentence"};
    w.session.request_side_by_side(request);
    const State state = w.idle();
    ASSERT_TRUE(state->side_by_side);
    EXPECT_TRUE(state->side_by_side->complete);
    EXPECT_EQ(state->side_by_side->a.card.hash, loaded->model->hash);
    EXPECT_FALSE(state->side_by_side->b.card.spec.is_moe());
    EXPECT_GT(state->side_by_side->b.perplexity, 0);
    EXPECT_EQ(state->model->hash, loaded->model->hash);
    request.other = "/no/such/model.gguf";
    w.session.request_side_by_side(request);
    const State failed = w.idle();
    EXPECT_FALSE(failed->notices.empty());
    EXPECT_TRUE(failed->side_by_side->complete) << "the answer before stays";
}

}  // namespace
}  // namespace gs
