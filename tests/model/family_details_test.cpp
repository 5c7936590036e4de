// What single families read from their files, each after its section of moe-families.md.
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

/// Layer 0 without its experts, dense instead.
void make_first_layer_dense(GgufBuilder& b) {
    for (const char* name : {"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"})
        b.remove_tensor(std::string("blk.0.") + name + ".weight");
    b.remove_tensor("blk.0.exp_probs_b.bias");
    b.tensor("blk.0.ffn_gate.weight", {16, 32}).tensor("blk.0.ffn_up.weight", {16, 32}).tensor("blk.0.ffn_down.weight", {32, 16});
}

void add_shared(GgufBuilder& b, const std::string& blk, uint64_t width) {
    b.tensor(blk + "ffn_gate_shexp.weight", {16, width}).tensor(blk + "ffn_up_shexp.weight", {16, width}).tensor(blk + "ffn_down_shexp.weight", {width, 16});
}

Bytes floats(const std::vector<float>& values) {
    Bytes bytes;
    for (const float v : values) test::put(bytes, v);
    return bytes;
}

TEST(FamilyDetails, SigmoidRoutersTakeBiasScaleAndNormFromTheFile) {
    // 7.10, 7.16, 7.20: the router of DeepSeek-V3 with a leading dense layer and an ungated shared expert.
    struct Kind {
        const char* arch;
        uint32_t shared_key;   ///< expert_shared_feed_forward_length, 0 = none
    };
    for (const Kind& kind : {Kind{"glm4moe", 0}, Kind{"dots1", 0}, Kind{"bailingmoe2", 32}}) {
        const std::string arch = kind.arch;
        GgufBuilder b = tiny_model(arch, 2);
        make_first_layer_dense(b);
        add_shared(b, "blk.1.", 64);
        b.u32(arch + ".expert_shared_count", 2).value<uint8_t>(arch + ".expert_weights_norm", GgufValueType::kBool, 1).f32(arch + ".expert_weights_scale", 2.5f);
        if (kind.shared_key) b.u32(arch + ".expert_shared_feed_forward_length", kind.shared_key);
        b.tensor("blk.1.exp_probs_b.bias", {4}, TensorType::kF32, floats({0.5f, -1, 0, 2}));
        const Bytes bytes = b.build();
        const Outcome out = load_spec(bytes);
        ASSERT_EQ(out.code, "ok") << arch << ": " << out.message;
        EXPECT_TRUE(out.warnings.empty()) << arch << ": " << out.warnings.front();
        EXPECT_EQ(out.spec.moe_layers, (std::vector<int>{1}));
        EXPECT_EQ(out.spec.router.score, ScoreFn::kSigmoid);
        EXPECT_TRUE(out.spec.router.renormalise);
        EXPECT_EQ(out.spec.router.scale, 2.5f);
        EXPECT_EQ(out.spec.shared_ff, 64);
        EXPECT_EQ(out.weights.layers[1].selection_bias, (std::vector<float>{0.5f, -1, 0, 2}));
        EXPECT_TRUE(out.weights.layers[0].selection_bias.empty());
        EXPECT_FALSE(out.weights.layers[1].shared_gate);
        const Outcome authors = load_spec(bytes, Reading::kReference);
        EXPECT_EQ(authors.spec.router.norm_floor, 0);
        EXPECT_EQ(authors.spec.router.norm_epsilon, 1e-20f);
    }
}

TEST(FamilyDetails, GatingKeysAreNeededOrHaveADefault) {
    for (const char* arch : {"bailingmoe2", "dots1", "minimax-m2"})
        EXPECT_EQ(load_spec(tiny_model(arch).remove(std::string(arch) + ".expert_gating_func").build()).code, "missing_key") << arch;
    EXPECT_EQ(load_spec(tiny_model("deepseek2").u32("deepseek2.expert_gating_func", 2).build()).spec.router.score, ScoreFn::kSigmoid);
    EXPECT_EQ(load_spec(tiny_model("deepseek2").u32("deepseek2.expert_gating_func", 4).build()).spec.router.score, ScoreFn::kSqrtSoftplus);
    EXPECT_EQ(load_spec(tiny_model("glm4moe").u32("glm4moe.expert_gating_func", 1).build()).spec.router.score, ScoreFn::kSoftmax);
    EXPECT_EQ(load_spec(tiny_model("glm4moe").remove_tensor("blk.0.exp_probs_b.bias").build()).code, "missing_tensor");
    EXPECT_EQ(load_spec(tiny_model("minimax-m2").remove_tensor("blk.0.exp_probs_b.bias").build()).code, "missing_tensor");
    EXPECT_EQ(load_spec(tiny_model("dots1").tensor("blk.0.exp_probs_b.bias", {4}, TensorType::kF32, floats({0, NAN, 0, 0})).build()).code, "bad_value");
}

TEST(FamilyDetails, GlmHasItsQueryAndKeyNormOrNot) {
    const Bytes with = tiny_model("glm4moe").u32("glm4moe.rope.dimension_count", 4).build();
    EXPECT_TRUE(load_spec(with).weights.layers[0].q_norm) << "the 355B models";
    EXPECT_EQ(load_spec(with).spec.rope.n_rot, 4);
    GgufBuilder air = tiny_model("glm4moe").remove_tensor("blk.0.attn_q_norm.weight");
    EXPECT_EQ(load_spec(air.build()).code, "missing_tensor") << "one without the other";
    const Bytes without = air.remove_tensor("blk.0.attn_k_norm.weight").build();
    EXPECT_FALSE(load_spec(without).weights.layers[0].q_norm);
    EXPECT_EQ(load_spec(tiny_model("glm4moe").remove_tensor("blk.0.post_attention_norm.weight").build()).code, "missing_tensor");
}

TEST(FamilyDetails, ErnieTrustsTheTensorsForItsSharedExpert) {
    GgufBuilder b = tiny_model("ernie4_5-moe", 3);
    make_first_layer_dense(b);
    add_shared(b, "blk.1.", 64);
    add_shared(b, "blk.2.", 64);
    b.u32("ernie4_5-moe.expert_shared_feed_forward_length", 32).u32("ernie4_5-moe.interleave_moe_layer_step", 1);
    const Bytes bytes = b.tensor("blk.1.exp_probs_b.bias", {4}).build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.spec.shared_ff, 64);
    EXPECT_EQ(out.warnings.size(), 1u) << "the key says 32";
    EXPECT_EQ(out.weights.layers[1].selection_bias.size(), 4u);
    EXPECT_TRUE(out.weights.layers[2].selection_bias.empty());
    EXPECT_EQ(load_spec(bytes, Reading::kReference).spec.router.norm_floor, 1e-12f);
    EXPECT_EQ(out.spec.router.norm_floor, 0x1p-14f);
}

TEST(FamilyDetails, FusedExpertsAreTwoHalvesOfEverySlab) {
    GgufBuilder b = tiny_model("granitemoe");
    b.remove_tensor("blk.0.ffn_gate_exps.weight").remove_tensor("blk.0.ffn_up_exps.weight").tensor("blk.0.ffn_gate_up_exps.weight", {16, 64, 4});
    const Bytes bytes = b.build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    const FfnWeights& f = out.weights.layers[0].experts;
    EXPECT_EQ(out.spec.expert_ff, 32);
    EXPECT_EQ(f.gate.n_bytes() + f.up.n_bytes(), 64u * 16 * 4 * 4);
    for (int e = 0; e < 4; ++e) {
        EXPECT_EQ(f.expert(e).gate.data - f.gate.data, e * 64 * 16 * 4);
        EXPECT_EQ(f.expert(e).up.data - f.expert(e).gate.data, 32 * 16 * 4);
        EXPECT_EQ(f.up.row(3, e), f.expert(e).up.row(3));
    }
    EXPECT_EQ(load_spec(b.tensor("blk.0.ffn_gate_up_exps.weight", {16, 63, 4}).build()).code, "shape_mismatch");
}

TEST(FamilyDetails, LatentAttentionIsOneHeadInBothLayouts) {
    const Bytes current = tiny_model("deepseek2").build();
    GgufBuilder old = tiny_model("deepseek2").remove("deepseek2.attention.key_length_mla").remove("deepseek2.attention.value_length_mla");
    old.remove_tensor("blk.0.attn_k_b.weight").remove_tensor("blk.0.attn_v_b.weight").tensor("blk.0.attn_kv_b.weight", {16, 2 * (4 + 8)});
    const Bytes legacy = old.build();
    for (const Bytes* bytes : {&current, &legacy}) {
        const Outcome out = load_spec(*bytes);
        ASSERT_EQ(out.code, "ok") << out.message;
        EXPECT_EQ(out.spec.n_kv_heads, 1);
        EXPECT_EQ(out.spec.head_dim_k, 20);
        EXPECT_EQ(out.spec.head_dim_v, 16);
        EXPECT_EQ(out.spec.query_width(), 16);
        EXPECT_EQ(out.spec.value_width(), 16);
        EXPECT_EQ(out.spec.k_width() + out.spec.v_width(), 20) << "r + dr floats a token and layer";
        const MlaWeights& mla = out.weights.layers[0].mla;
        EXPECT_EQ(mla.k_b_transposed, bytes == &legacy);
        EXPECT_EQ(mla.k_b.slab(1).data - mla.k_b.data, bytes == &legacy ? 12 * 16 * 4 : 4 * 16 * 4);
        EXPECT_EQ(mla.v_b.slab(1).n_out, 8);
    }
    GgufBuilder b = tiny_model("deepseek2").remove_tensor("blk.0.attn_q.weight");
    EXPECT_EQ(load_spec(b.build()).code, "missing_tensor");
    b.u32("deepseek2.attention.q_lora_rank", 12).tensor("blk.0.attn_q_a.weight", {16, 12}).tensor("blk.0.attn_q_a_norm.weight", {12});
    const Bytes low_rank = b.tensor("blk.0.attn_q_b.weight", {12, 16}).build();
    EXPECT_EQ(load_spec(low_rank).spec.mla.q_rank, 12);
    GgufBuilder both = tiny_model("deepseek2", 2).remove_tensor("blk.0.attn_q.weight").u32("deepseek2.attention.q_lora_rank", 12);
    both.tensor("blk.0.attn_q_a.weight", {16, 12}).tensor("blk.0.attn_q_a_norm.weight", {12}).tensor("blk.0.attn_q_b.weight", {12, 16});
    EXPECT_EQ(load_spec(both.build()).code, "unsupported_layout") << "one layer with low-rank queries, one without";
    EXPECT_EQ(load_spec(tiny_model("deepseek2").u32("deepseek2.rope.dimension_count", 8).build()).code, "bad_value") << "nothing left unrotated";
    EXPECT_EQ(load_spec(tiny_model("deepseek2").remove("deepseek2.attention.kv_lora_rank").build()).code, "missing_key");
}

TEST(FamilyDetails, YarnScalesTheSoftmaxOfDeepseekAndTheRotationOfOthers) {
    GgufBuilder b = tiny_model("deepseek2").text("deepseek2.rope.scaling.type", "yarn").f32("deepseek2.rope.scaling.factor", 40);
    const Outcome old = load_spec(b.build());
    EXPECT_EQ(old.warnings.size(), 1u);
    EXPECT_FLOAT_EQ(old.spec.rope.magnitude, 1.3688879f);
    const Outcome v3 = load_spec(b.f32("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f).build());
    EXPECT_TRUE(v3.warnings.empty());
    EXPECT_EQ(v3.spec.rope.magnitude, 1);
    EXPECT_NEAR(v3.spec.attention_scale * std::sqrt(8.0f), 1.3688879 * 1.3688879, 1e-5) << "section 3.8";
    GgufBuilder oss = tiny_model("gpt-oss").text("gpt-oss.rope.scaling.type", "yarn").f32("gpt-oss.rope.scaling.factor", 32);
    const Bytes bytes = oss.u32("gpt-oss.rope.scaling.original_context_length", 4096).build();
    EXPECT_FLOAT_EQ(load_spec(bytes).spec.rope.magnitude, 1.3465736f) << "section 3.3";
    EXPECT_TRUE(load_spec(bytes).spec.rope.whole_borders);
    EXPECT_FALSE(load_spec(bytes, Reading::kReference).spec.rope.whole_borders);
    EXPECT_EQ(load_spec(bytes).spec.rope.original_context, 4096);
}

TEST(FamilyDetails, DeepseekGroupsOfTheAuthorsDoNotNeedKeys) {
    const auto router = [](uint32_t n_experts, uint32_t k, bool sigmoid, bool with_keys, Reading reading) {
        GgufBuilder b = tiny_model("deepseek2").u32("deepseek2.expert_count", n_experts).u32("deepseek2.expert_used_count", k);
        b.u32("deepseek2.expert_gating_func", sigmoid ? 2 : 1).f32("deepseek2.expert_weights_scale", 16);
        if (with_keys) b.u32("deepseek2.expert_group_count", 8).u32("deepseek2.expert_group_used_count", 3);
        b.tensor("blk.0.ffn_gate_inp.weight", {16, n_experts}).tensor("blk.0.ffn_gate_exps.weight", {16, 32, n_experts});
        b.tensor("blk.0.ffn_up_exps.weight", {16, 32, n_experts}).tensor("blk.0.ffn_down_exps.weight", {32, 16, n_experts});
        if (sigmoid) b.tensor("blk.0.exp_probs_b.bias", {n_experts});
        return load_spec(b.build(), reading).spec.router;
    };
    const RouterSpec v3 = router(256, 8, true, false, Reading::kReference);
    EXPECT_EQ(v3.n_groups, 8);
    EXPECT_EQ(v3.n_groups_used, 4);
    EXPECT_EQ(v3.group_score, GroupScore::kTop2Sum);
    EXPECT_EQ(router(256, 8, true, false, Reading::kLlamaCpp).n_groups, 1);
    const RouterSpec v2 = router(160, 6, false, false, Reading::kReference);
    EXPECT_EQ(v2.n_groups, 8);
    EXPECT_EQ(v2.n_groups_used, 3);
    EXPECT_EQ(v2.group_score, GroupScore::kMax);
    EXPECT_EQ(v2.scale, 16) << "scaled, because not renormalised";
    EXPECT_EQ(router(160, 6, false, true, Reading::kLlamaCpp).group_score, GroupScore::kTop2Sum);
    EXPECT_EQ(router(64, 6, false, false, Reading::kReference).n_groups, 1) << "V2-Lite";
}

TEST(FamilyDetails, WindowsChunksAndUnrotatedLayers) {
    GgufBuilder oss = tiny_model("gpt-oss", 4).u32("gpt-oss.attention.sliding_window", 128);
    const auto windows = [](const Outcome& out) {
        std::vector<int> all;
        for (const LayerAttention& a : out.spec.attention) all.push_back(a.window);
        return all;
    };
    EXPECT_EQ(windows(load_spec(oss.build())), (std::vector<int>{128, 0, 128, 0}));
    EXPECT_EQ(windows(load_spec(oss.u32("gpt-oss.attention.sliding_window_pattern", 4).build())), (std::vector<int>{128, 128, 128, 0}));
    oss.array<uint8_t>("gpt-oss.attention.sliding_window_pattern", GgufValueType::kBool, {0, 1, 1, 0});
    EXPECT_EQ(windows(load_spec(oss.build())), (std::vector<int>{0, 128, 128, 0}));
    EXPECT_EQ(load_spec(oss.u32("gpt-oss.attention.sliding_window_pattern", 0).build()).code, "bad_value");

    GgufBuilder scout = tiny_model("llama4", 8);
    const Outcome out = load_spec(scout.build());
    ASSERT_EQ(out.code, "ok") << out.message;
    for (int l = 0; l < 8; ++l) {
        EXPECT_EQ(out.spec.attention[static_cast<size_t>(l)].rotates, (l + 1) % 4 != 0);
        EXPECT_EQ(out.spec.attention[static_cast<size_t>(l)].grows, (l + 1) % 4 == 0);
        EXPECT_EQ(out.spec.attention[static_cast<size_t>(l)].chunk, (l + 1) % 4 != 0 ? 8192 : 0);
    }
    EXPECT_TRUE(out.spec.router.weigh_input && out.spec.router.select_by_logits);
    const Outcome unchunked = load_spec(scout.u32("llama4.attention.sliding_window", 0).build());
    for (const LayerAttention& a : unchunked.spec.attention) EXPECT_EQ(a, LayerAttention{}) << "rotated everywhere, and all is seen";
    const Outcome other = load_spec(scout.u32("llama4.attention.sliding_window", 100).build());
    EXPECT_EQ(other.spec.attention[0].chunk, 8192);
}

TEST(FamilyDetails, MaverickInterleavesAndHasNoQueryNorm) {
    GgufBuilder b = tiny_model("llama4", 2);
    make_first_layer_dense(b);
    b.u32("llama4.expert_count", 128).u32("llama4.interleave_moe_layer_step", 2);
    b.tensor("blk.1.ffn_gate_inp.weight", {16, 128}).tensor("blk.1.ffn_gate_exps.weight", {16, 32, 128});
    b.tensor("blk.1.ffn_up_exps.weight", {16, 32, 128}).tensor("blk.1.ffn_down_exps.weight", {32, 16, 128});
    const Bytes bytes = b.build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_EQ(out.spec.moe_layers, (std::vector<int>{1}));
    EXPECT_EQ(out.spec.qk_norm, QkNorm::kNone);
    EXPECT_TRUE(out.weights.layers[0].dense);
}

TEST(FamilyDetails, GrokFilesOfOldLackTheirMultipliers) {
    const Bytes bytes = tiny_model("grok").build();
    const Outcome out = load_spec(bytes);
    ASSERT_EQ(out.code, "ok") << out.message;
    EXPECT_FLOAT_EQ(out.spec.embedding_scale, 78.38367f);
    EXPECT_FLOAT_EQ(1 / out.spec.logit_divisor, 0.57735027f);
    EXPECT_FLOAT_EQ(out.spec.attention_scale, 0.088388346f);
    EXPECT_EQ(out.spec.attention_cap, 30);
    EXPECT_EQ(out.spec.logit_cap, 0);
    EXPECT_EQ(out.spec.ffn_scale, 1) << "no dense network beside the experts";
    EXPECT_EQ(out.weights.layers[0].experts.activation, Activation::kGelu);
    GgufBuilder b = tiny_model("grok").f32("grok.attn_logit_softcapping", 0).f32("grok.final_logit_softcapping", 50);
    b.remove_tensor("blk.0.post_ffw_norm.weight").tensor("blk.0.layer_output_norm.weight", {16});
    b.tensor("blk.0.ffn_gate.weight", {16, 48}).tensor("blk.0.ffn_up.weight", {16, 48}).tensor("blk.0.ffn_down.weight", {48, 16});
    const Bytes second = b.build();
    const Outcome two = load_spec(second);
    ASSERT_EQ(two.code, "ok") << two.message;
    EXPECT_EQ(two.spec.attention_cap, 0);
    EXPECT_EQ(two.spec.logit_cap, 50);
    EXPECT_FLOAT_EQ(two.spec.ffn_scale, std::sqrt(0.5f));
    EXPECT_EQ(two.spec.shared_ff, 48);
    EXPECT_FALSE(load_spec(second, Reading::kReference).spec.router.renormalise);
}

TEST(FamilyDetails, PhiHasAnotherRouterNormAndMagnitudeInItsAuthorsCode) {
    GgufBuilder b = tiny_model("phimoe").f32("phimoe.rope.scaling.attn_factor", 1.19f).u32("phimoe.rope.scaling.original_context_length", 32);
    b.tensor("rope_factors_short.weight", {4}, TensorType::kF32, floats({1, 1, 1, 1}));
    EXPECT_EQ(load_spec(b.build()).code, "missing_tensor") << "the long ones";
    const Bytes bytes = b.tensor("rope_factors_long.weight", {4}, TensorType::kF32, floats({2, 2, 2, 2})).build();
    const Outcome llamacpp = load_spec(bytes), authors = load_spec(bytes, Reading::kReference);
    ASSERT_EQ(llamacpp.code, "ok") << llamacpp.message;
    EXPECT_EQ(llamacpp.spec.norm, NormKind::kRms);
    EXPECT_EQ(authors.spec.norm, NormKind::kLayer);
    EXPECT_EQ(llamacpp.spec.router.score, ScoreFn::kSoftmax);
    EXPECT_EQ(authors.spec.router.score, ScoreFn::kSparseMixer);
    EXPECT_EQ(llamacpp.spec.rope.magnitude, 1.19f);
    EXPECT_FLOAT_EQ(authors.spec.rope.magnitude, 1.243163f);
    EXPECT_EQ(llamacpp.spec.rope.original_context, 32);
    EXPECT_TRUE(llamacpp.weights.rope_freqs_long);
}

TEST(FamilyDetails, SwitchesOfTheAuthorsAreReadInTheirReadingOnly) {
    GgufBuilder b = tiny_model("olmoe").f32("olmoe.attention.clamp_kqv", 8).value<uint8_t>("olmoe.expert_weights_norm", GgufValueType::kBool, 1);
    const Bytes bytes = b.build();
    EXPECT_EQ(load_spec(bytes).spec.clamp_qkv, 0);
    EXPECT_FALSE(load_spec(bytes).spec.router.renormalise);
    EXPECT_EQ(load_spec(bytes, Reading::kReference).spec.clamp_qkv, 8);
    EXPECT_TRUE(load_spec(bytes, Reading::kReference).spec.router.renormalise);
    EXPECT_EQ(load_spec(tiny_model("dbrx").f32("dbrx.attention.clamp_kqv", 8).build()).spec.clamp_qkv, 8);
}

}  // namespace
}  // namespace gs
