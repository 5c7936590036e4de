// Specs of the golden models against what their generator says, and of small synthetic files of every family.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/model/family_files.h"
#include "tests/model/load_spec.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using test::Bytes;
using test::GgufBuilder;
using test::load_spec;
using test::Outcome;
using test::tiny_model;

class FamilyGoldens : public testing::TestWithParam<const char*> {};

/// Head sizes and rotated dimensions, which the generator names otherwise for latent attention.
void expect_heads(const ModelSpec& spec, const nlohmann::json& dims) {
    EXPECT_EQ(spec.n_heads, dims["H"]);
    if (spec.is_mla()) {
        EXPECT_EQ(spec.mla.kv_rank, dims["r"]);
        EXPECT_EQ(spec.mla.q_rank, dims["qlora"]);
        EXPECT_EQ(spec.mla.nope_dim, dims["dn"]);
        EXPECT_EQ(spec.mla.value_dim, dims["dv"]);
        EXPECT_EQ(spec.rope.n_rot, dims["dr"]);
        EXPECT_EQ(spec.n_kv_heads, 1);
        return;
    }
    EXPECT_EQ(spec.n_kv_heads, dims["K"]);
    EXPECT_EQ(spec.head_dim_k, dims["dk"]);
    EXPECT_EQ(spec.head_dim_v, dims["dk"]);
    EXPECT_EQ(spec.rope.n_rot, spec.architecture == "minimax-m2" ? 8 : dims["dk"].get<int>()) << "MiniMax turns a half";
}

TEST_P(FamilyGoldens, SpecIsWhatTheGeneratorMade) {
    const auto dir = test::golden(std::string("models/") + GetParam());
    std::ifstream in(dir / "golden.json");
    const nlohmann::json golden = nlohmann::json::parse(in), &dims = golden["dims"];
    const auto file = GgufFile::open(dir / "model.gguf");
    ASSERT_TRUE(file) << file.error().message();
    auto spec = read_model_spec(*file);
    ASSERT_TRUE(spec) << spec.error().message();
    std::vector<std::string> warnings;
    const auto weights = bind_weights(*file, *spec, warnings);
    ASSERT_TRUE(weights) << weights.error().message();
    EXPECT_TRUE(warnings.empty()) << warnings.front();
    EXPECT_EQ(spec->architecture, golden["arch"]);
    EXPECT_EQ(spec->n_layers, dims["L"]);
    EXPECT_EQ(spec->n_embd, dims["D"]);
    expect_heads(*spec, dims);
    EXPECT_EQ(spec->n_vocab, dims["V"]);
    EXPECT_FLOAT_EQ(spec->rope.base, dims["theta"]);
    EXPECT_EQ(spec->router.n_experts, dims.value("E", 0));
    EXPECT_EQ(spec->router.n_used, dims.value("k", 0));
    EXPECT_EQ(spec->expert_ff, spec->is_moe() ? dims.value("Fe", dims["F"].get<int>()) : 0);
    EXPECT_EQ(spec->moe_layers, golden["moe_layers"].get<std::vector<int>>());
    ASSERT_EQ(weights->layers.size(), static_cast<size_t>(spec->n_layers));
    for (size_t l = 0; l < weights->layers.size(); ++l) {
        const LayerWeights& w = weights->layers[l];
        const bool routes = std::find(spec->moe_layers.begin(), spec->moe_layers.end(), static_cast<int>(l)) != spec->moe_layers.end();
        EXPECT_EQ(w.is_moe(), routes);
        EXPECT_EQ(static_cast<bool>(w.dense), !routes);
        EXPECT_EQ(static_cast<bool>(w.shared), routes && spec->shared_ff > 0);
        EXPECT_EQ(w.q.n_out, spec->query_width());
    }
}

INSTANTIATE_TEST_SUITE_P(All, FamilyGoldens,
                         testing::Values("dbrx", "deepseek", "deepseek2-legacy", "deepseek2-lite", "deepseek2-v3", "gpt-oss", "gpt-oss-mxfp4", "granitemoe",
                                         "granitemoe-shared", "grok", "hunyuan-moe", "llama", "llama4", "minimax-m2", "minimax-m2-clamp", "mixtral",
                                         "olmoe", "phimoe", "qwen2moe", "qwen3", "qwen3moe"),
                         [](const auto& name) {
                             std::string id = name.param;
                             std::replace(id.begin(), id.end(), '-', '_');
                             return id;
                         });

TEST(Family, RowsHaveTheMechanismsOfTheSpecification) {
    // moe-families.md section 6: architecture, pairs, q/k norm, score, renormalisation of a file without keys for it.
    struct Row {
        const char* architecture;
        RopePairs pairs;
        QkNorm norm;
        ScoreFn score;
        bool renormalise;
    };
    constexpr auto kNorm = RopePairs::kNeighbours, kNeox = RopePairs::kHalves;
    const Row rows[] = {{"bailingmoe2", kNeox, QkNorm::kPerHead, ScoreFn::kSigmoid, false},
                        {"dbrx", kNeox, QkNorm::kNone, ScoreFn::kSoftmax, true},
                        {"deepseek", kNorm, QkNorm::kNone, ScoreFn::kSoftmax, false},
                        {"deepseek2", kNorm, QkNorm::kNone, ScoreFn::kSoftmax, false},
                        {"dots1", kNeox, QkNorm::kPerHead, ScoreFn::kSigmoid, false},
                        {"ernie4_5-moe", kNorm, QkNorm::kNone, ScoreFn::kSoftmax, true},
                        {"glm4moe", kNeox, QkNorm::kPerHead, ScoreFn::kSigmoid, false},
                        {"gpt-oss", kNeox, QkNorm::kNone, ScoreFn::kSoftmaxAfterTopK, false},
                        {"granitemoe", kNorm, QkNorm::kNone, ScoreFn::kSoftmax, true},
                        {"grok", kNeox, QkNorm::kNone, ScoreFn::kSoftmax, true},
                        {"hunyuan-moe", kNeox, QkNorm::kPerHeadAfterRope, ScoreFn::kSoftmax, true},
                        {"llama", kNorm, QkNorm::kNone, ScoreFn::kSoftmax, true},
                        {"llama4", kNorm, QkNorm::kPlainAfterRope, ScoreFn::kSigmoid, false},
                        {"minimax-m2", kNeox, QkNorm::kFullWidth, ScoreFn::kSigmoid, true},
                        {"olmoe", kNeox, QkNorm::kFullWidth, ScoreFn::kSoftmax, false},
                        {"phimoe", kNeox, QkNorm::kNone, ScoreFn::kSoftmax, true},
                        {"qwen2moe", kNeox, QkNorm::kNone, ScoreFn::kSoftmax, false},
                        {"qwen3moe", kNeox, QkNorm::kPerHead, ScoreFn::kSoftmax, true}};
    for (const Row& row : rows) {
        const Bytes bytes = tiny_model(row.architecture).build();
        const Outcome out = load_spec(bytes);
        ASSERT_EQ(out.code, "ok") << row.architecture << ": " << out.message;
        EXPECT_EQ(out.spec.rope.pairs, row.pairs) << row.architecture;
        EXPECT_EQ(out.spec.qk_norm, row.norm) << row.architecture;
        EXPECT_EQ(out.spec.router.renormalise, row.renormalise) << row.architecture;
        EXPECT_EQ(out.spec.router.score, row.score) << row.architecture;
        const bool multiplied = out.spec.architecture == "grok";   // by a number of its own, section 7.12
        EXPECT_EQ(out.spec.attention_scale == 1.0f / std::sqrt(8.0f), !multiplied) << row.architecture;
    }
}

TEST(Family, EveryRowLoadsAFileOfItsKind) {
    for (const FamilyRow& row : family_table()) {
        const Bytes bytes = tiny_model(row.architecture).build();
        const Outcome out = load_spec(bytes);
        EXPECT_EQ(out.code, "ok") << row.architecture << ": " << out.message;
        EXPECT_TRUE(out.warnings.empty()) << row.architecture << ": " << out.warnings.front();
        EXPECT_EQ(out.spec.is_moe(), row.experts != ExpertUse::kNever) << row.architecture;
        EXPECT_EQ(out.spec.family, out.spec.is_moe() ? row.family : row.dense_family);
        EXPECT_NE(supported_architectures().find(row.architecture), std::string::npos);
    }
}

TEST(Family, AnUnknownArchitectureIsNamedBesideTheKnownOnes) {
    const Outcome out = load_spec(tiny_model("llama").text("general.architecture", "mystery\x1b[2J").build());
    EXPECT_EQ(out.code, "unsupported_architecture");
    EXPECT_NE(out.message.find("mystery\\x1B[2J"), std::string::npos) << out.message;
    EXPECT_NE(out.message.find(supported_architectures()), std::string::npos);
    EXPECT_EQ(load_spec(tiny_model("llama").text("general.type", "adapter").build()).code, "unsupported_layout");
}

TEST(Family, GraniteMultipliersAreRead) {
    GgufBuilder b = tiny_model("granitemoe");
    b.f32("granitemoe.logit_scale", 6).f32("granitemoe.embedding_scale", 12).f32("granitemoe.residual_scale", 0.25f).f32("granitemoe.attention.scale", 0.5f);
    Bytes bytes = b.build();
    const Outcome out = load_spec(bytes);
    EXPECT_EQ(out.spec.logit_divisor, 6);
    EXPECT_EQ(out.spec.embedding_scale, 12);
    EXPECT_EQ(out.spec.residual_scale, 0.25f);
    EXPECT_EQ(out.spec.attention_scale, 0.5f);
    bytes = b.f32("granitemoe.embedding_scale", 0).f32("granitemoe.attention.scale", 0).build();
    const Outcome off = load_spec(bytes);
    EXPECT_EQ(off.spec.embedding_scale, 1) << "0 means none";
    EXPECT_EQ(off.spec.attention_scale, 1.0f / std::sqrt(8.0f));
    EXPECT_EQ(load_spec(b.remove("granitemoe.logit_scale").build()).code, "missing_key");
    EXPECT_EQ(load_spec(b.f32("granitemoe.logit_scale", 0).build()).code, "bad_value") << "logits are divided by it";
}

TEST(Family, RopeScalingIsReadOrRefused) {
    GgufBuilder b = tiny_model("llama");
    EXPECT_EQ(load_spec(b.f32("llama.rope.scaling.factor", 4).build()).spec.rope.factor, 4) << "linear is the default type";
    EXPECT_EQ(load_spec(b.text("llama.rope.scaling.type", "none").build()).spec.rope.factor, 1);
    const Outcome longrope = load_spec(b.text("llama.rope.scaling.type", "longrope").build());
    EXPECT_EQ(longrope.code, "unsupported_layout");
    EXPECT_NE(longrope.message.find("longrope"), std::string::npos);
    b = tiny_model("llama").f32("llama.rope.scale_linear", 2);
    EXPECT_EQ(load_spec(b.build()).spec.rope.factor, 2) << "the old name";
    EXPECT_EQ(load_spec(b.f32("llama.rope.scale_linear", -2).build()).code, "bad_value");
    b = tiny_model("llama").tensor("rope_freqs.weight", {4});
    EXPECT_EQ(load_spec(b.build()).code, "bad_value") << "zero divisors";
    Bytes ones;
    for (int i = 0; i < 4; ++i) test::put(ones, 1.0f);
    const Bytes bytes = b.tensor("rope_freqs.weight", {4}, TensorType::kF32, ones).build();
    EXPECT_EQ(load_spec(bytes).weights.rope_freqs.n_in, 4);
}

TEST(Family, FusedProjectionsAreViewsOfOneTensor) {
    GgufBuilder b = tiny_model("qwen2moe");
    for (const char* part : {"q", "k", "v"}) b.remove_tensor(std::string("blk.0.attn_") + part + ".weight").remove_tensor(std::string("blk.0.attn_") + part + ".bias");
    const Bytes bytes = b.tensor("blk.0.attn_qkv.weight", {16, 32}).tensor("blk.0.attn_qkv.bias", {32}).build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    const LayerWeights& w = out.weights.layers[0];
    EXPECT_EQ(w.q.n_out, 16);
    EXPECT_EQ(w.k.data - w.q.data, 16 * 16 * 4);
    EXPECT_EQ(w.v.data - w.k.data, 8 * 16 * 4);
    EXPECT_EQ(w.v_bias.data - w.q_bias.data, 24 * 4);
    EXPECT_EQ(w.v_bias.n_bytes(), 8u * 4);
}

TEST(Family, RowsBeyondTheVocabularyAreLeftOut) {
    const Bytes bytes = tiny_model("llama").tensor("token_embd.weight", {16, 40}).tensor("output.weight", {16, 36}).build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.spec.n_vocab, 32);
    EXPECT_EQ(out.weights.token_embedding.n_out, 32);
    EXPECT_EQ(out.weights.output.n_out, 32);
    EXPECT_EQ(out.warnings.size(), 1u);
}

TEST(Family, LeadingDenseLayersAndPredictionLayersAreToldFromTensors) {
    GgufBuilder b = tiny_model("llama", 3);
    for (const char* name : {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) b.remove_tensor(std::string("blk.0.") + name + ".weight");
    b.u32("llama.feed_forward_length", 48);
    b.tensor("blk.0.ffn_gate.weight", {16, 48}).tensor("blk.0.ffn_up.weight", {16, 48}).tensor("blk.0.ffn_down.weight", {48, 16});
    const Bytes bytes = b.build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.spec.moe_layers, (std::vector<int>{1, 2}));
    EXPECT_EQ(out.spec.dense_ff, 48);
    const Bytes shorter = b.u32("llama.nextn_predict_layers", 1).build();
    const Outcome without = load_spec(shorter);
    EXPECT_EQ(without.spec.n_layers, 2);
    EXPECT_EQ(without.spec.moe_layers, (std::vector<int>{1}));
    EXPECT_TRUE(without.warnings.empty());
}

TEST(Family, TensorsThatWouldChangeTheResultAreNotIgnored) {
    for (const char* name : {"blk.0.ffn_gate_inp.bias", "blk.0.exp_probs_b.bias", "blk.0.attn_sinks.weight", "output.bias", "rope_factors_long.weight", "blk.0.attn_q_norm.weight"}) {
        const Outcome out = load_spec(tiny_model("llama").tensor(name, {16}).build());
        EXPECT_EQ(out.code, "unsupported_layout") << name;
        EXPECT_NE(out.message.find(name), std::string::npos);
    }
    const Outcome harmless = load_spec(tiny_model("llama").tensor("blk.0.note", {16}).build());
    EXPECT_EQ(harmless.code, "ok");
    ASSERT_EQ(harmless.warnings.size(), 1u);
    EXPECT_NE(harmless.warnings[0].find("blk.0.note"), std::string::npos);
}

TEST(Family, LayoutsThatCannotRunAreNamed) {
    GgufBuilder uneven = tiny_model("granitemoe", 2);
    uneven.tensor("blk.1.ffn_gate_exps.weight", {16, 8, 4}).tensor("blk.1.ffn_up_exps.weight", {16, 8, 4}).tensor("blk.1.ffn_down_exps.weight", {8, 16, 4});
    EXPECT_EQ(load_spec(uneven.build()).code, "unsupported_layout");
    EXPECT_EQ(load_spec(tiny_model("qwen3").u32("qwen3.expert_count", 4).build()).code, "unsupported_layout");
    EXPECT_EQ(load_spec(tiny_model("llama").u32("llama.expert_count", 0).build()).code, "missing_key") << "a router without a number of experts";
    EXPECT_EQ(load_spec(tiny_model("olmoe").remove_tensor("output.weight").build()).code, "missing_tensor") << "never tied";
    EXPECT_EQ(load_spec(tiny_model("llama").remove_tensor("output.weight").build()).code, "ok");
    EXPECT_EQ(load_spec(tiny_model("llama").tensor("output.weight", {16, 31}).build()).code, "shape_mismatch");
    EXPECT_EQ(load_spec(tiny_model("qwen2moe").remove_tensor("blk.0.attn_k.bias").build()).code, "missing_tensor");
    EXPECT_EQ(load_spec(tiny_model("llama").u32("llama.expert_group_count", 2).u32("llama.expert_group_used_count", 1).u32("llama.expert_used_count", 3).build()).code,
              "bad_value") << "one group of two cannot give three";
    GgufBuilder no_heads = tiny_model("llama").u32("llama.attention.head_count", 3);
    EXPECT_EQ(load_spec(no_heads.remove("llama.attention.key_length").build()).code, "bad_value") << "16 / 3";
}

TEST(Family, WhereWidthsDisagreeTheTensorsAreRight) {
    const Bytes bytes = tiny_model("granitemoe").u32("granitemoe.expert_feed_forward_length", 24).build();
    const Outcome out = load_spec(bytes);
    EXPECT_EQ(out.spec.expert_ff, 32);
    ASSERT_EQ(out.warnings.size(), 1u);
    EXPECT_NE(out.warnings[0].find("24"), std::string::npos);
}

TEST(Family, WeightsOfATypeWithoutADecoderAreRefusedByName) {
    const Outcome out = load_spec(tiny_model("llama", 1, 256).tensor("blk.0.attn_q.weight", {256, 16}, TensorType::kQ8_K).build());
    EXPECT_EQ(out.code, "bad_tensor_type");
    EXPECT_NE(out.message.find("q8_K"), std::string::npos) << out.message;
    EXPECT_NE(out.message.find("blk.0.attn_q.weight"), std::string::npos);
    EXPECT_EQ(load_spec(tiny_model("llama", 1, 256).tensor("blk.0.attn_norm.weight", {256}, TensorType::kQ8_0).build()).code, "bad_tensor_type");
    GgufBuilder flat = tiny_model("qwen2moe").remove_tensor("blk.0.attn_q.weight").tensor("blk.0.attn_qkv.weight", {16, 32});
    EXPECT_EQ(load_spec(flat.tensor("blk.0.attn_qkv.bias", {32, 1}, TensorType::kQ8_0).build()).code, "bad_tensor_type") << "parts of it would not be blocks";
}

TEST(Family, ValuesUsedAsSizesAreRangeChecked) {
    const auto code_with = [](const char* key, uint32_t value) { return load_spec(tiny_model("llama").u32(std::string("llama.") + key, value).build()).code; };
    const std::pair<const char*, uint32_t> bad[] = {
        {"block_count", 0},          {"block_count", 513},        {"block_count", ~0u},      {"embedding_length", 0},        {"embedding_length", ~0u},
        {"context_length", 0},       {"attention.head_count", 0}, {"attention.head_count_kv", 0}, {"attention.head_count_kv", 3},
        {"attention.key_length", 0}, {"attention.key_length", ~0u}, {"rope.dimension_count", 0}, {"rope.dimension_count", 7},  {"rope.dimension_count", 10},
        {"expert_count", 1025},      {"expert_used_count", 0},    {"expert_used_count", 5},  {"feed_forward_length", 0},     {"nextn_predict_layers", 1},
        {"expert_group_count", 4},   {"expert_group_count", 3}};
    for (const auto& [key, value] : bad) EXPECT_EQ(code_with(key, value), "bad_value") << key << " = " << value;
    for (const uint32_t other : {2u, 3u, 4u, 5u}) EXPECT_EQ(code_with("expert_gating_func", other), "unsupported_layout");
    EXPECT_EQ(code_with("expert_gating_func", 1), "ok");
    const auto groups = load_spec(tiny_model("llama").u32("llama.expert_group_count", 2).u32("llama.expert_group_used_count", 1).build());
    EXPECT_EQ(groups.spec.router.n_groups, 2);
    EXPECT_EQ(groups.spec.router.n_groups_used, 1);
    for (const float value : {0.0f, -1.0f, NAN, INFINITY}) {
        EXPECT_EQ(load_spec(tiny_model("llama").f32("llama.attention.layer_norm_rms_epsilon", value).build()).code, "bad_value") << value;
        EXPECT_EQ(load_spec(tiny_model("llama").f32("llama.rope.freq_base", value).build()).code, "bad_value") << value;
    }
    EXPECT_EQ(load_spec(tiny_model("llama").value<double>("llama.rope.freq_base", GgufValueType::kF64, 1e-300).build()).code, "bad_value") << "0 in f32";
}

TEST(Family, PerLayerArraysMustAgreeAndBeLongEnough) {
    const auto with_heads = [](const std::vector<uint32_t>& heads) {
        return load_spec(tiny_model("llama", 2).array("llama.attention.head_count", GgufValueType::kU32, heads).build()).code;
    };
    EXPECT_EQ(with_heads({2, 2}), "ok");
    EXPECT_EQ(with_heads({2, 2, 9}), "ok") << "entries beyond the layers do not matter";
    EXPECT_EQ(with_heads({2}), "bad_value");
    EXPECT_EQ(with_heads({2, 4}), "unsupported_layout");
}

TEST(Family, NoRandomMetadataCanCrashTheLoader) {
    std::mt19937 random(11);
    const std::vector<FamilyRow> rows(family_table().begin(), family_table().end());
    int n_ok = 0;
    for (int round = 0; round < 3000; ++round) {
        Bytes bytes = tiny_model(rows[random() % rows.size()].architecture).build();
        for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
            const uint32_t values[] = {0, 1, 2, 3, 0x7fffffff, 0xffffffff, static_cast<uint32_t>(random())};
            const uint32_t value = values[random() % 7];
            std::memcpy(bytes.data() + random() % (bytes.size() / 3), &value, sizeof value);
        }
        n_ok += load_spec(bytes).code == "ok";
    }
    EXPECT_GT(n_ok, 0);
    EXPECT_LT(n_ok, 3000);
}

}  // namespace
}  // namespace gs
