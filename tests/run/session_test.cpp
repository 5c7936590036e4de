// Scenarios of the session: commands in, states out. Waits are bounded by the session's own idleness; no test depends on how long a thing takes.
#include <atomic>

#include "engine/io/trace_file.h"
#include "engine/run/session_impl.h"
#include "tests/run/session_fixture.h"

namespace gs {
namespace {

using namespace test;

TEST(Session, StartsIdleWithNothing) {
    Watched w;
    const State state = w.idle();
    EXPECT_EQ(state->activity, Activity::kIdle);
    EXPECT_FALSE(state->can_run());
    EXPECT_EQ(state->run, nullptr);
    EXPECT_TRUE(state->notices.empty());
}

TEST(Session, LoadsAndRuns) {
    Watched w;
    EXPECT_TRUE(w.loaded("mixtral")->can_run());
    EXPECT_EQ(w.session.latest()->model->spec.architecture, "llama");
    w.session.run(request("Hello World", 5));
    const State state = w.idle();
    ASSERT_TRUE(state->run);
    EXPECT_EQ(state->run->phase, RunPhase::kFinished);
    EXPECT_EQ(state->run->stop, StopReason::kLength);
    EXPECT_EQ(state->run->trace.n_tokens(), state->run->n_prompt_tokens + 5);
    EXPECT_EQ(state->activity, Activity::kIdle);
    EXPECT_EQ(state->previous, nullptr);
    EXPECT_TRUE(state->notices.empty());
}

TEST(Session, PublishesTheRunWhileItGrows) {
    Watched w(true);
    w.loaded("mixtral");
    const State live = w.first_while([&] { w.session.run(request("Hello World", 40)); },
                                     [](const SessionState& s) { return s.run && s.run->phase == RunPhase::kDecoding && s.run->timings.decode_tokens > 0; });
    ASSERT_TRUE(live);
    EXPECT_EQ(live->run->trace.n_tokens(), live->run->n_prompt_tokens + live->run->timings.decode_tokens);
    const int then = live->run->trace.n_tokens();
    EXPECT_GE(w.idle()->run->trace.n_tokens(), then);
    EXPECT_EQ(live->run->trace.n_tokens(), then) << "a published state never changes";
}

TEST(Session, WakesOnceUntilTheStateIsFetched) {
    Watched w;
    w.loaded("mixtral");
    w.session.latest();
    const int before = w.n_wakes;
    w.session.run(request("Hello World", 20));
    ASSERT_TRUE(w.session.wait_idle(kPatience));
    EXPECT_EQ(w.n_wakes, before + 1);
    w.session.latest();
    w.session.notify({.is_error = false, .error = {ErrorKind::kRun, "news", "News", "", ""}});
    EXPECT_EQ(w.n_wakes, before + 2);
}

TEST(Session, StopKeepsWhatThereIs) {
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello World", 400));
    ASSERT_TRUE(w.until([](const SessionState& s) { return s.run && s.run->timings.decode_tokens >= 2; }));
    w.session.stop();
    const State state = w.idle();
    EXPECT_EQ(state->run->phase, RunPhase::kFinished);
    EXPECT_GE(state->run->trace.n_tokens(), 2);
    if (state->run->stop != StopReason::kStopped) {
        EXPECT_EQ(state->run->timings.decode_tokens, 400) << "it was faster than the command";
    }
}

TEST(Session, TheNewestRunWins) {
    Watched w;
    w.loaded("granitemoe");
    for (int i = 0; i < 20; ++i) w.session.run(request("prompt " + std::to_string(i), 200));
    w.session.run(request("the last", 3));
    const State state = w.idle();
    EXPECT_EQ(state->run->request.prompt, "the last");
    EXPECT_EQ(state->run->timings.decode_tokens, 3);
    EXPECT_TRUE(state->notices.empty());
}

TEST(Session, StepsTokenByTokenAndResumes) {
    Watched w;
    w.loaded("mixtral");
    const RunRequest r = request("Hello World", 6);
    for (int n = 1; n <= 3; ++n) {
        w.session.step(r);
        const State state = w.idle();
        EXPECT_EQ(state->run->timings.decode_tokens, n);
        EXPECT_EQ(state->run->phase, RunPhase::kPaused);
        EXPECT_EQ(state->run->id, 1u);
    }
    w.session.resume();
    const State state = w.idle();
    EXPECT_EQ(state->run->timings.decode_tokens, 6);
    EXPECT_EQ(state->run->phase, RunPhase::kFinished);
    w.session.run(r);
    EXPECT_EQ(w.idle()->run->text, state->run->text) << "stepping changes nothing";
}

TEST(Session, RerunsUnderAnotherPolicyAndCompares) {
    Watched w;
    w.loaded("granitemoe");
    w.session.run(request("What is a llama?", 10));
    const State before = w.idle();
    w.session.rerun_and_compare(policy("k=1"));
    const State state = w.idle();
    ASSERT_TRUE(state->comparison);
    EXPECT_EQ(state->previous->id, before->run->id);
    EXPECT_EQ(state->previous->text, before->run->text);
    EXPECT_EQ(state->run->request.policy.to_text(), "k=1");
    EXPECT_EQ(state->policy.to_text(), "k=1");
    const PolicyComparison& c = *state->comparison;
    EXPECT_EQ(c.run_a, before->run->id);
    EXPECT_EQ(c.run_b, state->run->id);
    EXPECT_EQ(c.a.kl, 0);
    EXPECT_GT(c.b.kl, 0);
    EXPECT_EQ(c.a.top1_agreement, 1);
    EXPECT_LT(c.b.bytes_per_token, c.a.bytes_per_token);
    EXPECT_EQ(c.a.n_scored, state->previous->trace.n_tokens() - state->previous->n_prompt_tokens);
    const int d = c.first_difference;
    for (int t = 0; t < (d < 0 ? state->run->trace.n_tokens() : d); ++t) EXPECT_EQ(state->run->trace.token(t).id, state->previous->trace.token(t).id);

    w.session.rerun_and_compare(Policy{});
    const State back = w.idle();
    EXPECT_EQ(back->run->text, before->run->text) << "native again gives the first text again";
    EXPECT_EQ(back->previous->id, state->run->id);
}

TEST(Session, ADragThroughManyPoliciesEndsInTheLast) {
    Watched w;
    w.loaded("granitemoe");
    w.session.run(request("What is a llama?", 30));
    const uint64_t baseline = w.idle()->run->id;
    for (const char* text : {"k=7", "k=6", "k=5", "k=4", "k=2", "k=1"}) w.session.rerun_and_compare(policy(text));
    const State state = w.idle();
    EXPECT_EQ(state->run->request.policy.to_text(), "k=1");
    ASSERT_TRUE(state->comparison);
    EXPECT_EQ(state->comparison->run_b, state->run->id);
    if (state->run->id == baseline + 1) {
        EXPECT_EQ(state->previous->id, baseline);
    }
}

TEST(Session, ChangesThePolicyBetweenTokens) {
    Watched w;
    w.loaded("mixtral");
    w.session.step(request("Hello World", 4));
    w.idle();
    w.session.set_policy(policy("soft"));
    w.session.resume();
    const TraceSnapshot trace = w.idle()->run->trace;
    const int first_decoded = w.session.latest()->run->n_prompt_tokens;
    EXPECT_EQ(trace.policy(first_decoded).to_text(), "native");
    EXPECT_EQ(trace.policy(first_decoded + 1).to_text(), "soft");
    EXPECT_EQ(w.session.latest()->policy.to_text(), "soft");
    w.session.set_policy(policy("k=99"));
    EXPECT_EQ(w.idle()->policy.to_text(), "soft");
    EXPECT_TRUE(has_notice(*w.session.latest(), "bad_policy"));
}

TEST(Session, SavesAndReplaysATrace) {
    const TempDir dir;
    const std::filesystem::path file = dir / "run.safetensors";
    Watched w;
    w.loaded("granitemoe");
    w.session.run(request("What is a llama?", 6, "k=2"));
    w.session.save_trace(file);
    ASSERT_TRUE(w.session.wait_idle(kPatience));
    // The save is quick and may come before the run's end; save the whole once more.
    w.session.save_trace(file);
    const State run = w.idle();
    EXPECT_TRUE(has_notice(*run, "saved"));

    Watched replay;                                        // no model
    replay.session.load_trace(file);
    const State shown = replay.idle();
    ASSERT_TRUE(shown->run);
    EXPECT_FALSE(shown->can_run());
    EXPECT_EQ(shown->run->text, run->run->text);
    EXPECT_EQ(shown->run->n_prompt_tokens, run->run->n_prompt_tokens);
    EXPECT_EQ(shown->run->request.prompt, "What is a llama?");
    EXPECT_EQ(shown->run->request.mode, PromptMode::kRaw);
    EXPECT_EQ(shown->run->request.policy.to_text(), "k=2");
    EXPECT_EQ(shown->policy.to_text(), "k=2");
    EXPECT_EQ(shown->run->trace.info().provenance, Provenance::kReplayed);
    EXPECT_NEAR(shown->run->bytes_per_token, run->run->bytes_per_token, 1);
    replay.session.request_gates(2, 1);
    EXPECT_EQ(replay.idle()->gates, nullptr);

    EXPECT_EQ(replay.loaded("granitemoe")->run->id, shown->run->id) << "the replayed run stays on screen";
    replay.session.request_gates(2, 1);
    ASSERT_TRUE(replay.idle()->gates);
    w.session.request_gates(2, 1);
    EXPECT_LT(max_difference(replay.session.latest()->gates->logits, w.idle()->gates->logits), 1e-4);
    replay.session.rerun_and_compare(policy("k=2"));
    const State again = replay.idle();
    EXPECT_EQ(again->run->text, run->run->text);
    ASSERT_TRUE(again->comparison);
    EXPECT_EQ(again->comparison->first_difference, -1);
    EXPECT_GT(again->comparison->a.tokens_per_s, 0);
}

TEST(Session, RefusesGatesOfAnotherModel) {
    const TempDir dir;
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello", 2));
    w.idle();
    w.loaded("granitemoe");
    w.session.request_gates(0, 0);
    const State state = w.idle();
    EXPECT_TRUE(has_notice(*state, "wrong_model"));
    EXPECT_EQ(state->gates, nullptr);
}

TEST(SessionFailure, ABadModelLeavesEverythingAsItWas) {
    const TempDir dir;
    test::write_bytes(dir / "not-a-model.gguf", "this is not a model at all, whatever its name says");
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello World", 4));
    const State before = w.idle();
    for (const auto& path : {dir / "missing.gguf", dir / "not-a-model.gguf", dir.path(), golden("bad/missing-tensor-blk.0.attn_q.weight.gguf")}) {
        const size_t n_notices = w.session.latest()->notices.size();
        w.session.load_model(path);
        const State after = w.idle();
        EXPECT_EQ(after->notices.size(), n_notices + 1) << path;
        EXPECT_TRUE(after->notices.back().is_error);
        EXPECT_EQ(after->run, before->run);
        EXPECT_EQ(after->model, before->model);
    }
    w.session.run(request("Hello World", 4));
    EXPECT_EQ(w.idle()->run->text, before->run->text);
}

TEST(SessionFailure, ABadTraceLeavesTheRunOnScreen) {
    const TempDir dir;
    test::write_bytes(dir / "corrupt.safetensors", std::string(100, '\xff'));
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello World", 4));
    const State before = w.idle();
    w.session.load_trace(dir / "corrupt.safetensors");
    const State after = w.idle();
    EXPECT_EQ(after->run, before->run);
    ASSERT_EQ(after->notices.size(), 1u);
    EXPECT_EQ(after->notices[0].error.kind, ErrorKind::kInput);
    w.session.dismiss_notice(after->notices[0].id);
    EXPECT_TRUE(w.session.latest()->notices.empty());
}

TEST(SessionFailure, CommandsThatNeedAModelSaySo) {
    Watched w;
    w.session.run(request("Hello"));
    w.session.step(request("Hello"));
    w.session.rerun_and_compare(policy("k=1"));
    w.session.request_sweep({.text = "text"});
    w.session.save_trace("/nonexistent/x");
    w.session.stop();
    w.session.resume();
    w.idle();
    w.session.cancel();
    const State state = w.idle();
    EXPECT_TRUE(has_notice(*state, "no_model"));
    EXPECT_TRUE(has_notice(*state, "no_run"));
    EXPECT_EQ(state->run, nullptr);
}

TEST(SessionFailure, ABadRequestLeavesTheRunOnScreen) {
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello World", 4));
    const State before = w.idle();
    w.session.run(request(""));
    w.session.run(request("Hello", 4, "k=99"));
    w.session.rerun_and_compare(policy("mask@0=50"));
    w.session.request_sweep({.text = ""});
    const State after = w.idle();
    EXPECT_EQ(after->run, before->run);
    for (const char* code : {"bad_policy", "text_too_short"}) EXPECT_TRUE(has_notice(*after, code)) << code;
    w.session.run(request(""));
    EXPECT_TRUE(has_notice(*w.idle(), "empty_prompt"));
    EXPECT_EQ(w.session.latest()->run, before->run);
}

TEST(SessionFailure, TheSameMessageIsShownOnce) {
    Watched w;
    for (int i = 0; i < 5; ++i) {
        w.session.load_model("/nonexistent/model.gguf");
        w.idle();
    }
    EXPECT_EQ(w.session.latest()->notices.size(), 1u);
}

TEST(Session, LoadsAnotherModelWhileTheRunStaysOnScreen) {
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello World", 4, "k=7"));
    const State before = w.idle();
    w.session.load_model(model_file("llama"));
    const State after = w.idle();
    EXPECT_EQ(after->run, before->run);
    EXPECT_FALSE(after->model->spec.is_moe());
    EXPECT_TRUE(after->policy.is_native()) << "a dense model has no k";
    EXPECT_TRUE(has_notice(*after, "policy_reset"));
    w.session.run(request("Hello World", 4));
    EXPECT_EQ(w.idle()->run->trace.n_moe_layers(), 0);
    w.session.request_sweep({.text = "text"});
    EXPECT_TRUE(has_notice(*w.idle(), "dense_model"));
}

TEST(Session, EstimatesFromTheHeader) {
    Watched w;
    w.session.inspect_model(model_file("mixtral"));
    State state = w.idle();
    ASSERT_TRUE(state->estimate);
    EXPECT_EQ(state->estimate->first, model_file("mixtral"));
    EXPECT_GT(state->estimate->second.total(), 0u);
    w.session.dismiss_estimate();
    EXPECT_FALSE(w.session.latest()->estimate);
    w.session.inspect_model("/nonexistent/model.gguf");
    state = w.idle();
    EXPECT_FALSE(state->estimate);
    EXPECT_EQ(state->notices.size(), 1u);
}

TEST(Session, EndsInTheMiddleOfAnything) {
    for (int i = 0; i < 4; ++i) {
        Watched w;
        w.session.load_model(model_file("granitemoe"));
        if (i > 0) w.session.run(request("What is a llama?", 500));
        if (i > 1) w.session.request_sweep({.text = "Some text that is swept over when the session ends"});
        if (i > 2) w.session.rerun_and_compare(policy("k=1"));
    }
}

TEST(SessionQueue, KnowsWhatReplacesWhat) {
    using enum CommandKind;
    EXPECT_TRUE(makes_pointless(kRun, kNone));
    EXPECT_TRUE(makes_pointless(kStop, kNone));
    EXPECT_FALSE(makes_pointless(kGates, kNone)) << "answered between two tokens";
    EXPECT_FALSE(makes_pointless(kSetPolicy, kNone));
    EXPECT_FALSE(makes_pointless(kLoadModel, kNone)) << "a load that fails leaves the run going";
    EXPECT_TRUE(makes_pointless(kLoadModel, kLoadModel));
    EXPECT_FALSE(makes_pointless(kRun, kLoadModel)) << "it waits for the model";
    EXPECT_TRUE(makes_pointless(kGates, kGates));
    EXPECT_FALSE(makes_pointless(kGates, kSweep));
    EXPECT_TRUE(makes_pointless(kSensitivity, kSensitivity));
    EXPECT_TRUE(makes_pointless(kSensitivity, kSchedule)) << "it is of the map before";
    EXPECT_FALSE(makes_pointless(kSchedule, kSensitivity)) << "it waits for the map";
    EXPECT_TRUE(makes_pointless(kCancel, kSchedule));
    EXPECT_TRUE(replaces(kRun, kRerun));
    EXPECT_FALSE(replaces(kSaveTrace, kSaveTrace));
    EXPECT_TRUE(is_quick(kGates, kLoadModel));
    EXPECT_FALSE(is_quick(kRun, kSweep));
}

}  // namespace
}  // namespace gs
