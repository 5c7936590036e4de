// Costs against counts made by hand, and two models beside each other.
#include "engine/run/cost.h"

#include <cmath>

#include "engine/run/evaluate.h"
#include "engine/run/generator.h"
#include "engine/run/side_by_side.h"
#include "tests/run/planted_layer.h"

namespace gs {
namespace {

using namespace test;

/// Two layers, one MoE layer of four experts: all sizes chosen so that they can be added up on paper.
CostModel by_hand() {
    CostModel m;
    m.spec.n_layers = 2, m.spec.n_embd = 10, m.spec.n_heads = 2, m.spec.head_dim_k = 3, m.spec.head_dim_v = 5, m.spec.expert_ff = 7;
    m.spec.router.n_experts = 4, m.spec.router.n_used = 2, m.spec.moe_layers = {1};
    m.spec.attention.resize(2);
    m.total_params = 2000, m.active_params = 2000 - 2 * 210, m.lookup_params = 300;
    m.weight_bytes = 4000, m.dense_bytes_per_token = 1000, m.expert_bytes = 420, m.kv_bytes_per_position = 16;
    return m;
}

TEST(Cost, AddsUpByHand) {
    const CostModel m = by_hand();
    ASSERT_EQ(m.expert_params(), 210u);
    const TokenCost native = token_cost(m, 100);
    EXPECT_EQ(native.active_params, 1580);
    EXPECT_EQ(native.flops_weights, 2 * (1580 - 300));
    EXPECT_EQ(native.flops_attention, 2 * (2.0 * 2 * (3 + 5) * 100));
    EXPECT_EQ(native.bytes_weights, 1000 + 2 * 420);
    EXPECT_EQ(native.bytes_cache, 1600);
    EXPECT_EQ(native.memory(), 4000 + 1600);
    EXPECT_EQ(token_cost(m, 100, 1).active_params, 1580 - 210);
    EXPECT_EQ(token_cost(m, 100, 1).bytes_weights, 1000 + 420);
    const TokenCost total = dense_of_same_total(m, 100);
    EXPECT_EQ(total.active_params, 2000);
    EXPECT_EQ(total.bytes_weights, 1000 + 4 * 420);
    EXPECT_EQ(total.flops_weights, 2 * 1700);
    const TokenCost active = dense_of_same_active(m, 100);
    EXPECT_EQ(active.total_params, 1580);
    EXPECT_EQ(active.memory_weights, 4000 - 2 * 420);
    EXPECT_EQ(active.flops(), native.flops());
}

TEST(Cost, WindowsAndChunksSeeNoMoreThanTheyHold) {
    CostModel m = by_hand();
    m.spec.attention[0].window = 30;
    m.spec.attention[1].chunk = 64;
    const double per_key = 2.0 * 2 * (3 + 5);
    EXPECT_EQ(attention_flops(m.spec, 20), per_key * (20 + 20));
    EXPECT_EQ(attention_flops(m.spec, 64), per_key * (30 + 64));
    EXPECT_EQ(attention_flops(m.spec, 65), per_key * (30 + 1));
}

TEST(Cost, OfTheModelsOwnKIsWhatInfoAndTheEngineSay) {
    for (const char* name : {"mixtral", "granitemoe-shared", "deepseek2-lite", "llama4", "qwen2moe"}) {
        const auto model = golden_model(name);
        const auto decoder = make_decoder(model);
        const CostModel m = cost_model(make_model_card(*decoder));
        const auto estimate = estimate_model(model->path, decoder->n_ctx());
        ASSERT_TRUE(estimate);
        const CostModel from_file = cost_model(*estimate, KvType::kF16);
        const TokenCost cost = token_cost(m, 50), of_file = token_cost(from_file, 50);
        EXPECT_EQ(cost.active_params, static_cast<double>(estimate->active_params)) << name;
        EXPECT_EQ(cost.total_params, static_cast<double>(estimate->total_params));
        EXPECT_EQ(cost.flops(), of_file.flops()) << name;
        EXPECT_EQ(cost.bytes_weights, of_file.bytes_weights);
        EXPECT_EQ(cost.memory_weights, static_cast<double>(estimate->weight_bytes));
        TraceInfo info = make_trace_info(*decoder, {}, "raw");
        EXPECT_EQ(cost.bytes_weights, bytes_per_token(info, model->spec.router.n_used)) << name;
        EXPECT_GT(cost.flops_weights, 0);
        EXPECT_LE(cost.flops_weights, 2 * static_cast<double>(estimate->active_params));
    }
}

TEST(Cost, PriceOfAMachine) {
    EXPECT_DOUBLE_EQ(usd_per_million(3.6, 100), 3.6 / 360000 * 1e6);
    EXPECT_EQ(usd_per_million(0, 100), 0);
    EXPECT_EQ(usd_per_million(1, 0), 0);
}

TEST(SideBySide, BothAnswerAndAreScoredAsAlone) {
    const auto moe = golden_model("mixtral"), other = golden_model("granitemoe");
    const auto a = make_decoder(moe), b = make_decoder(other);
    SideRequest request{.run = {.prompt = "Hello World", .mode = PromptMode::kRaw, .max_new_tokens = 5, .sampler = {.temperature = 0}}, .text = "A llama is an animal of the Andes.", .text_name = "x"};
    double last = 0;
    const auto result = run_side_by_side(*a, *b, request, [&](const SideBySide&, double fraction) {
        EXPECT_GE(fraction, last);
        last = fraction;
    });
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(result->complete);
    EXPECT_EQ(last, 1);
    std::vector<int32_t> ids = moe->tokenizer->encode(request.text, SpecialTokens::kAsText);
    moe->tokenizer->add_bos(ids);
    const std::vector<Policy> native = {Policy{}};
    const auto score = score_policies(*a, ids, Policy{}, native, {});
    ASSERT_TRUE(score);
    EXPECT_DOUBLE_EQ(result->a.perplexity, (*score)[0].perplexity);
    EXPECT_EQ(result->a.n_scored, (*score)[0].n_scored);
    EXPECT_EQ(result->a.timings.decode_tokens, 5);
    EXPECT_GT(result->b.bits_per_byte, 0);
    EXPECT_EQ(result->same_tokens, result->tokens_note.empty());
    EXPECT_EQ(result->same_tokens, moe->tokenizer->model() == other->tokenizer->model() && moe->tokenizer->n_tokens() == other->tokenizer->n_tokens()) << result->tokens_note;
    EXPECT_EQ(compare_tokenizers(*moe, *moe, request.text), "");
}

}  // namespace
}  // namespace gs
