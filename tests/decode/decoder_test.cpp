#include "engine/decode/decoder.h"

#include <cmath>
#include <limits>

#include "tests/decode/decoder_fixture.h"
#include "tests/support/check_capture.h"

namespace gs {
namespace {

using namespace test;

// f32 sums over rows as long as the model is wide, in another order: relative errors of some sqrt(576) units of 2^-24, on logits of about 20.
constexpr double kOtherOrder = 2e-3;

TEST(Decoder, CutsLongInputIntoBatches) {
    const auto model = golden_model("mixtral");
    const std::vector<int32_t> ids = some_ids(*model, 23);
    const Pass whole = run_pass(*make_decoder(model), ids), cut = run_pass(*make_decoder(model, {.max_batch = 5}), ids);
    EXPECT_LT(max_difference(whole.logits, cut.logits), kOtherOrder);
    ASSERT_EQ(cut.routes.size(), whole.routes.size());
    std::vector<int> seen(ids.size(), 0);
    for (const RouteList::Row& row : cut.routes) ++seen[static_cast<size_t>(row.row)];
    for (const int n : seen) EXPECT_EQ(n, 2) << "each row once per layer, counted from the start of the call";
}

TEST(Decoder, SendsOnlyRequestedRowsThroughTheHead) {
    const auto model = golden_model("llama");
    const std::vector<int32_t> ids = some_ids(*model, 40);
    const auto head_outputs = [&](LogitRows rows) {
        const auto ops = std::make_shared<LimitedOps>(exact_ops());
        const auto decoder = make_decoder(model, {}, ops);
        EXPECT_TRUE(decoder->forward(ids, 0, rows));
        return ops->n_linear_rows;
    };
    const int64_t without = head_outputs(LogitRows::kNone);
    EXPECT_EQ(head_outputs(LogitRows::kLast) - without, model->spec.n_vocab);
    EXPECT_EQ(head_outputs(LogitRows::kAll) - without, 40LL * model->spec.n_vocab);
}

TEST(Decoder, LastRowIsTheLastOfAllRows) {
    const auto model = golden_model("olmoe");
    const std::vector<int32_t> ids = some_ids(*model, 12);
    const Pass all = run_pass(*make_decoder(model), ids);
    const auto decoder = make_decoder(model);
    ASSERT_TRUE(decoder->forward(ids, 0, LogitRows::kLast));
    const auto last = std::span<const float>(all.logits).last(static_cast<size_t>(model->spec.n_vocab));
    EXPECT_LT(max_difference(decoder->logits(0), last), kOtherOrder);
    EXPECT_CHECK_FAILS(decoder->logits(1), "no such row");
    ASSERT_TRUE(decoder->forward(ids, 0, LogitRows::kNone));
    EXPECT_CHECK_FAILS(decoder->logits(0), "no such row");
}

TEST(Decoder, HandsRowsOverInsteadOfKeepingThem) {
    const auto model = golden_model("qwen3");
    const std::vector<int32_t> ids = some_ids(*model, 70);     // more than the head takes at a time
    const Pass kept = run_pass(*make_decoder(model), ids);
    const auto decoder = make_decoder(model);
    std::vector<float> handed;
    int expected_row = 0;
    decoder->set_logit_function([&](int row, std::span<const float> logits) {
        EXPECT_EQ(row, expected_row++);
        handed.insert(handed.end(), logits.begin(), logits.end());
    });
    ASSERT_TRUE(decoder->forward(ids, 0, LogitRows::kAll));
    EXPECT_EQ(handed, kept.logits);
    EXPECT_CHECK_FAILS(decoder->logits(0), "no such row");
}

TEST(Decoder, OverwritesPositionsOnReprefill) {
    const auto model = golden_model("granitemoe");
    const std::vector<int32_t> ids = some_ids(*model, 20);
    const auto decoder = make_decoder(model);
    const Pass first = run_pass(*decoder, ids);
    run_pass(*decoder, std::vector<int32_t>(ids.rbegin(), ids.rend()));
    EXPECT_EQ(run_pass(*decoder, ids).logits, first.logits);
}

TEST(Decoder, SaysWhenTheContextIsFull) {
    const auto model = golden_model("llama");
    const auto decoder = make_decoder(model, {.n_ctx = 16});
    const std::vector<int32_t> ids = some_ids(*model, 10);
    ASSERT_TRUE(decoder->forward(ids, 6, LogitRows::kLast));
    const Result<void> over = decoder->forward(ids, 7, LogitRows::kLast);
    ASSERT_FALSE(over);
    EXPECT_EQ(over.error().code, "context_full");
    EXPECT_EQ(over.error().kind, ErrorKind::kRun);
}

TEST(Decoder, NamesTheSizesWhenMemoryRunsOut) {
    const auto model = golden_model("mixtral");
    const auto limited = [&](size_t n_floats) {
        const auto ops = std::make_shared<LimitedOps>(exact_ops());
        ops->n_floats_left = n_floats;
        return Decoder::create(model, ops, {.n_ctx = 256});
    };
    for (const size_t n_floats : {size_t{0}, size_t{20000}, size_t{60000}}) {
        const auto decoder = limited(n_floats);
        ASSERT_FALSE(decoder) << n_floats;
        EXPECT_EQ(decoder.error().code, "out_of_memory");
        EXPECT_NE(decoder.error().why.find("256 tokens"), std::string::npos);
        EXPECT_NE(decoder.error().why.find("MB"), std::string::npos);
    }
    EXPECT_TRUE(limited(SIZE_MAX));
}

TEST(Decoder, CountsItsMemory) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model, {.n_ctx = 100});
    const ModelSpec& s = model->spec;
    EXPECT_EQ(decoder->kv_bytes(), static_cast<uint64_t>(s.n_layers * 100 * s.n_kv_heads * (s.head_dim_k + s.head_dim_v)) * kv_value_bytes(decoder->ops().kv_type()));
    EXPECT_GT(decoder->work_bytes(), 0u);
    EXPECT_EQ(decoder->n_ctx(), 100);
}

TEST(DecoderCancel, EndsInTheMiddleOfALongHead) {
    const auto model = golden_model("qwen3");
    const std::vector<int32_t> ids = some_ids(*model, 70);
    const auto decoder = make_decoder(model);
    CancelFlag cancel;
    size_t n_rows = 0;
    decoder->set_logit_function([&](int, std::span<const float>) {
        ++n_rows;
        cancel.set();
    });
    const Result<void> ran = decoder->forward(ids, 0, LogitRows::kAll, &cancel);
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().kind, ErrorKind::kCancelled);
    EXPECT_LT(n_rows, ids.size());
}

TEST(DecoderCancel, DoesNoLayerWhenSetBefore) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model);
    RouteList routes;
    routes.flag.set();
    decoder->set_sink(&routes);
    const Result<void> ran = decoder->forward(some_ids(*model, 8), 0, LogitRows::kLast, &routes.flag);
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().kind, ErrorKind::kCancelled);
    EXPECT_EQ(routes.n_calls, 0);
}

TEST(DecoderCancel, EndsAfterTheLayerInWhichItIsSet) {
    const auto model = golden_model("granitemoe");
    for (int layer = 1; layer <= model->spec.n_layers; ++layer) {
        const auto decoder = make_decoder(model);
        RouteList routes;
        decoder->set_sink(&routes);
        int n_layers = 0;
        decoder->set_tap([&](Tap what, int, int, int, std::span<const float>) {
            if (what == Tap::kHidden && ++n_layers == layer) routes.flag.set();
        });
        const Result<void> ran = decoder->forward(some_ids(*model, 8), 0, LogitRows::kLast, &routes.flag);
        ASSERT_FALSE(ran);
        EXPECT_EQ(ran.error().kind, ErrorKind::kCancelled);
        EXPECT_EQ(n_layers, layer);
        EXPECT_EQ(routes.n_calls, 0) << "nothing is told of a batch that did not get through";
    }
}

TEST(DecoderNonfinite, IsReportedAndTheResultIsThere) {
    for (const char* file : {"router-nan-one-expert.gguf", "router-inf.gguf", "embedding-nan.gguf"}) {
        const auto model = load_once(golden(std::string("bad/") + file));
        ASSERT_TRUE(model);
        const auto decoder = make_decoder(model);
        const std::vector<int32_t> ids = {0, 1, 2};
        const Result<void> ran = decoder->forward(ids, 0, LogitRows::kAll);
        ASSERT_FALSE(ran) << file;
        EXPECT_EQ(ran.error().code, "nonfinite_weights");
        EXPECT_EQ(decoder->logits(2).size(), static_cast<size_t>(model->spec.n_vocab));
    }
}

/// Says of a batch that a logit was not finite.
class FlaggingOps final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    bool flags = false;
    void route(const RouteCall& call) override {
        ForwardingOps::route(call);
        if (flags) *call.nonfinite = 1;
    }
};

TEST(DecoderNonfinite, IsForgottenAfterThePassThatSawIt) {
    const auto model = golden_model("mixtral");
    const std::vector<int32_t> ids = some_ids(*model, 4);
    const auto ops = std::make_shared<FlaggingOps>(exact_ops());
    const auto decoder = make_decoder(model, {.n_ctx = 16}, ops);
    const auto ran_clean = [&] {
        ops->flags = false;
        return static_cast<bool>(decoder->forward(ids, 0, LogitRows::kLast));
    };
    ops->flags = true;
    EXPECT_EQ(decoder->forward(ids, 0, LogitRows::kLast).error().code, "nonfinite_weights");
    EXPECT_TRUE(ran_clean());
    ops->flags = true;
    EXPECT_TRUE(decoder->probe(ids[3], 3, 1));
    EXPECT_TRUE(ran_clean()) << "a probe's";
    CancelFlag cancel;
    decoder->set_tap([&](Tap, int layer, int, int, std::span<const float>) {
        if (layer == 1) cancel.set();
    });
    ops->flags = true;
    EXPECT_EQ(decoder->forward(ids, 0, LogitRows::kLast, &cancel).error().kind, ErrorKind::kCancelled);
    decoder->set_tap(nullptr);
    EXPECT_TRUE(ran_clean()) << "that of a pass cut short";
}

TEST(DecoderForwardFrom, IsTheRestOfTheWholePassToTheBit) {
    for (const char* name : {"granitemoe-shared", "deepseek2-lite", "gpt-oss", "llama4-local-base"}) {
        const auto model = golden_model(name);
        const auto decoder = make_decoder(model);
        const std::vector<int32_t> ids = some_ids(*model, 24);
        const std::span<const int32_t> before = std::span(ids).first(10), rest = std::span(ids).subspan(10);
        std::vector<std::vector<float>> hidden(static_cast<size_t>(model->spec.n_layers));
        run_pass(*decoder, before);
        decoder->set_tap([&](Tap tap, int l, int, int, std::span<const float> values) {
            if (tap == Tap::kHidden) hidden[static_cast<size_t>(l)].assign(values.begin(), values.end());
        });
        const Pass whole = run_pass(*decoder, rest, 10);
        decoder->set_tap(nullptr);
        for (int layer = model->spec.n_layers - 1; layer > 0; --layer) {
            RouteList routes;
            decoder->set_sink(&routes);
            ASSERT_TRUE(decoder->forward_from(layer, hidden[static_cast<size_t>(layer) - 1], 10, LogitRows::kAll));
            decoder->set_sink(nullptr);
            for (size_t r = 0; r < rest.size(); ++r) {
                const std::span<const float> row = decoder->logits(static_cast<int>(r));
                EXPECT_TRUE(std::equal(row.begin(), row.end(), whole.logits.begin() + static_cast<std::ptrdiff_t>(r * row.size()))) << name << " from layer " << layer;
            }
            const auto n_behind = std::count_if(model->spec.moe_layers.begin(), model->spec.moe_layers.end(), [&](int l) { return l >= layer; });
            EXPECT_EQ(routes.n_calls, n_behind) << "layers in front are not told of";
        }
    }
}

TEST(DecoderProbe, SeesWhatTheRunSaw) {
    for (const char* name : {"granitemoe-shared", "qwen2moe", "mixtral"}) {
        const auto model = golden_model(name);
        const std::vector<int32_t> ids = some_ids(*model, 9);
        const auto decoder = make_decoder(model);
        const auto width = static_cast<size_t>(model->spec.n_embd);
        const int position = 5, moe_layer = 1, layer = model->spec.moe_layers[1];
        std::vector<float> routed, shared;
        decoder->set_tap([&](Tap tap, int l, int first, int, std::span<const float> values) {
            if (l != layer) return;
            const auto row = values.subspan(static_cast<size_t>(position - first) * width, width);
            if (tap == Tap::kRoutedOutput) routed.assign(row.begin(), row.end());
            if (tap == Tap::kSharedOutput) shared.assign(row.begin(), row.end());
        });
        const Pass pass = run_pass(*decoder, ids);
        decoder->set_tap(nullptr);
        const Result<Decoder::Probe> probe = decoder->probe(ids[5], position, moe_layer);
        ASSERT_TRUE(probe);
        for (const RouteList::Row& row : pass.routes) {
            if (row.moe_layer != moe_layer || row.row != position) continue;
            EXPECT_LT(max_difference(probe->router_logits, row.logits), 1e-4) << name;
            std::vector<float> y(width, 0);
            for (size_t j = 0; j < row.ids.size(); ++j)
                for (size_t i = 0; i < width; ++i) y[i] += row.weights[j] * probe->expert_outputs[static_cast<size_t>(row.ids[j]) * width + i];
            EXPECT_LT(max_difference(y, routed), 1e-4) << name;
        }
        EXPECT_EQ(probe->shared_output.empty(), shared.empty()) << name;
        EXPECT_LT(max_difference(probe->shared_output, shared), 1e-4) << name;
    }
}

TEST(DecoderProbe, LeavesTheCacheAsItWas) {
    const auto model = golden_model("qwen3moe");
    const std::vector<int32_t> ids = some_ids(*model, 12), next = {ids[3]};
    const auto undisturbed = make_decoder(model), probed = make_decoder(model);
    run_pass(*undisturbed, ids);
    run_pass(*probed, ids);
    RouteList routes;
    probed->set_sink(&routes);
    for (const int position : {0, 4, 11}) ASSERT_TRUE(probed->probe(ids[static_cast<size_t>(position)], position, 1));
    EXPECT_EQ(routes.n_calls, 0) << "a probe is not part of the run";
    CancelFlag cancelled;
    cancelled.set();
    EXPECT_FALSE(probed->probe(ids[7], 7, 1, &cancelled));
    EXPECT_EQ(run_pass(*probed, next, 12).logits, run_pass(*undisturbed, next, 12).logits);
}

}  // namespace
}  // namespace gs
