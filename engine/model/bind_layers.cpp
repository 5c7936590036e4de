// The tensors of one layer: attention, then the dense or routed network (spec/moe-families.md sections 1.3 and 7).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/model/weight_binder.h"

namespace gs {
namespace {

constexpr Presence only_if(bool condition) { return condition ? Presence::kRequired : Presence::kAbsent; }

}  // namespace

Result<LayerWeights> WeightBinder::bind_layer(int layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    LayerWeights w;
    GS_TRY_VOID(bind_norms(blk, w));
    GS_TRY_VOID(bind_attention(blk, w));
    GS_TRY_VOID(bind_ffn(blk, layer, w));
    return w;
}

Result<void> WeightBinder::bind_norms(const std::string& blk, LayerWeights& w) {
    const int width = m_spec.n_embd;
    const Presence bias = only_if(m_row.norm_bias);
    GS_TRY(w.attn_norm, require(blk + "attn_norm.weight", width, 1));
    GS_TRY(w.attn_norm_bias, bind(bias, blk + "attn_norm.bias", width, 1));
    GS_TRY(w.ffn_norm, require(blk + m_row.ffn_norm + ".weight", width, 1));
    GS_TRY(w.ffn_norm_bias, bind(bias, blk + m_row.ffn_norm + ".bias", width, 1));
    if (!m_row.post_norms) return {};
    GS_TRY(w.attn_post_norm, require(blk + "attn_output_norm.weight", width, 1));
    const char* name = has(blk + "layer_output_norm.weight") ? "layer_output_norm.weight" : "post_ffw_norm.weight";   // the first in files of Grok-1
    GS_TRY(w.ffn_post_norm, require(blk + name, width, 1));
    return {};
}

Result<void> WeightBinder::bind_attention(const std::string& blk, LayerWeights& w) {
    if (m_spec.is_mla()) {
        GS_TRY_VOID(bind_latent(blk, w));
    } else {
        GS_TRY_VOID(bind_qkv(blk, w));
        GS_TRY_VOID(bind_qk_norm(blk, w));
    }
    GS_TRY(w.sinks, bind(only_if(m_row.sinks), blk + "attn_sinks.weight", m_spec.n_heads, 1));
    GS_TRY(w.attn_out, require(blk + "attn_output.weight", m_spec.value_width(), m_spec.n_embd));
    GS_TRY(const Weight out_bias, optional(blk + "attn_output.bias", m_spec.n_embd, 1));
    if (m_row.attention_out_bias) w.attn_out_bias = out_bias;
    return {};
}

/// Three matrices, or one fused (rows in order q, k, v).
Result<void> WeightBinder::bind_qkv(const std::string& blk, LayerWeights& w) {
    const int width = m_spec.n_embd;
    const int nq = m_spec.n_heads * m_spec.head_dim_k, nk = m_spec.n_kv_heads * m_spec.head_dim_k, nv = m_spec.n_kv_heads * m_spec.head_dim_v;
    if (!has(blk + "attn_q.weight") && has(blk + "attn_qkv.weight")) {
        GS_TRY(const Weight qkv, require(blk + "attn_qkv.weight", width, nq + nk + nv));
        w.q = rows_of(qkv, 0, nq);
        w.k = rows_of(qkv, nq, nk);
        w.v = rows_of(qkv, nq + nk, nv);
        GS_TRY(const Weight bias, optional(blk + "attn_qkv.bias", nq + nk + nv, 1));
        if (bias) {
            w.q_bias = values_of(bias, 0, nq);
            w.k_bias = values_of(bias, nq, nk);
            w.v_bias = values_of(bias, nq + nk, nv);
            return {};
        }
    } else {
        GS_TRY(w.q, require(blk + "attn_q.weight", width, nq));
        GS_TRY(w.k, require(blk + "attn_k.weight", width, nk));
        GS_TRY(w.v, require(blk + "attn_v.weight", width, nv));
    }
    GS_TRY(w.q_bias, optional(blk + "attn_q.bias", nq, 1));
    GS_TRY(w.k_bias, optional(blk + "attn_k.bias", nk, 1));
    GS_TRY(w.v_bias, optional(blk + "attn_v.bias", nv, 1));
    if (m_row.qkv_bias && !(w.q_bias && w.k_bias && w.v_bias)) return missing_tensor(blk + "attn_{q,k,v}.bias");
    return {};
}

Result<void> WeightBinder::bind_qk_norm(const std::string& blk, LayerWeights& w) {
    if (m_spec.qk_norm == QkNorm::kNone || m_spec.qk_norm == QkNorm::kPlainAfterRope) return {};
    const bool whole = m_spec.qk_norm == QkNorm::kFullWidth;
    const Presence presence = m_row.qk_norm_optional ? Presence::kOptional : Presence::kRequired;
    GS_TRY(w.q_norm, bind(presence, blk + "attn_q_norm.weight", whole ? m_spec.n_heads * m_spec.head_dim_k : m_spec.head_dim_k, 1));
    GS_TRY(w.k_norm, bind(w.q_norm ? Presence::kRequired : presence, blk + "attn_k_norm.weight",
                          whole ? m_spec.n_kv_heads * m_spec.head_dim_k : m_spec.head_dim_k, 1));
    if (!w.q_norm && w.k_norm) return missing_tensor(blk + "attn_q_norm.weight");
    return {};
}

/// Section 7.5: queries straight from the input where attn_q is there, else through their own low rank.
Result<void> WeightBinder::bind_latent(const std::string& blk, LayerWeights& w) {
    MlaSpec& mla = m_spec.mla;
    const int width = m_spec.n_embd;
    if (has(blk + "attn_q.weight")) {
        // The rank is one number for all layers, and the decoder goes by it.
        if (!m_weights.layers.empty() && m_weights.layers.front().mla.q_a)
            return gguf_error("unsupported_layout", fmt::format("{}attn_q.weight takes the input itself, the queries of the layers before take it in a low "
                                                                "rank; this version cannot run both in one model", blk));
        mla.q_rank = 0;
        GS_TRY(w.q, require(blk + "attn_q.weight", width, m_spec.query_width()));
    } else {
        if (mla.q_rank == 0) return missing_tensor(blk + "attn_q.weight");
        GS_TRY(w.mla.q_a, require(blk + "attn_q_a.weight", width, mla.q_rank));
        GS_TRY(w.mla.q_a_norm, require(blk + "attn_q_a_norm.weight", mla.q_rank, 1));
        GS_TRY(w.q, require(blk + "attn_q_b.weight", mla.q_rank, m_spec.query_width()));
    }
    GS_TRY(w.mla.kv_a, require(blk + "attn_kv_a_mqa.weight", width, m_spec.head_dim_k));
    GS_TRY(w.mla.kv_a_norm, require(blk + "attn_kv_a_norm.weight", mla.kv_rank, 1));
    return bind_latent_heads(blk, w);
}

Result<void> WeightBinder::bind_latent_heads(const std::string& blk, LayerWeights& w) {
    const MlaSpec& mla = m_spec.mla;
    if (has(blk + "attn_k_b.weight") || !has(blk + "attn_kv_b.weight")) {
        GS_TRY(w.mla.k_b, require(blk + "attn_k_b.weight", mla.nope_dim, mla.kv_rank, m_spec.n_heads));
        GS_TRY(w.mla.v_b, require(blk + "attn_v_b.weight", mla.kv_rank, mla.value_dim, m_spec.n_heads));
        return {};
    }
    // The old layout: of each head dn rows for keys, then dv rows for values.
    const int rows = mla.nope_dim + mla.value_dim;
    GS_TRY(Weight both, require(blk + "attn_kv_b.weight", mla.kv_rank, m_spec.n_heads * rows));
    both.n_out = rows;
    both.n_slabs = m_spec.n_heads;
    w.mla.k_b = rows_of(both, 0, mla.nope_dim);
    w.mla.v_b = rows_of(both, mla.nope_dim, mla.value_dim);
    w.mla.k_b_transposed = true;
    return {};
}

Result<void> WeightBinder::bind_ffn(const std::string& blk, int layer, LayerWeights& w) {
    // The tensor decides whether a layer routes, not the metadata (moe-families.md section 1.3).
    if (has(blk + "ffn_gate_inp.weight")) {
        if (!m_spec.is_moe()) return gguf_error("missing_key", fmt::format("layer {} has a router, but {}.expert_count is missing or 0", layer, m_spec.architecture));
        GS_TRY_VOID(bind_router(blk, w));
        GS_TRY_VOID(bind_experts(blk, w));
        GS_TRY_VOID(bind_shared(blk, w));
        m_spec.moe_layers.push_back(layer);
        return {};
    }
    if (m_spec.is_moe() && !has(blk + "ffn_gate.weight")) return missing_tensor(blk + "ffn_gate_inp.weight");
    GS_TRY(w.dense, bind_network(blk, ""));
    if (m_row.dense_bias) {
        GS_TRY(w.dense.gate_bias, optional(blk + "ffn_gate.bias", w.dense.width(), 1));
        GS_TRY(w.dense.up_bias, optional(blk + "ffn_up.bias", w.dense.width(), 1));
        GS_TRY(w.dense.down_bias, optional(blk + "ffn_down.bias", m_spec.n_embd, 1));
    }
    m_dense_ff = std::max(m_dense_ff, w.dense.width());
    return {};
}

/// ffn_gate, ffn_up and ffn_down with a suffix, of the width that they have.
Result<FfnWeights> WeightBinder::bind_network(const std::string& blk, const char* suffix) {
    const auto name = [&](const char* part) { return fmt::format("{}ffn_{}{}.weight", blk, part, suffix); };
    FfnWeights ffn{.activation = m_row.activation};
    GS_TRY(const int width, second_dim(name("gate")));
    GS_TRY(ffn.gate, require(name("gate"), m_spec.n_embd, width));
    GS_TRY(ffn.up, require(name("up"), m_spec.n_embd, width));
    GS_TRY(ffn.down, require(name("down"), width, m_spec.n_embd));
    return ffn;
}

Result<void> WeightBinder::bind_router(const std::string& blk, LayerWeights& w) {
    const int n_experts = m_spec.router.n_experts;
    GS_TRY(w.router, require(blk + "ffn_gate_inp.weight", m_spec.n_embd, n_experts));
    GS_TRY(w.router_bias, bind(only_if(m_row.expert_bias), blk + "ffn_gate_inp.bias", n_experts, 1));
    GS_TRY(const Weight bias, bind(m_row.selection_bias, blk + "exp_probs_b.bias", n_experts, 1));
    if (!bias) return {};
    w.selection_bias.resize(static_cast<size_t>(n_experts));
    tensor_type_info(bias.type).dequantize(bias.data, w.selection_bias.size(), w.selection_bias.data());
    if (!std::all_of(w.selection_bias.begin(), w.selection_bias.end(), [](float b) { return std::isfinite(b); }))
        return gguf_error("bad_value", fmt::format("{}exp_probs_b.bias has a value that is not finite", blk));
    return {};
}

Result<void> WeightBinder::bind_experts(const std::string& blk, LayerWeights& w) {
    FfnWeights& experts = w.experts;
    experts.activation = m_row.activation;
    GS_TRY(const int width, bind_gate_and_up(blk, experts));
    GS_TRY(experts.down, require(blk + "ffn_down_exps.weight", width, m_spec.n_embd, m_spec.router.n_experts));
    if (m_expert_ff != 0 && m_expert_ff != width)
        return gguf_error("unsupported_layout", fmt::format("its experts have different widths ({} and {}) in different layers", m_expert_ff, width));
    m_expert_ff = width;
    if (!m_row.expert_bias) return {};
    GS_TRY(experts.gate_bias, expert_bias(blk + "ffn_gate_exps.bias", width));
    GS_TRY(experts.up_bias, expert_bias(blk + "ffn_up_exps.bias", width));
    GS_TRY(experts.down_bias, expert_bias(blk + "ffn_down_exps.bias", m_spec.n_embd));
    return {};
}

/// Two stacks, or one whose slabs have the rows of both. Returns the width.
Result<int> WeightBinder::bind_gate_and_up(const std::string& blk, FfnWeights& experts) {
    const int n_experts = m_spec.router.n_experts;
    const std::string gate = blk + "ffn_gate_exps.weight", fused = blk + "ffn_gate_up_exps.weight";
    if (!has(gate) && has(blk + "ffn_gate.0.weight"))
        return gguf_error("unsupported_layout", "it stores one tensor per expert, as Mixtral files from before April 2024 do; "
                                                "files of today stack all experts of a layer in one tensor");
    if (has(gate) || !has(fused)) {
        GS_TRY(const int width, second_dim(gate));
        GS_TRY(experts.gate, require(gate, m_spec.n_embd, width, n_experts));
        GS_TRY(experts.up, require(blk + "ffn_up_exps.weight", m_spec.n_embd, width, n_experts));
        return width;
    }
    GS_TRY(const int rows, second_dim(fused));
    GS_TRY(const Weight both, require(fused, m_spec.n_embd, rows, n_experts));
    if (rows % 2 != 0) return gguf_error("shape_mismatch", fmt::format("the tensor {} has {} rows, which are not two halves", fused, rows));
    experts.gate = rows_of(both, 0, rows / 2);
    experts.up = rows_of(both, rows / 2, rows / 2);
    return rows / 2;
}

/// {width, E}: a vector a slab.
Result<Weight> WeightBinder::expert_bias(const std::string& name, int width) {
    GS_TRY(Weight bias, require(name, width, m_spec.router.n_experts));
    if (tensor_type_info(bias.type).block_values != 1)
        return gguf_error("bad_tensor_type", fmt::format("the biases {} are quantized; they must be F32, F16 or BF16", name));
    bias.n_slabs = bias.n_out;
    bias.n_out = 1;
    return bias;
}

Result<void> WeightBinder::bind_shared(const std::string& blk, LayerWeights& w) {
    const std::string gate = blk + "ffn_gate_shexp.weight";
    switch (m_row.shared) {
        case SharedExpert::kNone:
            if (!has(gate)) return {};
            return gguf_error("unsupported_layout", fmt::format("it has a shared expert ({}), which {} models do not have", gate, m_row.family));
        case SharedExpert::kOptional:
            if (!has(gate) && m_spec.shared_ff == 0) return {};
            break;
        case SharedExpert::kRequired:
        case SharedExpert::kGated: break;
        case SharedExpert::kBesideDense:
            if (!has(blk + "ffn_gate.weight")) return {};
            m_spec.ffn_scale = 0.70710678f;   // sqrt(2) / 2, section 7.12
            break;
    }
    GS_TRY(w.shared, bind_network(blk, m_row.shared == SharedExpert::kBesideDense ? "" : "_shexp"));
    if (m_row.shared == SharedExpert::kGated) {
        GS_TRY(w.shared_gate, require(blk + "ffn_gate_inp_shexp.weight", m_spec.n_embd, 1));
    }
    m_shared_ff = std::max(m_shared_ff, w.shared.width());
    return {};
}

}  // namespace gs
