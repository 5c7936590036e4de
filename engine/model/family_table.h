// Internal to engine/model: one row a family, saying how to read a ModelSpec from a file (spec/moe-families.md section 7).
#pragma once

#include <span>
#include <string_view>

#include "engine/model/model_spec.h"

namespace gs {

enum class ExpertUse : uint8_t { kNever, kOptional, kRequired };
enum class SharedExpert : uint8_t { kNone, kOptional, kGated /* required, times a sigmoid gate */ };
enum class ExpertWidthKey : uint8_t {
    kOwnOrDense,      ///< expert_feed_forward_length, else feed_forward_length
    kOwnOrDensePerK   ///< expert_feed_forward_length, else feed_forward_length / expert_used_count
};

struct FamilyRow {
    const char* architecture;       ///< general.architecture
    const char* family;             ///< for people, with experts
    const char* dense_family;       ///< for people, without
    ExpertUse experts;
    RopePairs rope_pairs;
    QkNorm qk_norm = QkNorm::kNone;
    bool qkv_bias = false;          ///< biases of q, k, v are required; elsewhere they are taken where present
    bool renormalise = true;
    SharedExpert shared = SharedExpert::kNone;
    ExpertWidthKey expert_width = ExpertWidthKey::kOwnOrDense;
    bool granite_scales = false;    ///< attention.scale, embedding_scale, residual_scale, logit_scale
    bool rope_freqs = false;        ///< takes rope_freqs.weight (llama3 scaling)
    bool may_tie_output = true;
};

std::span<const FamilyRow> family_table();
/// Null for an architecture that has no row.
const FamilyRow* find_family(std::string_view architecture);

}  // namespace gs
