#include "engine/routing/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "tests/support/check_capture.h"
#include "tests/support/make_trace.h"

namespace gs {
namespace {

TraceInfo small_info(int n_layers = 2, int n_experts = 4) {
    return test::make_trace_info({.n_layers = n_layers, .router = {.n_experts = n_experts, .n_used = 1}});
}

/// A row whose every number follows from token and layer, so that any reader can check it.
void put(TraceWriter& writer, int token, int row, int n_layers, int n_experts) {
    for (int m = 0; m < n_layers; ++m) {
        std::vector<float> logits(static_cast<size_t>(n_experts));
        for (int e = 0; e < n_experts; ++e) logits[e] = static_cast<float>(token * 1000 + m * 100 + e);
        const int k = 1 + (token + m) % n_experts;  // another k in every row and layer
        std::vector<int32_t> ids(static_cast<size_t>(k));
        std::vector<float> weights(ids.size());
        for (int j = 0; j < k; ++j) ids[j] = (token + j) % n_experts, weights[j] = static_cast<float>(token) + static_cast<float>(j) / 8;
        writer.set_route(m, row, logits, ids, weights);
    }
}

bool row_is_right(const TraceSnapshot& trace, int token, int m) {
    const int n_experts = trace.n_experts(), k = 1 + (token + m) % n_experts;
    if (trace.token(token).id != token || trace.token(token).text != std::to_string(token)) return false;
    const auto logits = trace.logits(m, token);
    const auto ids = trace.ids(m, token);
    const auto weights = trace.weights(m, token);
    if (static_cast<int>(ids.size()) != k || static_cast<int>(weights.size()) != k) return false;
    for (int e = 0; e < n_experts; ++e) {
        if (logits[e] != static_cast<float>(token * 1000 + m * 100 + e)) return false;
    }
    for (int j = 0; j < k; ++j) {
        if (ids[j] != (token + j) % n_experts || weights[j] != static_cast<float>(token) + static_cast<float>(j) / 8) return false;
    }
    return true;
}

TokenRow numbered(int token) {
    TokenRow row;
    row.id = token;
    row.text = std::to_string(token);
    return row;
}

TEST(Trace, AnEmptySnapshotIsHarmless) {
    const TraceSnapshot none;
    EXPECT_TRUE(none.empty());
    EXPECT_EQ(none.n_moe_layers(), 0);
    EXPECT_EQ(none.info().model_name, "");
    EXPECT_CHECK_FAILS(none.token(0), "outside the snapshot");
    EXPECT_TRUE(TraceWriter(small_info()).snapshot().empty());
}

TEST(Trace, RowsAppearOnlyWhenPublished) {
    TraceWriter writer(small_info());
    const std::vector<TokenRow> rows = {numbered(0), numbered(1)};
    writer.begin_tokens(rows, Policy{});
    put(writer, 0, 0, 2, 4);
    put(writer, 1, 1, 2, 4);
    EXPECT_EQ(writer.n_tokens(), 0);
    EXPECT_TRUE(writer.snapshot().empty());
    writer.publish();
    EXPECT_EQ(writer.snapshot().n_tokens(), 2);
    EXPECT_TRUE(row_is_right(writer.snapshot(), 1, 1));
}

TEST(Trace, KeepsEveryRowOverManyChunks) {
    TraceWriter writer(small_info(3, 5));
    std::vector<TraceSnapshot> snapshots;
    int token = 0;
    for (int batch : {1, 63, 1, 64, 128, 300, 1, 1, 700}) {
        std::vector<TokenRow> rows;
        for (int i = 0; i < batch; ++i) rows.push_back(numbered(token + i));
        writer.begin_tokens(rows, Policy{});
        for (int i = 0; i < batch; ++i) put(writer, token + i, i, 3, 5);
        writer.publish();
        token += batch;
        snapshots.push_back(writer.snapshot());
        EXPECT_EQ(snapshots.back().n_tokens(), token);
    }
    for (const TraceSnapshot& s : snapshots) {  // older snapshots too: they share the chunks
        for (int t = 0; t < s.n_tokens(); ++t) {
            for (int m = 0; m < 3; ++m) ASSERT_TRUE(row_is_right(s, t, m)) << t;
        }
    }
    EXPECT_CHECK_FAILS(snapshots.front().token(1), "outside the snapshot");
}

TEST(Trace, AbandonedRowsLeaveNothingBehind) {
    TraceWriter writer(small_info());
    const std::vector<TokenRow> wrong = {numbered(7), numbered(8)}, right = {numbered(0)};
    writer.begin_tokens(wrong, *Policy::parse("k=2"));
    put(writer, 7, 0, 2, 4);
    writer.abandon();
    writer.begin_tokens(right, Policy{});
    put(writer, 0, 0, 2, 4);
    writer.publish();
    EXPECT_EQ(writer.n_tokens(), 1);
    EXPECT_TRUE(row_is_right(writer.snapshot(), 0, 0));
    EXPECT_TRUE(writer.snapshot().policy(0).is_native());
}

TEST(Trace, RemembersThePolicyOfEachToken) {
    TraceWriter writer(small_info());
    const char* const texts[] = {"native", "k=1", "native", "k=1,mask@0=2"};
    for (int t = 0; t < 4; ++t) {
        const TokenRow row = numbered(t);
        writer.begin_tokens(std::span(&row, 1), *Policy::parse(texts[t]));
        put(writer, t, 0, 2, 4);
        writer.publish();
    }
    const TraceSnapshot s = writer.snapshot();
    for (int t = 0; t < 4; ++t) EXPECT_EQ(s.policy(t).to_text(), texts[t]);
    EXPECT_EQ(s.token(0).policy, s.token(2).policy) << "equal policies have one number";
}

TEST(Trace, ScoresCanComeAfterTheForwardPass) {
    TraceWriter writer(small_info(0));
    const std::vector<TokenRow> rows = {numbered(0), numbered(1)};
    writer.begin_tokens(rows, Policy{});
    writer.set_scores(1, -0.5f, 2.0f);
    writer.publish();
    EXPECT_EQ(writer.snapshot().token(1).logprob, -0.5f);
    EXPECT_EQ(writer.snapshot().token(1).entropy, 2.0f);
}

TEST(Trace, RevisionsDifferWheneverTheContentDoes) {
    std::set<uint64_t> seen = {TraceSnapshot{}.revision()};
    for (int run = 0; run < 3; ++run) {
        TraceWriter writer(small_info(0));
        EXPECT_TRUE(seen.insert(writer.snapshot().revision()).second);
        for (int t = 0; t < 3; ++t) {
            const TokenRow row = numbered(t);
            writer.begin_tokens(std::span(&row, 1), Policy{});
            writer.publish();
            EXPECT_TRUE(seen.insert(writer.snapshot().revision()).second);
            EXPECT_EQ(writer.snapshot().revision(), writer.snapshot().revision());
        }
    }
}

TEST(Trace, RefusesRowsThatBreakItsContract) {
    TraceWriter writer(small_info());
    const TokenRow row = numbered(0);
    writer.begin_tokens(std::span(&row, 1), Policy{});
    const std::vector<float> logits(4), one(1);
    EXPECT_CHECK_FAILS(writer.publish(), "every MoE layer");
    EXPECT_CHECK_FAILS(writer.set_route(2, 0, logits, std::vector<int32_t>{0}, one), "no such MoE layer");
    EXPECT_CHECK_FAILS(writer.set_route(0, 1, logits, std::vector<int32_t>{0}, one), "not begun");
    EXPECT_CHECK_FAILS(writer.set_route(0, 0, logits, std::vector<int32_t>{4}, one), "out of range");
    EXPECT_CHECK_FAILS(writer.set_route(0, 0, logits, std::vector<int32_t>{0}, {}), "one weight for each id");
    EXPECT_CHECK_FAILS(writer.set_route(0, 0, one, std::vector<int32_t>{0}, one), "one logit");
}

TEST(Trace, ARowMayHaveNoExpertButNotBeUnset) {
    TraceWriter writer(small_info());
    const TokenRow row = numbered(0);
    writer.begin_tokens(std::span(&row, 1), Policy{});
    const std::vector<float> logits(4), one(1);
    writer.set_route(0, 0, logits, std::vector<int32_t>{}, {});
    EXPECT_CHECK_FAILS(writer.publish(), "every MoE layer");
    writer.set_route(1, 0, logits, std::vector<int32_t>{2}, one);
    writer.publish();
    EXPECT_TRUE(writer.snapshot().ids(0, 0).empty());
    EXPECT_EQ(writer.snapshot().ids(1, 0).size(), 1u);
}

TEST(Trace, ReadersSeeWholeRowsWhileTheWriterAppends) {
    constexpr int kTokens = 1500, kLayers = 3, kExperts = 5;
    TraceWriter writer(small_info(kLayers, kExperts));
    std::mutex mutex;  // how the session hands its latest snapshot over
    TraceSnapshot latest;
    std::atomic<bool> done{false};
    std::atomic<int> n_wrong{0}, n_read{0};
    const auto read = [&] {
        while (!done) {
            TraceSnapshot s;
            {
                const std::lock_guard lock(mutex);
                s = latest;
            }
            const TraceSnapshot direct = writer.snapshot();  // from another thread than the writer's: allowed too
            for (const TraceSnapshot* trace : std::initializer_list<const TraceSnapshot*>{&s, &direct}) {
                const int n = trace->n_tokens();
                for (int t : {0, n / 2, n - 2, n - 1}) {
                    for (int m = 0; t >= 0 && t < n && m < kLayers; ++m) n_wrong += !row_is_right(*trace, t, m), ++n_read;
                }
            }
        }
    };
    std::thread a(read), b(read);
    for (int t = 0; t < kTokens; ++t) {
        const TokenRow row = numbered(t);
        writer.begin_tokens(std::span(&row, 1), t % 100 < 50 ? Policy{} : *Policy::parse("k=" + std::to_string(1 + t % 7)));
        put(writer, t, 0, kLayers, kExperts);
        if (t % 11 == 5) {  // begun, filled, dropped, begun again
            writer.abandon();
            writer.begin_tokens(std::span(&row, 1), Policy{});
            put(writer, t, 0, kLayers, kExperts);
        }
        writer.publish();
        const std::lock_guard lock(mutex);
        latest = writer.snapshot();
    }
    while (n_read < 1000) std::this_thread::yield();
    done = true;
    a.join();
    b.join();
    EXPECT_EQ(n_wrong, 0);
}

TEST(Trace, ASnapshotOutlivesItsWriter) {
    TraceSnapshot s;
    {
        TraceWriter writer(small_info());
        const TokenRow row = numbered(0);
        writer.begin_tokens(std::span(&row, 1), Policy{});
        put(writer, 0, 0, 2, 4);
        writer.publish();
        TraceWriter moved = std::move(writer);
        s = moved.snapshot();
    }
    EXPECT_TRUE(row_is_right(s, 0, 1));
}

TEST(Trace, NamesWhereNumbersComeFrom) {
    EXPECT_STREQ(name_of(Provenance::kComputed), "computed");
    EXPECT_STREQ(name_of(Provenance::kWhatIf), "what-if");
    EXPECT_STREQ(name_of(Provenance::kReplayed), "replayed");
    EXPECT_STREQ(name_of(Phase::kPrefill), "prefill");
    EXPECT_STREQ(name_of(Phase::kDecode), "decode");
}

TEST(MakeTrace, HoldsTheInvariantsOfATrace) {
    const TraceSnapshot s = test::make_trace({.n_tokens = 70, .n_layers = 5, .n_dense = 2, .selection_bias = true, .policy = "k=2"});
    ASSERT_EQ(s.n_tokens(), 70);
    ASSERT_EQ(s.n_moe_layers(), 3);
    for (int t = 0; t < s.n_tokens(); ++t) {
        for (int m = 0; m < 3; ++m) {
            const auto ids = s.ids(m, t);
            EXPECT_EQ(ids.size(), s.token(t).phase == Phase::kPrefill ? 4u : 2u);
            EXPECT_EQ(std::set<uint16_t>(ids.begin(), ids.end()).size(), ids.size()) << "distinct";
        }
    }
    std::string why;
    EXPECT_TRUE(
        test::same_run(s, test::make_trace({.n_tokens = 70, .n_layers = 5, .n_dense = 2, .selection_bias = true, .policy = "k=2"}), &why))
        << why;
    EXPECT_FALSE(
        test::same_run(s, test::make_trace({.n_tokens = 70, .n_layers = 5, .n_dense = 2, .selection_bias = true, .seed = 2}), &why));
}

}  // namespace
}  // namespace gs
