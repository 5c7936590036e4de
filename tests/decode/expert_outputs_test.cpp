// The outputs of single experts: their weighted sum is the routed sum, on every back end, and looking changes nothing.
#include <cmath>

#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

struct Collected {
    std::vector<float> sums;                 ///< [M, T, D] Σ g f
    std::vector<float> routed;               ///< [M, T, D] as the tap has it
    int n_calls = 0;
};

Collected collect(Decoder& decoder, std::span<const int32_t> ids) {
    const ModelSpec& spec = decoder.model().spec;
    const auto width = static_cast<size_t>(spec.n_embd), n = ids.size();
    Collected out;
    out.sums.resize(spec.moe_layers.size() * n * width);
    out.routed.resize(out.sums.size());
    const auto row_of = [&](std::vector<float>& values, int moe_layer, size_t row) { return values.data() + (static_cast<size_t>(moe_layer) * n + row) * width; };
    decoder.set_expert_function([&](const ExpertOutputs& batch) {
        ++out.n_calls;
        const auto k = static_cast<size_t>(batch.k), rows = static_cast<size_t>(batch.n_rows);
        for (size_t t = 0; t < rows; ++t)
            for (size_t j = 0; j < k; ++j) {
                const float factor = spec.router.weigh_input ? 1 : batch.weights[t * k + j];
                float* sum = row_of(out.sums, batch.moe_layer, static_cast<size_t>(batch.first_row) + t);
                for (size_t i = 0; i < width; ++i) sum[i] += factor * batch.outputs[(j * rows + t) * width + i];
            }
    });
    decoder.set_tap([&](Tap what, int layer, int first_row, int n_rows, std::span<const float> values) {
        if (what != Tap::kRoutedOutput) return;
        const auto m = std::find(spec.moe_layers.begin(), spec.moe_layers.end(), layer) - spec.moe_layers.begin();
        std::copy_n(values.data(), static_cast<size_t>(n_rows) * width, row_of(out.routed, static_cast<int>(m), static_cast<size_t>(first_row)));
    });
    EXPECT_TRUE(decoder.forward(ids, 0, LogitRows::kNone));
    decoder.set_tap(nullptr);
    decoder.set_expert_function(nullptr);
    return out;
}

double largest(std::span<const float> values) {
    double most = 0;
    for (const float v : values) most = std::max(most, std::abs(static_cast<double>(v)));
    return most;
}

TEST(ExpertOutputs, AddUpToTheRoutedSum) {
    struct Case {
        const char* model;
        const char* policy;
    };
    for (const Case& c : {Case{"mixtral", "native"}, Case{"granitemoe-shared", "k=3"}, Case{"deepseek2-v3", "native"}, Case{"gpt-oss", "native"}, Case{"llama4", "k=2"}, Case{"olmoe", "soft"},
                          Case{"qwen2moe", "mask@1=0"}}) {
        const auto model = golden_model(c.model);
        for (const int max_batch : {512, 7}) {   // 22 tokens: one batch; three and a single one
            const auto decoder = make_decoder(model, {.max_batch = max_batch});
            decoder->set_policy(policy(c.policy));
            const Collected got = collect(*decoder, some_ids(*model, 22));
            EXPECT_EQ(got.n_calls, static_cast<int>(model->spec.moe_layers.size()) * (max_batch == 7 ? 4 : 1));
            EXPECT_GT(largest(got.routed), 0);
            EXPECT_LT(max_difference(got.sums, got.routed), 2e-5 * largest(got.routed)) << c.model << " " << c.policy << " " << max_batch;
        }
    }
}

TEST(ExpertOutputs, EveryBackEndGivesThem) {
    const auto model = golden_model("granitemoe-shared");
    const Collected expected = collect(*make_decoder(model, {}, std::shared_ptr<Ops>(make_reference_ops())), some_ids(*model, 9));
    for (const auto& ops : {exact_ops(), emulated()}) {
        ASSERT_NE(ops, nullptr);
        const Collected got = collect(*make_decoder(model, {.n_ctx = 32}, ops), some_ids(*model, 9));
        EXPECT_LT(max_difference(got.sums, expected.sums), 1e-4 * largest(expected.sums)) << ops->name();
    }
}

TEST(ExpertOutputs, LookingChangesNothing) {
    const auto model = golden_model("qwen3moe");
    const std::vector<int32_t> ids = some_ids(*model, 20);
    const auto decoder = make_decoder(model);
    const Pass plain = run_pass(*decoder, ids);
    int n_calls = 0;
    decoder->set_expert_function([&](const ExpertOutputs&) { ++n_calls; });
    const Pass looked = run_pass(*decoder, ids);
    EXPECT_GT(n_calls, 0);
    EXPECT_EQ(plain.logits, looked.logits);
    const int before = n_calls;
    ASSERT_TRUE(decoder->probe(ids[0], 20, 0));
    EXPECT_EQ(n_calls, before) << "a probe is none of its business";
    ASSERT_TRUE(decoder->forward(std::span(ids).first(1), 20, LogitRows::kLast));
    EXPECT_GT(n_calls, before) << "a single token too";
}

}  // namespace
}  // namespace gs
