// Internal to engine/model: one row a family, saying how to read a ModelSpec from a file (spec/moe-families.md section 7).
#pragma once

#include <span>
#include <string_view>

#include "engine/model/model_spec.h"
#include "engine/model/weights.h"

namespace gs {

enum class ExpertUse : uint8_t { kNever, kOptional, kRequired };
enum class AttentionKind : uint8_t {
    kFull,
    kWindowed,        ///< a window on all but the last of every sliding_window_pattern layers
    kChunked,         ///< chunks of 8192, every fourth layer sees all and does not rotate (Llama 4)
    kLatent           ///< MLA
};
enum class RopeFactors : uint8_t { kNone, kOne /* rope_freqs.weight */, kLongAndShort };
/// Whether expert_gating_func may choose another score function than the row's.
enum class GatingKey : uint8_t { kMustAgree, kMayChoose, kMustChoose };
enum class Renormalise : uint8_t { kNever, kAlways, kByKey /* expert_weights_norm */ };
enum class Presence : uint8_t { kAbsent, kOptional, kRequired };
enum class SharedExpert : uint8_t {
    kNone,
    kOptional,        ///< where its tensors are, or its width is given
    kRequired,
    kGated,           ///< required, times a sigmoid gate
    kBesideDense      ///< a dense FFN in the same layer stands for it (Grok-2)
};
enum class ExpertWidthKey : uint8_t {
    kOwnOrDense,      ///< expert_feed_forward_length, else feed_forward_length
    kOwnOrDensePerK   ///< expert_feed_forward_length, else feed_forward_length / expert_used_count
};
enum class SharedWidthKey : uint8_t {
    kOwn,             ///< expert_shared_feed_forward_length
    kOwnOrDense,      ///< the same, else feed_forward_length
    kOwnPerExpert,    ///< expert_shared_feed_forward_length * expert_shared_count
    kRoutedPerExpert  ///< expert_feed_forward_length * expert_shared_count
};
enum class Scales : uint8_t { kNone, kGranite, kGrok };

struct FamilyRow {
    const char* architecture;       ///< general.architecture
    const char* family;             ///< for people, with experts
    const char* dense_family;       ///< for people, without
    ExpertUse experts;

    RopePairs rope_pairs;
    RopeFactors rope_factors = RopeFactors::kNone;
    float rope_magnitude = 0;       ///< instead of rope.scaling.attn_factor, which has another value than the authors' code; 0 = the file's
    float yarn_beta_fast = 32;      ///< where the file does not say
    bool yarn_keys = false;         ///< rope.scaling.yarn_{ext_factor,attn_factor,beta_fast,beta_slow} are read
    bool yarn_whole_borders = true;
    bool rope_switch = false;       ///< rope.scaling.finetuned = false: positions are not rotated in
    AttentionKind attention = AttentionKind::kFull;
    QkNorm qk_norm = QkNorm::kNone;
    bool qk_norm_optional = false;
    bool qkv_bias = false;          ///< biases of q, k, v are required; elsewhere they are taken where present
    bool sinks = false;             ///< attn_sinks
    bool clamp_qkv = false;         ///< attention.clamp_kqv
    bool attention_out_bias = true; ///< attn_output.bias is added where present
    bool temperature = false;       ///< attention.temperature_{length,scale}: queries grow with their position
    bool rope_scales_softmax = false;   ///< the softmax is scaled by the square of what context extension multiplies cosine and sine with

    NormKind norm = NormKind::kRms;
    bool norm_bias = false;
    const char* ffn_norm = "ffn_norm";   ///< tensor of the norm before the FFN
    bool post_norms = false;        ///< norms of both sub-layers' outputs

    ScoreFn score = ScoreFn::kSoftmax;
    GatingKey gating = GatingKey::kMustAgree;
    Presence selection_bias = Presence::kAbsent;
    Renormalise renormalise = Renormalise::kAlways;
    float norm_floor = 6.103515625e-5f;   ///< see RouterSpec
    float norm_epsilon = 0;
    bool expert_scale = false;      ///< expert_weights_scale
    bool weigh_input = false;       ///< best by raw logit, whose weight multiplies the expert's input
    bool deepseek_groups = false;   ///< of DeepSeek-V2 and V3 as the authors have them, whatever the file says

    SharedExpert shared = SharedExpert::kNone;
    ExpertWidthKey expert_width = ExpertWidthKey::kOwnOrDense;
    SharedWidthKey shared_width = SharedWidthKey::kOwn;
    Activation activation = Activation::kSilu;
    bool expert_bias = false;       ///< of router and experts
    bool dense_bias = false;        ///< of a dense FFN, where present
    Scales scales = Scales::kNone;
    bool output_bias = false;
    bool may_tie_output = true;

    /// What the authors' code does otherwise than llama.cpp (section 5); null: nothing but the floor of the renormalisation.
    void (*as_authors)(FamilyRow& row) = nullptr;
};

std::span<const FamilyRow> family_table();
/// Null for an architecture that has no row.
const FamilyRow* find_family(std::string_view architecture);
/// The row as one reading has it.
FamilyRow in_reading(const FamilyRow& row, Reading reading);

}  // namespace gs
