#include "engine/model/family_table.h"

#include <string>

#include "engine/model/model.h"

namespace gs {
namespace {

// The flags follow llama.cpp where it differs from the authors' code (moe-families.md section 5, policy "llamacpp"). By architecture name.
constexpr FamilyRow kFamilies[] = {
    // 7.8 with the FFN of a dense Llama
    {.architecture = "granite", .family = "Granite", .dense_family = "Granite (dense)", .experts = ExpertUse::kNever,
     .rope_pairs = RopePairs::kNeighbours, .granite_scales = true, .rope_freqs = true},
    // 7.8
    {.architecture = "granitemoe", .family = "Granite MoE", .dense_family = "Granite (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kNeighbours, .shared = SharedExpert::kOptional, .granite_scales = true, .rope_freqs = true},
    // 7.1, and 7.18 without experts
    {.architecture = "llama", .family = "Mixtral", .dense_family = "Llama (dense)", .experts = ExpertUse::kOptional,
     .rope_pairs = RopePairs::kNeighbours, .rope_freqs = true},
    // 7.2
    {.architecture = "olmoe", .family = "OLMoE", .dense_family = "OLMo", .experts = ExpertUse::kRequired, .rope_pairs = RopePairs::kHalves,
     .qk_norm = QkNorm::kFullWidth, .renormalise = false, .may_tie_output = false},
    // The attention of 7.3 with the FFN of a dense Llama
    {.architecture = "qwen2", .family = "Qwen2", .dense_family = "Qwen2 (dense)", .experts = ExpertUse::kNever, .rope_pairs = RopePairs::kHalves,
     .qkv_bias = true},
    // 7.3
    {.architecture = "qwen2moe", .family = "Qwen2 MoE", .dense_family = "Qwen2 (dense)", .experts = ExpertUse::kRequired,
     .rope_pairs = RopePairs::kHalves, .qkv_bias = true, .renormalise = false, .shared = SharedExpert::kGated,
     .expert_width = ExpertWidthKey::kOwnOrDensePerK, .may_tie_output = false},
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

std::string supported_architectures() {
    std::string list;
    for (const FamilyRow& row : kFamilies) list += (list.empty() ? "" : ", ") + std::string(row.architecture);
    return list;
}

}  // namespace gs
