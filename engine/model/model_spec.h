// What a model computes, as choices from short lists (spec/moe-families.md). One decoder reads a ModelSpec; family_table.cpp has one row a
// family that says how to read it from the file.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/routing/router.h"

namespace gs {

/// Where llama.cpp and the authors' code compute different things: whose decisions are followed (section 5).
enum class Reading : uint8_t { kLlamaCpp, kReference };
inline std::string_view name_of(Reading reading) { return reading == Reading::kLlamaCpp ? "llamacpp" : "reference"; }

enum class NormKind : uint8_t { kRms, kLayer };
enum class RopePairs : uint8_t { kNeighbours /* NORM */, kHalves /* NEOX */ };
/// On queries and keys. "AfterRope": the others come before the rotation; "Plain": without a weight, and only where positions are rotated.
enum class QkNorm : uint8_t { kNone, kPerHead, kFullWidth, kPerHeadAfterRope, kPlainAfterRope };

/// Rotation of queries and keys by their positions (sections 3.2 and 3.3).
struct RopeSpec {
    int n_rot = 0;                   ///< rotated dimensions per head
    RopePairs pairs = RopePairs::kNeighbours;
    float base = 10000.0f;
    float factor = 1.0f;             ///< positions are divided by it: all of them, or with YaRN the slowly turning pairs
    float magnitude = 1.0f;          ///< multiplies cosine and sine
    bool yarn = false;
    int original_context = 0;        ///< trained before it was extended (yarn, longrope)
    float beta_fast = 32, beta_slow = 1, extrapolation = 1;
    bool whole_borders = true;       ///< YaRN: the borders of its ramp are rounded outwards to whole pairs

    bool operator==(const RopeSpec&) const = default;
};

/// What the queries of one layer see of the past (section 3.4), and how they know where it is.
struct LayerAttention {
    int window = 0;                  ///< themselves and window - 1 keys before; 0 = all
    int chunk = 0;                   ///< keys with the same position / chunk; 0 = all
    bool rotates = true;
    bool grows = false;              ///< queries are multiplied by a factor that grows with their position (section 3.7)

    bool operator==(const LayerAttention&) const = default;
};

/// ln(floor((position + offset) / step) + 1) * per_step + 1, where attention would spread over ever more keys (section 3.7).
struct QueryGrowth {
    double per_step = 0.1, step = 8192, offset = 1;
    float factor(int position) const { return static_cast<float>(std::log(std::floor((position + offset) / step) + 1) * per_step + 1); }
};

/// Multi-head latent attention (section 3.8), computed in its absorbed form: one key-value head of kv_rank + n_rot dimensions.
struct MlaSpec {
    int q_rank = 0;                  ///< 0: queries come straight from the input
    int kv_rank = 0;                 ///< r; 0 = ordinary attention
    int nope_dim = 0;                ///< dn, head dimensions of queries and keys that are not rotated
    int value_dim = 0;               ///< dv, of a head after decompression
};

struct ModelSpec {
    std::string architecture;        ///< general.architecture
    std::string family;              ///< for people: "Granite MoE"
    std::string name;                ///< general.name, sanitised
    Reading reading = Reading::kLlamaCpp;
    int n_layers = 0;                ///< L
    int n_embd = 0;                  ///< D
    int n_vocab = 0;                 ///< rows of the embedding
    int n_ctx_train = 0;
    NormKind norm = NormKind::kRms;
    float norm_eps = 1e-5f;

    int n_heads = 0, n_kv_heads = 0; ///< H, Hkv
    int head_dim_k = 0, head_dim_v = 0;
    MlaSpec mla;
    std::vector<LayerAttention> attention;   ///< [L]
    RopeSpec rope;
    std::optional<RopeSpec> local_rope;      ///< of the layers with a window or chunks, where it is another one
    QueryGrowth query_growth;
    QkNorm qk_norm = QkNorm::kNone;
    float clamp_qkv = 0;             ///< q, k and v are clamped to ± this; 0 = off
    float attention_scale = 0;       ///< multiplies q·k; always set (1/sqrt(dk) unless the family or file says otherwise)
    float attention_cap = 0;         ///< scores become cap tanh(score / cap); 0 = off

    float embedding_scale = 1, residual_scale = 1;
    float ffn_scale = 1;             ///< multiplies routed and shared sum together (Grok)
    float logit_divisor = 1;         ///< logits are divided by it (Granite)
    float logit_cap = 0;             ///< then become cap tanh(logit / cap); 0 = off
    int dense_ff = 0;                ///< F, width of a dense FFN
    int expert_ff = 0, shared_ff = 0;///< Fe, Fs
    RouterSpec router;               ///< n_experts = 0 for a dense model
    std::vector<int> moe_layers;     ///< layer indices with a router, ascending

    const RopeSpec& rope_of(int layer) const {
        const LayerAttention& a = attention[static_cast<size_t>(layer)];
        return local_rope && (a.window > 0 || a.chunk > 0) ? *local_rope : rope;
    }
    bool is_moe() const { return router.n_experts > 0; }
    bool is_mla() const { return mla.kv_rank > 0; }
    /// Columns of queries as projected, of values as they reach the output projection, and of one position in the cache.
    int query_width() const { return n_heads * (is_mla() ? mla.nope_dim + rope.n_rot : head_dim_k); }
    int value_width() const { return n_heads * (is_mla() ? mla.value_dim : head_dim_v); }
    int k_width() const { return n_kv_heads * head_dim_k; }
    /// With MLA the value is a part of the key and not stored again.
    int v_width() const { return is_mla() ? 0 : n_kv_heads * head_dim_v; }
};

}  // namespace gs
