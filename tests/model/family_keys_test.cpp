// Keys and tensors that llama.cpp takes from files of some families and ignores in others: found by giving every family every one of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/model/family_files.h"
#include "tests/model/load_spec.h"

namespace gs {
namespace {

using test::Bytes;
using test::GgufBuilder;
using test::load_spec;
using test::Outcome;
using test::tiny_model;

TEST(FamilyKeys, OnlyFamiliesThatHaveAScaleReadIt) {
    for (const FamilyRow& row : family_table()) {
        if (row.experts == ExpertUse::kNever) continue;
        const std::string name = row.architecture;
        const Outcome out = load_spec(tiny_model(name).f32(name + ".expert_weights_scale", 2).build());
        ASSERT_EQ(out.code, "ok") << name << ": " << out.message;
        const bool reads = name == "bailingmoe2" || name == "deepseek" || name == "deepseek2" || name == "dots1" || name == "glm4moe";
        EXPECT_EQ(out.spec.router.scale, reads ? 2 : 1) << name;
    }
}

TEST(FamilyKeys, YarnsOwnKeysAreReadForGrokAndInTheReadingOfTheAuthors) {
    const auto rope = [](const char* architecture, const char* type, Reading reading) {
        const std::string scaling = std::string(architecture) + ".rope.scaling.";
        GgufBuilder b = tiny_model(architecture).text(scaling + "type", type).f32(scaling + "factor", 4);
        b.f32(scaling + "yarn_ext_factor", 0.5f).f32(scaling + "yarn_attn_factor", 3).f32(scaling + "yarn_beta_fast", 9);
        return load_spec(b.f32(scaling + "yarn_beta_slow", 2).build(), reading).spec.rope;
    };
    const RopeSpec ignored = rope("llama", "yarn", Reading::kLlamaCpp);
    EXPECT_EQ(ignored.extrapolation, 1);
    EXPECT_EQ(ignored.beta_fast, 32);
    EXPECT_EQ(ignored.beta_slow, 1);
    EXPECT_FALSE(rope("llama", "linear", Reading::kLlamaCpp).yarn);
    for (const RopeSpec& read : {rope("llama", "yarn", Reading::kReference), rope("grok", "yarn", Reading::kLlamaCpp),
                                 rope("grok", "linear", Reading::kLlamaCpp)}) {
        EXPECT_TRUE(read.yarn) << "what extrapolates is YaRN, whatever the type";
        EXPECT_EQ(read.extrapolation, 0.5f);
        EXPECT_EQ(read.beta_fast, 9);
        EXPECT_EQ(read.beta_slow, 2);
        EXPECT_FLOAT_EQ(read.magnitude, 1 + 0.1f * std::log(4.0f)) << "its own, not that of the key";
    }
    GgufBuilder off = tiny_model("grok").f32("grok.rope.scaling.yarn_attn_factor", 3);
    EXPECT_EQ(load_spec(off.build()).spec.rope.magnitude, 3) << "without YaRN the key counts";
    EXPECT_EQ(load_spec(tiny_model("grok").text("grok.rope.scaling.type", "yarn").build()).spec.rope.beta_fast, 8);
}

TEST(FamilyKeys, LlamaCppScalesTheSoftmaxOfDeepseekByEveryMagnitude) {
    const auto scale = [](const char* type, float log_multiplier, float attn_factor, Reading reading) {
        GgufBuilder b = tiny_model("deepseek2").text("deepseek2.rope.scaling.type", type).f32("deepseek2.rope.scaling.factor", 40);
        if (log_multiplier != 0) b.f32("deepseek2.rope.scaling.yarn_log_multiplier", log_multiplier);
        const Outcome out = load_spec(b.f32("deepseek2.rope.scaling.attn_factor", attn_factor).build(), reading);
        return out.spec.attention_scale * std::sqrt(8.0f);
    };
    const float m = 1 + 0.1f * std::log(40.0f);
    EXPECT_FLOAT_EQ(scale("yarn", 0.1f, 1, Reading::kLlamaCpp), m * m) << "section 3.8";
    EXPECT_FLOAT_EQ(scale("yarn", 0.1f, 1.5f, Reading::kLlamaCpp), 2.25f * m * m);
    EXPECT_FLOAT_EQ(scale("yarn", 0, 1, Reading::kLlamaCpp), m * m) << "old files";
    EXPECT_FLOAT_EQ(scale("linear", 0, 1, Reading::kLlamaCpp), m * m);
    EXPECT_FLOAT_EQ(scale("linear", 0.1f, 1, Reading::kLlamaCpp), m * m * m * m);
    EXPECT_FLOAT_EQ(scale("none", 0.1f, 1, Reading::kLlamaCpp), 1) << "no factor";
    EXPECT_FLOAT_EQ(scale("yarn", 0.1f, 1.5f, Reading::kReference), m * m);
    EXPECT_FLOAT_EQ(scale("yarn", 0, 1, Reading::kReference), 1);
}

TEST(FamilyKeys, QueriesOfDeepseekGrowWhereTheFileSaysSo) {
    GgufBuilder b = tiny_model("deepseek2").f32("deepseek2.attention.temperature_scale", 0.25f);
    EXPECT_EQ(load_spec(b.build()).code, "missing_key") << "their length";
    const Outcome out = load_spec(b.u32("deepseek2.attention.temperature_length", 16).build());
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_TRUE(out.spec.attention[0].grows && out.spec.attention[0].rotates);
    EXPECT_EQ(out.spec.query_growth.per_step, 0.25);
    EXPECT_EQ(out.spec.query_growth.step, 16);
    EXPECT_FALSE(load_spec(tiny_model("deepseek2").u32("deepseek2.attention.temperature_length", 16).build()).spec.attention[0].grows);
    GgufBuilder grok = tiny_model("grok").u32("grok.attention.temperature_length", 16).f32("grok.attention.temperature_scale", 1);
    EXPECT_FALSE(load_spec(grok.build()).spec.attention[0].grows) << "read by llama.cpp, and not used";
}

TEST(FamilyKeys, LayersWithAWindowOrChunksMayRotateOtherwise) {
    GgufBuilder oss = tiny_model("gpt-oss", 2).u32("gpt-oss.attention.sliding_window", 8).f32("gpt-oss.rope.freq_base_swa", 5);
    const Outcome out = load_spec(oss.build());
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.spec.rope_of(0).base, 5) << "the layer with the window";
    EXPECT_EQ(out.spec.rope_of(1).base, 10000);
    EXPECT_FALSE(load_spec(oss.f32("gpt-oss.rope.freq_base_swa", 10000).build()).spec.local_rope);
    EXPECT_EQ(load_spec(oss.f32("gpt-oss.rope.freq_base_swa", 0).build()).code, "bad_value");
    GgufBuilder scout = tiny_model("llama4", 4).text("llama4.rope.scaling.type", "none").f32("llama4.rope.scaling.factor", 2);
    const Outcome unscaled = load_spec(scout.build());
    EXPECT_EQ(unscaled.spec.rope_of(0).factor, 2) << "llama.cpp's \"none\" is one for layers that see all";
    EXPECT_EQ(unscaled.spec.rope_of(3).factor, 1);
}

TEST(FamilyKeys, GraniteMayGoWithoutRotation) {
    const auto rotates = [](const char* architecture, uint8_t finetuned) {
        GgufBuilder b = tiny_model(architecture).value<uint8_t>(std::string(architecture) + ".rope.scaling.finetuned", GgufValueType::kBool, finetuned);
        return load_spec(b.build()).spec.attention[0].rotates;
    };
    EXPECT_FALSE(rotates("granite", 0));
    EXPECT_TRUE(rotates("granite", 1));
    EXPECT_TRUE(rotates("granitemoe", 0)) << "section 7.8";
}

TEST(FamilyKeys, BiasesOfADenseNetworkAreTakenOrRefused) {
    GgufBuilder llama = tiny_model("granite").tensor("blk.0.ffn_gate.bias", {32}).tensor("blk.0.ffn_down.bias", {16});
    const Bytes bytes = llama.build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    const FfnWeights& dense = out.weights.layers[0].dense;
    EXPECT_TRUE(dense.gate_bias && !dense.up_bias && dense.down_bias);
    EXPECT_EQ(load_spec(tiny_model("granite").tensor("blk.0.ffn_gate.bias", {31}).build()).code, "shape_mismatch");
    EXPECT_EQ(load_spec(tiny_model("qwen3").tensor("blk.0.ffn_gate.bias", {32}).build()).code, "unsupported_layout");
}

TEST(FamilyKeys, ErniesAttentionOutputHasNoBiasInLlamaCpp) {
    const Bytes bytes = tiny_model("ernie4_5-moe").tensor("blk.0.attn_output.bias", {16}).build();
    EXPECT_FALSE(load_spec(bytes).weights.layers[0].attn_out_bias);
    EXPECT_TRUE(load_spec(bytes, Reading::kReference).weights.layers[0].attn_out_bias);
}

TEST(FamilyKeys, AFusedProjectionGoesWithEitherKindOfBiases) {
    GgufBuilder b = tiny_model("qwen2moe");
    for (const char* part : {"q", "k", "v"}) b.remove_tensor(std::string("blk.0.attn_") + part + ".weight");
    const Bytes bytes = b.tensor("blk.0.attn_qkv.weight", {16, 32}).build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.weights.layers[0].k_bias.n_in, 8);
}

TEST(FamilyKeys, GlmGoesWithAndWithoutBiasesOfQueries) {
    GgufBuilder b = tiny_model("glm4moe");
    EXPECT_EQ(load_spec(b.build()).code, "ok");
    const Bytes bytes = b.tensor("blk.0.attn_q.bias", {16}).tensor("blk.0.attn_k.bias", {8}).tensor("blk.0.attn_v.bias", {8}).build();
    EXPECT_TRUE(load_spec(bytes).weights.layers[0].v_bias);
    EXPECT_EQ(load_spec(tiny_model("qwen2moe").remove_tensor("blk.0.attn_k.bias").build()).code, "missing_tensor");
}

TEST(FamilyKeys, LongropesFactorDividesPositionsToo) {
    GgufBuilder b = tiny_model("phimoe").text("phimoe.rope.scaling.type", "longrope").f32("phimoe.rope.scaling.factor", 4);
    const Outcome out = load_spec(b.build());
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.spec.rope.factor, 4);
    EXPECT_FALSE(out.spec.rope.yarn);
}

}  // namespace
}  // namespace gs
