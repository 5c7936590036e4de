// What it costs the device that somebody listens to the routing: nothing that it has to wait for.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/run/generator.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/decode/decoder_fixture.h"

namespace gs::test {
namespace {

class Capture : public testing::Test {
protected:
    void SetUp() override { cuda_emulation::set_deferred(true); }
    void TearDown() override { cuda_emulation::set_deferred(false); }

    struct Cost {
        uint64_t copies = 0, waits = 0;
        bool operator==(const Cost&) const = default;
    };
    /// Of one pass over `ids`.
    static Cost cost(Decoder& decoder, std::span<const int32_t> ids, int position, LogitRows rows, RouteSink* sink) {
        decoder.set_sink(sink);
        const cuda_emulation::Counters before = cuda_emulation::counters();
        EXPECT_TRUE(decoder.forward(ids, position, rows));
        const cuda_emulation::Counters after = cuda_emulation::counters();
        return {after.copies - before.copies, after.waits - before.waits};
    }
};

TEST_F(Capture, AStepCopiesAndWaitsNoMoreOftenThanWithoutIt) {
    for (const char* name : {"mixtral", "deepseek2-v3"}) {
        const auto decoder = make_decoder(golden_model(name), {.n_ctx = 32}, emulated());
        const std::vector<int32_t> ids = some_ids(decoder->model(), 8);
        RouteList routes;
        (void)cost(*decoder, std::span(ids).first(4), 0, LogitRows::kLast, &routes);   // the first step makes what later ones keep
        const Cost without = cost(*decoder, {&ids[4], 1}, 4, LogitRows::kLast, nullptr);
        const Cost with = cost(*decoder, {&ids[5], 1}, 5, LogitRows::kLast, &routes);
        EXPECT_EQ(with, without) << name << ": " << with.copies << " copies against " << without.copies;
        EXPECT_EQ(with.waits, 1u) << name << ": for the logits";
        EXPECT_EQ(routes.n_calls, 2 * static_cast<int>(decoder->model().spec.moe_layers.size()));
    }
}

TEST_F(Capture, LayersOnTheDeviceAheadOfOthersOnTheProcessorCostNoMoreEither) {
    const std::shared_ptr<const Model> model = golden_model("mixtral");
    const int n_layers = model->spec.n_layers;
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(model, {{emulated(), 0, 1}, {exact_ops(), 1, n_layers}}, {.n_ctx = 32});
    ASSERT_TRUE(decoder);
    const std::vector<int32_t> ids = some_ids(*model, 8);
    RouteList routes;
    (void)cost(**decoder, std::span(ids).first(4), 0, LogitRows::kLast, &routes);
    const Cost without = cost(**decoder, {&ids[4], 1}, 4, LogitRows::kLast, nullptr);
    const Cost with = cost(**decoder, {&ids[5], 1}, 5, LogitRows::kLast, &routes);
    EXPECT_EQ(with, without) << with.copies << " copies against " << without.copies;
    EXPECT_EQ(with.waits, 1u) << "for the hidden state";
    EXPECT_EQ(routes.n_calls, 2 * n_layers);
}

TEST_F(Capture, APassWithoutLogitsWaitsOnceToo) {
    const auto decoder = make_decoder(golden_model("mixtral"), {.n_ctx = 32}, emulated());
    const std::vector<int32_t> ids = some_ids(decoder->model(), 8);
    RouteList routes;
    (void)cost(*decoder, std::span(ids).first(4), 0, LogitRows::kNone, &routes);
    EXPECT_EQ(cost(*decoder, std::span(ids).last(4), 4, LogitRows::kNone, &routes).waits, 1u);
}

// Logits of every row are asked for where each token's probability is shown.
TEST_F(Capture, ABatchWaitsOnceForManyRowsOfLogits) {
    const auto decoder = make_decoder(golden_model("mixtral"), {.n_ctx = 64}, emulated());
    const std::vector<int32_t> ids = some_ids(decoder->model(), 40);
    RouteList routes;
    EXPECT_EQ(cost(*decoder, ids, 0, LogitRows::kAll, &routes).waits, 2u) << "32 rows and 8";
    EXPECT_EQ(routes.rows.size(), ids.size() * decoder->model().spec.moe_layers.size());
}

// The same rows as on the processor, whatever the batches: the block is laid out anew for each, and its memory used again.
TEST_F(Capture, EveryBatchTellsItsOwnRouting) {
    const std::shared_ptr<const Model> model = golden_model("deepseek2-v3");
    const std::vector<int32_t> ids = some_ids(*model, 11);
    const Pass expected = run_pass(*make_decoder(model, {.n_ctx = 32}), ids);
    for (const int max_batch : {1, 4, 11}) {
        const auto decoder = make_decoder(model, {.n_ctx = 32, .max_batch = max_batch}, emulated());
        RouteList routes;
        decoder->set_sink(&routes);
        ASSERT_TRUE(decoder->forward(ids, 0, LogitRows::kLast));
        ASSERT_EQ(routes.rows.size(), expected.routes.size());
        for (const RouteList::Row& row : routes.rows) {
            const auto same = std::find_if(expected.routes.begin(), expected.routes.end(),
                                           [&](const RouteList::Row& r) { return r.moe_layer == row.moe_layer && r.row == row.row; });
            ASSERT_NE(same, expected.routes.end());
            EXPECT_EQ(row.ids, same->ids);
            EXPECT_LT(max_difference(row.logits, same->logits), 1e-4);
            EXPECT_LT(max_difference(row.weights, same->weights), 1e-4);
        }
    }
}

TEST_F(Capture, ADeviceThatIsLostTellsNothing) {
    const std::shared_ptr<const Model> model = golden_model("mixtral");
    const std::vector<int32_t> ids = some_ids(*model, 4);
    for (const uint64_t n_calls : {1, 20, 60}) {
        const auto decoder = make_decoder(model, {.n_ctx = 32}, emulated());
        RouteList routes;
        decoder->set_sink(&routes);
        cuda_emulation::lose_device_after(n_calls);
        EXPECT_FALSE(decoder->forward(ids, 0, LogitRows::kLast));
        EXPECT_EQ(routes.n_calls, 0);
        cuda_emulation::lose_device_after(0);
    }
}

TEST_F(Capture, ARunOnADeviceThatIsLostEndsWithAnError) {
    const auto decoder = make_decoder(bundled_model(), {.n_ctx = 64, .max_batch = 16}, emulated());
    Result<std::unique_ptr<Generator>> generator = Generator::start(*decoder, {.prompt = "Once", .mode = PromptMode::kRaw, .max_new_tokens = 4}, 1);
    ASSERT_TRUE(generator);
    cuda_emulation::lose_device_after(40);
    const Result<void> stepped = (*generator)->step();
    cuda_emulation::lose_device_after(0);
    ASSERT_FALSE(stepped);
    EXPECT_EQ(stepped.error().code, "device_failed");
    EXPECT_EQ((*generator)->result().trace.n_tokens(), 0);
}

}  // namespace
}  // namespace gs::test
