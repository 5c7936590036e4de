// What a model computes, as choices from short lists (spec/moe-families.md). One decoder reads a ModelSpec; family_table.cpp has one row a
// family that says how to read it from the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/routing/router.h"

namespace gs {

enum class RopePairs : uint8_t { kNeighbours /* NORM */, kHalves /* NEOX */ };
enum class QkNorm : uint8_t { kNone, kPerHead, kFullWidth };

struct ModelSpec {
    std::string architecture;        ///< general.architecture
    std::string family;              ///< for people: "Granite MoE"
    std::string name;                ///< general.name, sanitised
    int n_layers = 0;                ///< L
    int n_embd = 0;                  ///< D
    int n_vocab = 0;                 ///< rows of the embedding
    int n_ctx_train = 0;
    int n_heads = 0, n_kv_heads = 0; ///< H, Hkv
    int head_dim_k = 0, head_dim_v = 0;
    int n_rot = 0;                   ///< rotated dimensions per head
    float norm_eps = 1e-5f;
    RopePairs rope_pairs = RopePairs::kNeighbours;
    float rope_base = 10000.0f;
    float rope_linear_factor = 1.0f; ///< positions are divided by it (rope.scaling.type linear)
    QkNorm qk_norm = QkNorm::kNone;
    float attention_scale = 0;       ///< multiplies q·k; always set (1/sqrt(dk) unless the file says otherwise)
    float embedding_scale = 1, residual_scale = 1;
    float logit_divisor = 1;         ///< logits are divided by it (Granite)
    int dense_ff = 0;                ///< F, width of a dense FFN
    int expert_ff = 0, shared_ff = 0;///< Fe, Fs
    RouterSpec router;               ///< n_experts = 0 for a dense model
    std::vector<int> moe_layers;     ///< layer indices with a router, ascending

    bool is_moe() const { return router.n_experts > 0; }
};

}  // namespace gs
