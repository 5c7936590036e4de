#include "engine/model/family_table.h"

#include <string>

#include "engine/model/model.h"

namespace gs {
namespace {

constexpr float kDeepseekEpsilon = 1e-20f;   // section 2, step 8

// By architecture name. The flags follow llama.cpp; as_authors has what differs from it in the authors' code (moe-families.md section 5).
constexpr FamilyRow kFamilies[] = {
    // 7.20: the router of 7.5 with the attention of 7.4
    {.architecture = "bailingmoe2", .family = "Ling 2", .dense_family = "Ling (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qk_norm = QkNorm::kPerHead, .score = ScoreFn::kSigmoid, .gating = GatingKey::kMustChoose,
     .selection_bias = Presence::kOptional, .renormalise = Renormalise::kByKey, .expert_scale = true, .shared = SharedExpert::kOptional,
     .shared_width = SharedWidthKey::kOwnPerExpert, .as_authors = [](FamilyRow& row) { row.norm_epsilon = kDeepseekEpsilon; }},
    // 7.11
    {.architecture = "dbrx", .family = "DBRX", .dense_family = "DBRX (dense)", .experts = ExpertUse::kRequired, .rope_pairs = RopePairs::kHalves,
     .clamp_qkv = true, .norm = NormKind::kLayer, .ffn_norm = "attn_output_norm", .may_tie_output = false},
    // 7.17
    {.architecture = "deepseek", .family = "DeepSeek MoE", .dense_family = "DeepSeek (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kNeighbours, .renormalise = Renormalise::kNever, .expert_scale = true, .shared = SharedExpert::kOptional,
     .shared_width = SharedWidthKey::kRoutedPerExpert},
    // 7.5
    {.architecture = "deepseek2", .family = "DeepSeek V2/V3", .dense_family = "DeepSeek (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kNeighbours, .attention = AttentionKind::kLatent, .temperature = true, .rope_scales_softmax = true,
     .gating = GatingKey::kMayChoose, .selection_bias = Presence::kOptional, .renormalise = Renormalise::kByKey, .expert_scale = true,
     .shared = SharedExpert::kOptional, .shared_width = SharedWidthKey::kRoutedPerExpert,
     .as_authors =
         [](FamilyRow& row) {
             row.norm_epsilon = kDeepseekEpsilon;
             row.deepseek_groups = true;
             row.rope_scales_softmax = false;
         }},
    // 7.16
    {.architecture = "dots1", .family = "dots.llm1", .dense_family = "dots (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qk_norm = QkNorm::kPerHead, .score = ScoreFn::kSigmoid, .gating = GatingKey::kMustChoose,
     .selection_bias = Presence::kOptional, .renormalise = Renormalise::kByKey, .expert_scale = true, .shared = SharedExpert::kOptional,
     .shared_width = SharedWidthKey::kRoutedPerExpert, .may_tie_output = false,
     .as_authors = [](FamilyRow& row) { row.norm_epsilon = kDeepseekEpsilon; }},
    // 7.13
    {.architecture = "ernie4_5-moe", .family = "ERNIE 4.5 MoE", .dense_family = "ERNIE 4.5 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kNeighbours, .attention_out_bias = false, .selection_bias = Presence::kOptional, .shared = SharedExpert::kOptional,
     .as_authors =
         [](FamilyRow& row) {
             row.norm_floor = 1e-12f;
             row.attention_out_bias = true;
         }},
    // 7.10. Not every model of this architecture has the biases of q, k and v.
    {.architecture = "glm4moe", .family = "GLM-4.5", .dense_family = "GLM-4 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qk_norm = QkNorm::kPerHead, .qk_norm_optional = true,
     .ffn_norm = "post_attention_norm", .score = ScoreFn::kSigmoid, .gating = GatingKey::kMayChoose, .selection_bias = Presence::kRequired,
     .renormalise = Renormalise::kByKey, .expert_scale = true, .shared = SharedExpert::kOptional, .shared_width = SharedWidthKey::kRoutedPerExpert,
     .as_authors = [](FamilyRow& row) { row.norm_epsilon = kDeepseekEpsilon; }},
    // 7.7
    {.architecture = "gpt-oss", .family = "gpt-oss", .dense_family = "gpt-oss (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .attention = AttentionKind::kWindowed, .qkv_bias = true, .sinks = true, .ffn_norm = "post_attention_norm",
     .score = ScoreFn::kSoftmaxAfterTopK, .renormalise = Renormalise::kNever, .activation = Activation::kClampedSilu, .expert_bias = true,
     .may_tie_output = false, .as_authors = [](FamilyRow& row) { row.yarn_whole_borders = false; }},
    // 7.8 with the FFN of a dense Llama; rope.scaling.finetuned as the hybrid members of the family have it
    {.architecture = "granite", .family = "Granite", .dense_family = "Granite (dense)", .experts = ExpertUse::kNever,
     .rope_pairs = RopePairs::kNeighbours, .rope_factors = RopeFactors::kOne, .rope_switch = true, .dense_bias = true, .scales = Scales::kGranite},
    // 7.8
    {.architecture = "granitemoe", .family = "Granite MoE", .dense_family = "Granite (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kNeighbours, .rope_factors = RopeFactors::kOne, .shared = SharedExpert::kOptional, .scales = Scales::kGranite},
    // 7.12. Its output multiplier replaces 1/sqrt(dk).
    {.architecture = "grok", .family = "Grok", .dense_family = "Grok (dense)", .experts = ExpertUse::kRequired, .rope_pairs = RopePairs::kHalves,
     .yarn_beta_fast = 8, .yarn_keys = true, .post_norms = true, .shared = SharedExpert::kBesideDense, .activation = Activation::kGelu,
     .scales = Scales::kGrok, .as_authors = [](FamilyRow& row) { row.renormalise = Renormalise::kNever; }},
    // 7.14
    {.architecture = "hunyuan-moe", .family = "Hunyuan MoE", .dense_family = "Hunyuan (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qk_norm = QkNorm::kPerHeadAfterRope, .shared = SharedExpert::kRequired,
     .shared_width = SharedWidthKey::kOwnOrDense},
    // 7.1, and 7.18 without experts
    {.architecture = "llama", .family = "Mixtral", .dense_family = "Llama (dense)", .experts = ExpertUse::kOptional,
     .rope_pairs = RopePairs::kNeighbours, .rope_factors = RopeFactors::kOne, .dense_bias = true},
    // 7.6
    {.architecture = "llama4", .family = "Llama 4", .dense_family = "Llama 4 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kNeighbours, .rope_factors = RopeFactors::kOne, .attention = AttentionKind::kChunked,
     .qk_norm = QkNorm::kPlainAfterRope, .score = ScoreFn::kSigmoid, .renormalise = Renormalise::kNever, .weigh_input = true,
     .shared = SharedExpert::kRequired},
    // 7.15
    {.architecture = "minimax-m2", .family = "MiniMax-M2", .dense_family = "MiniMax (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qk_norm = QkNorm::kFullWidth, .score = ScoreFn::kSigmoid, .gating = GatingKey::kMustChoose,
     .selection_bias = Presence::kRequired, .may_tie_output = false},
    // 7.2
    {.architecture = "olmoe", .family = "OLMoE", .dense_family = "OLMo", .experts = ExpertUse::kRequired, .rope_pairs = RopePairs::kHalves,
     .qk_norm = QkNorm::kFullWidth, .renormalise = Renormalise::kNever, .may_tie_output = false,
     .as_authors =
         [](FamilyRow& row) {
             row.clamp_qkv = true;
             row.renormalise = Renormalise::kByKey;
         }},
    // 7.9. The magnitude is short_mscale and long_mscale of the published configuration, which files do not have.
    {.architecture = "phimoe", .family = "Phi-3.5 MoE", .dense_family = "Phi-3 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .rope_factors = RopeFactors::kLongAndShort, .qkv_bias = true, .norm_bias = true, .output_bias = true,
     .may_tie_output = false,
     .as_authors =
         [](FamilyRow& row) {
             row.norm = NormKind::kLayer;
             row.score = ScoreFn::kSparseMixer;
             row.renormalise = Renormalise::kNever;
             row.rope_magnitude = 1.243163121016122f;
         }},
    // The attention of 7.3 with the FFN of a dense Llama
    {.architecture = "qwen2", .family = "Qwen2", .dense_family = "Qwen2 (dense)", .experts = ExpertUse::kNever, .rope_pairs = RopePairs::kHalves,
     .qkv_bias = true},
    // 7.3
    {.architecture = "qwen2moe", .family = "Qwen2 MoE", .dense_family = "Qwen2 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qkv_bias = true, .renormalise = Renormalise::kNever, .shared = SharedExpert::kGated,
     .expert_width = ExpertWidthKey::kOwnOrDensePerK, .shared_width = SharedWidthKey::kOwnOrDense, .may_tie_output = false,
     .as_authors = [](FamilyRow& row) { row.renormalise = Renormalise::kByKey; }},
    // 7.19
    {.architecture = "qwen3", .family = "Qwen3", .dense_family = "Qwen3 (dense)", .experts = ExpertUse::kNever, .rope_pairs = RopePairs::kHalves,
     .qk_norm = QkNorm::kPerHead},
    // 7.4
    {.architecture = "qwen3moe", .family = "Qwen3 MoE", .dense_family = "Qwen3 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qk_norm = QkNorm::kPerHead},
};

}  // namespace

std::span<const FamilyRow> family_table() { return kFamilies; }

const FamilyRow* find_family(std::string_view architecture) {
    for (const FamilyRow& row : kFamilies)
        if (architecture == row.architecture) return &row;
    return nullptr;
}

FamilyRow in_reading(const FamilyRow& row, Reading reading) {
    FamilyRow read = row;
    if (reading == Reading::kLlamaCpp) return read;
    read.norm_floor = 0;      // 2^-14 is llama.cpp's; the authors divide
    read.yarn_keys = true;    // which llama.cpp reads for one family only
    if (read.as_authors) read.as_authors(read);
    return read;
}

std::string supported_architectures() {
    std::string list;
    for (const FamilyRow& row : kFamilies) list += (list.empty() ? "" : ", ") + std::string(row.architecture);
    return list;
}

}  // namespace gs
