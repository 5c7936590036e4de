// Every family of the table on random weights, the fast back end against the oracle.
#include <random>

#include "tests/decode/decoder_fixture.h"
#include "tests/model/family_files.h"

namespace gs {
namespace {

using namespace test;

/// A model whose file is kept in memory; without tokenizer.
struct RandomModel {
    Bytes bytes;
    std::shared_ptr<Model> model = std::make_shared<Model>();
};

/// Keys that switch on what a tiny file of the family leaves out.
void add_options(GgufBuilder& b, const FamilyRow& row, int n_layers) {
    const std::string arch = row.architecture;
    if (row.attention == AttentionKind::kWindowed) b.u32(arch + ".attention.sliding_window", 4);
    if (row.renormalise == Renormalise::kByKey)
        b.value<uint8_t>(arch + ".expert_weights_norm", GgufValueType::kBool, 1).f32(arch + ".expert_weights_scale", 2.5f);
    if (row.temperature) b.f32(arch + ".attention.temperature_scale", 0.5f).u32(arch + ".attention.temperature_length", 4);
    if (row.attention == AttentionKind::kChunked || row.attention == AttentionKind::kWindowed) b.f32(arch + ".rope.freq_base_swa", 500);
    if (row.clamp_qkv) b.f32(arch + ".attention.clamp_kqv", 0.5f);
    if (row.shared == SharedExpert::kBesideDense) b.f32(arch + ".final_logit_softcapping", 5).f32(arch + ".attn_logit_softcapping", 2);
    if (row.attention == AttentionKind::kLatent || row.attention == AttentionKind::kWindowed)
        b.text(arch + ".rope.scaling.type", "yarn").f32(arch + ".rope.scaling.factor", 4).f32(arch + ".rope.scaling.yarn_log_multiplier", 0.1f);
    for (int l = 0; l < n_layers; ++l) {
        const std::string blk = "blk." + std::to_string(l) + ".";
        if (row.dense_bias && row.experts == ExpertUse::kNever)
            b.tensor(blk + "ffn_gate.bias", {32}).tensor(blk + "ffn_up.bias", {32}).tensor(blk + "ffn_down.bias", {16});
        if (row.selection_bias == Presence::kOptional) b.tensor(blk + "exp_probs_b.bias", {4});
        const char* suffix = row.shared == SharedExpert::kOptional ? "_shexp" : row.shared == SharedExpert::kBesideDense ? "" : nullptr;
        if (!suffix) continue;
        b.tensor(blk + "ffn_gate" + suffix + ".weight", {16, 24}).tensor(blk + "ffn_up" + suffix + ".weight", {16, 24});
        b.tensor(blk + "ffn_down" + suffix + ".weight", {24, 16});
    }
}

RandomModel random_model(const FamilyRow& row, Reading reading) {
    constexpr int kLayers = 4;
    std::mt19937 random(7);
    GgufBuilder b = tiny_model(row.architecture, kLayers);
    add_options(b, row, kLayers);
    RandomModel out{b.fill(random, 0.6f).build()};
    const auto file = GgufFile::parse(out.bytes);
    EXPECT_TRUE(file);
    auto spec = read_model_spec(*file, reading);
    EXPECT_TRUE(spec) << row.architecture << ": " << (spec ? "" : spec.error().message());
    auto weights = bind_weights(*file, *spec, out.model->warnings);
    EXPECT_TRUE(weights) << row.architecture << ": " << (weights ? "" : weights.error().message());
    out.model->spec = std::move(*spec);
    out.model->weights = std::move(*weights);
    out.model->n_ctx = 64;
    return out;
}

// Rounding errors of f32 on logits of about 10, through four layers of random weights that do not shrink them.
constexpr double kClose = 2e-3;

TEST(FamilyRun, EveryRowComputesTheSameOnBothBackEnds) {
    const std::vector<int32_t> ids = {5, 1, 30, 7, 7, 0, 12, 31, 2, 19, 4};
    for (const FamilyRow& row : family_table())
        for (const Reading reading : {Reading::kLlamaCpp, Reading::kReference}) {
            const RandomModel random = random_model(row, reading);
            const std::string what = std::string(row.architecture) + ", " + std::string(name_of(reading));
            const Pass oracle = run_pass(*make_decoder(random.model, {}, make_reference_ops()), ids);
            const Pass fast = run_pass(*make_decoder(random.model), ids);
            EXPECT_LT(max_difference(oracle.logits, fast.logits), kClose) << what;
            ASSERT_EQ(oracle.routes.size(), fast.routes.size());
            for (size_t r = 0; r < oracle.routes.size(); ++r) EXPECT_EQ(oracle.routes[r].ids, fast.routes[r].ids) << what;
            EXPECT_GT(max_difference(oracle.logits, std::vector<float>(oracle.logits.size(), oracle.logits[0])), 0.01) << what << ": not all the same";
        }
}

TEST(FamilyRun, EveryRowGoesOnWhereItStopped) {
    const std::vector<int32_t> ids = {5, 1, 30, 7, 7, 0, 12, 31, 2, 19, 4};
    for (const FamilyRow& row : family_table()) {
        const RandomModel random = random_model(row, Reading::kLlamaCpp);
        const Pass whole = run_pass(*make_decoder(random.model), ids);
        const auto decoder = make_decoder(random.model);
        std::vector<float> pieces = run_pass(*decoder, std::span(ids).first(6)).logits;
        for (int t = 6; t < 11; ++t) {
            const Pass one = run_pass(*decoder, std::span(ids).subspan(static_cast<size_t>(t), 1), t);
            pieces.insert(pieces.end(), one.logits.begin(), one.logits.end());
        }
        EXPECT_LT(max_difference(whole.logits, pieces), kClose) << row.architecture;
    }
}

TEST(FamilyRun, LatentAttentionIsTheSameInBothLayouts) {
    // The old layout holds each head's key and value rows one after the other, the keys not transposed.
    std::mt19937 random(3);
    GgufBuilder current = tiny_model("deepseek2").fill(random, 0.6f);
    std::vector<float> k_b(4 * 16 * 2), v_b(16 * 8 * 2), both;
    std::uniform_real_distribution<float> value(-1, 1);
    for (float& v : k_b) v = value(random);
    for (float& v : v_b) v = value(random);
    for (size_t h = 0; h < 2; ++h) {
        for (size_t n = 0; n < 4; ++n)
            for (size_t r = 0; r < 16; ++r) both.push_back(k_b[(h * 16 + r) * 4 + n]);
        both.insert(both.end(), v_b.begin() + static_cast<std::ptrdiff_t>(h * 128), v_b.begin() + static_cast<std::ptrdiff_t>((h + 1) * 128));
    }
    const auto bytes_of = [](const std::vector<float>& values) {
        Bytes bytes;
        for (const float v : values) put(bytes, v);
        return bytes;
    };
    GgufBuilder old = current;
    current.tensor("blk.0.attn_k_b.weight", {4, 16, 2}, TensorType::kF32, bytes_of(k_b)).tensor("blk.0.attn_v_b.weight", {16, 8, 2}, TensorType::kF32, bytes_of(v_b));
    old.remove("deepseek2.attention.key_length_mla").remove("deepseek2.attention.value_length_mla");
    old.remove_tensor("blk.0.attn_k_b.weight").remove_tensor("blk.0.attn_v_b.weight");
    old.tensor("blk.0.attn_kv_b.weight", {16, 24}, TensorType::kF32, bytes_of(both));
    std::vector<std::vector<float>> logits;
    for (const GgufBuilder* b : {&current, &old}) {
        RandomModel model{b->build()};
        const auto file = GgufFile::parse(model.bytes);
        ASSERT_TRUE(file);
        model.model->spec = *read_model_spec(*file);
        model.model->weights = *bind_weights(*file, model.model->spec, model.model->warnings);
        model.model->n_ctx = 64;
        logits.push_back(run_pass(*make_decoder(model.model), std::vector<int32_t>{3, 9, 27, 1, 0, 5}).logits);
    }
    EXPECT_LT(max_difference(logits[0], logits[1]), kClose);
}

TEST(FamilyRun, LongFactorsDependOnTheReading) {
    // llama.cpp: on the context configured; the authors: on the tokens there are (section 5).
    std::mt19937 random(5);
    GgufBuilder b = tiny_model("phimoe").fill(random, 0.6f).u32("phimoe.rope.scaling.original_context_length", 4);
    Bytes one, many;
    for (int i = 0; i < 4; ++i) put(one, 1.0f), put(many, 8.0f);
    b.tensor("rope_factors_short.weight", {4}, TensorType::kF32, one).tensor("rope_factors_long.weight", {4}, TensorType::kF32, many);
    const std::vector<int32_t> ids = {3, 9, 27, 1, 0, 5};
    for (const Reading reading : {Reading::kLlamaCpp, Reading::kReference}) {
        RandomModel model{b.build()};
        const auto file = GgufFile::parse(model.bytes);
        ASSERT_TRUE(file);
        model.model->spec = *read_model_spec(*file, reading);
        model.model->weights = *bind_weights(*file, model.model->spec, model.model->warnings);
        const auto logits = [&](int n_ctx, size_t n) { return run_pass(*make_decoder(model.model, {.n_ctx = n_ctx}), std::span(ids).first(n)).logits; };
        const bool configured = max_difference(logits(4, 3), logits(32, 3)) > 1e-3;
        EXPECT_EQ(configured, reading == Reading::kLlamaCpp) << "three tokens in a context of 4 or 32";
        const std::vector<float> longer = logits(32, 6);
        const bool counted = max_difference(logits(32, 3), std::span(longer).first(3 * 32)) > 1e-3;
        EXPECT_EQ(counted, reading == Reading::kReference) << "the first three of six tokens";
    }
}

}  // namespace
}  // namespace gs
