// The pinned run and the diff with what is on screen.
#include <gtest/gtest.h>

#include "engine/io/trace_file.h"
#include "tests/run/session_fixture.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace gs::test {
namespace {

/// Saved to a file of its own.
std::filesystem::path file_of(const TempDir& dir, const char* name, const MakeTrace& make) {
    EXPECT_TRUE(save_trace(make_trace(make), dir / name));
    return dir / name;
}

TEST(SessionPin, StaysWhenOtherRunsAreLoadedAndIsComparedWithThem) {
    const TempDir dir;
    Watched w;
    w.session.load_trace(file_of(dir, "a.safetensors", {.n_tokens = 20}));
    w.session.pin_run();
    State state = w.idle();
    ASSERT_NE(state->pinned, nullptr);
    EXPECT_EQ(state->pinned, state->run);
    EXPECT_EQ(state->diff, nullptr) << "a run beside itself says nothing";
    w.session.load_trace(file_of(dir, "b.safetensors", {.n_tokens = 20, .policy = "k=1"}));
    state = w.idle();
    EXPECT_NE(state->pinned, state->run);
    ASSERT_NE(state->diff, nullptr);
    EXPECT_EQ(state->diff->run_a, state->pinned->id);
    EXPECT_EQ(state->diff->run_b, state->run->id);
    EXPECT_EQ(state->diff->pairs.size(), 20u);
    EXPECT_EQ(state->diff->flips.size(), 15u * 4) << "the decoded part, in every layer";
    w.session.load_trace(file_of(dir, "c.safetensors", {.n_tokens = 20, .n_layers = 5}));
    state = w.idle();
    ASSERT_NE(state->diff, nullptr);
    EXPECT_FALSE(state->diff->comparable());
}

TEST(SessionPin, SwapsAndLetsGo) {
    const TempDir dir;
    Watched w;
    w.session.load_trace(file_of(dir, "a.safetensors", {.n_tokens = 20}));
    w.session.pin_run();
    w.session.load_trace(file_of(dir, "b.safetensors", {.n_tokens = 20, .policy = "k=1"}));
    const State before = w.idle();
    w.session.swap_pinned();
    const State swapped = w.idle();
    EXPECT_EQ(swapped->pinned, before->run);
    EXPECT_EQ(swapped->run, before->pinned);
    ASSERT_NE(swapped->diff, nullptr);
    EXPECT_EQ(swapped->diff->run_a, before->run->id);
    EXPECT_DOUBLE_EQ(swapped->diff->agreement, before->diff->agreement);
    w.session.unpin();
    const State free = w.idle();
    EXPECT_EQ(free->pinned, nullptr);
    EXPECT_EQ(free->diff, nullptr);
    EXPECT_EQ(free->baseline(), free->previous);
}

TEST(SessionPin, SaysThatThereIsNothingToPinOrToExport) {
    Watched w;
    w.session.pin_run();
    EXPECT_TRUE(has_notice(*w.idle(), "no_run"));
    bool called = false;
    w.session.export_run("/nowhere/x", [&](const TraceSnapshot&, const std::filesystem::path&) {
        called = true;
        return Result<void>();
    });
    w.idle();
    EXPECT_FALSE(called);
}

TEST(SessionPin, ARunUnderAnotherPolicyIsComparedWithTheOneBeforeAndWithThePinnedOne) {
    Watched w;
    w.loaded("mixtral");
    w.session.run(request("Hello World", 6));
    const State first = w.idle();
    w.session.pin_run();
    w.session.rerun_and_compare(policy("k=1"));
    const State second = w.idle();
    ASSERT_NE(second->diff, nullptr);
    EXPECT_EQ(second->diff->run_a, first->run->id);
    EXPECT_EQ(second->diff->run_b, second->run->id);
    EXPECT_GT(second->diff->flips.size(), 0u);
    EXPECT_EQ(second->diff->n_tokens_b, second->run->trace.n_tokens()) << "of the whole run, not of a part of it";
    w.session.load_model(model_file("olmoe"));
    const State other = w.idle();
    EXPECT_EQ(other->pinned, first->run) << "another model does not let go of it";
}

TEST(SessionPin, AnImportedRunSaysWhatItLacks) {
    const TempDir dir;
    write_bytes(dir / "route.txt", "0 0 1 3:0.6000 1:0.4000\n1 0 2 5:0.5500 1:0.4500\n");
    Watched w;
    w.session.load_trace(dir / "route.txt");
    const State state = w.idle();
    ASSERT_NE(state->run, nullptr);
    EXPECT_FALSE(state->run->trace.has_logits());
    ASSERT_TRUE(has_notice(*state, "imported"));
    EXPECT_FALSE(state->notices.front().is_error);
    EXPECT_NE(state->notices.front().error.why.find("no router logits"), std::string::npos);
}

}  // namespace
}  // namespace gs::test
