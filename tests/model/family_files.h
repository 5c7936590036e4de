// The smallest file of each family that loads: zero weights, a vocabulary of 32 single letters.
#pragma once

#include <string>
#include <vector>

#include "engine/model/family_table.h"
#include "tests/model/gguf_builder.h"

namespace gs::test {

/// D = width, H = 2, Hkv = 1, dk = dv = 8, E = 4, k = 2, F = Fe = Fs = 32, V = 32. Latent attention: r = 16, dn = 4, n_rot = 4, dv = 8.
class TinyModel {
public:
    TinyModel(const std::string& arch, int n_layers, uint32_t width)
        : m_row(*find_family(arch)), m_arch(arch), m_width(width), m_moe(m_row.experts != ExpertUse::kNever) {
        write_keys(static_cast<uint32_t>(n_layers));
        tensor("token_embd.weight", {width, 32}).tensor("output_norm.weight", {width}).tensor("output.weight", {width, 32});
        if (m_row.norm_bias) tensor("output_norm.bias", {width});
        if (m_row.output_bias) tensor("output.bias", {32});
        for (int layer = 0; layer < n_layers; ++layer) {
            m_blk = "blk." + std::to_string(layer) + ".";
            write_norms();
            write_attention();
            write_ffn();
        }
    }
    GgufBuilder builder;

private:
    GgufBuilder& tensor(const std::string& name, std::vector<uint64_t> dims) { return builder.tensor(name, std::move(dims)); }
    void layer_tensor(const char* name, std::vector<uint64_t> dims) { tensor(m_blk + name, std::move(dims)); }
    void u32(const char* suffix, uint32_t value) { builder.u32(m_arch + "." + suffix, value); }

    void write_keys(uint32_t n_layers) {
        builder.text("general.architecture", m_arch).text("general.name", "tiny");
        u32("block_count", n_layers);
        u32("context_length", 64);
        u32("embedding_length", m_width);
        u32("feed_forward_length", 32);
        u32("attention.head_count", 2);
        u32("attention.head_count_kv", 1);
        u32("attention.key_length", 8);
        u32("attention.value_length", 8);
        builder.f32(m_arch + (m_row.norm == NormKind::kLayer ? ".attention.layer_norm_epsilon" : ".attention.layer_norm_rms_epsilon"), 1e-5f);
        if (m_row.attention == AttentionKind::kLatent) {
            u32("attention.kv_lora_rank", 16);
            u32("attention.key_length_mla", 8);
            u32("attention.value_length_mla", 8);
            u32("rope.dimension_count", 4);
        }
        if (m_moe) {
            u32("expert_count", 4);
            u32("expert_used_count", 2);
            u32("expert_feed_forward_length", 32);
        }
        if (m_row.gating == GatingKey::kMustChoose) u32("expert_gating_func", 2);
        if (m_row.scales == Scales::kGranite) builder.f32(m_arch + ".logit_scale", 1);
        std::vector<std::string> tokens;
        for (int i = 0; i < 32; ++i) tokens.emplace_back(1, static_cast<char>('A' + i));
        builder.texts("tokenizer.ggml.tokens", tokens);
    }
    void write_norms() {
        for (const std::string name : {"attn_norm", m_row.ffn_norm}) {
            tensor(m_blk + name + ".weight", {m_width});
            if (m_row.norm_bias) tensor(m_blk + name + ".bias", {m_width});
        }
        if (!m_row.post_norms) return;
        layer_tensor("attn_output_norm.weight", {m_width});
        layer_tensor("post_ffw_norm.weight", {m_width});
    }
    void write_attention() {
        layer_tensor("attn_output.weight", {16, m_width});
        layer_tensor("attn_q.weight", {m_width, 16});
        if (m_row.sinks) layer_tensor("attn_sinks.weight", {2});
        if (m_row.attention == AttentionKind::kLatent) {
            layer_tensor("attn_kv_a_mqa.weight", {m_width, 20});
            layer_tensor("attn_kv_a_norm.weight", {16});
            layer_tensor("attn_k_b.weight", {4, 16, 2});
            layer_tensor("attn_v_b.weight", {16, 8, 2});
            return;
        }
        layer_tensor("attn_k.weight", {m_width, 8});
        layer_tensor("attn_v.weight", {m_width, 8});
        if (m_row.qkv_bias) {
            layer_tensor("attn_q.bias", {16});
            layer_tensor("attn_k.bias", {8});
            layer_tensor("attn_v.bias", {8});
        }
        if (m_row.qk_norm == QkNorm::kNone || m_row.qk_norm == QkNorm::kPlainAfterRope) return;
        layer_tensor("attn_q_norm.weight", {m_row.qk_norm == QkNorm::kFullWidth ? 16u : 8u});
        layer_tensor("attn_k_norm.weight", {8});
    }
    void write_ffn() {
        if (!m_moe) return network("", 32);
        layer_tensor("ffn_gate_inp.weight", {m_width, 4});
        layer_tensor("ffn_gate_exps.weight", {m_width, 32, 4});
        layer_tensor("ffn_up_exps.weight", {m_width, 32, 4});
        layer_tensor("ffn_down_exps.weight", {32, m_width, 4});
        if (m_row.selection_bias == Presence::kRequired) layer_tensor("exp_probs_b.bias", {4});
        if (m_row.shared == SharedExpert::kGated || m_row.shared == SharedExpert::kRequired) network("_shexp", 32);
        if (m_row.shared == SharedExpert::kGated) layer_tensor("ffn_gate_inp_shexp.weight", {m_width});
        if (!m_row.expert_bias) return;
        layer_tensor("ffn_gate_inp.bias", {4});
        layer_tensor("ffn_gate_exps.bias", {32, 4});
        layer_tensor("ffn_up_exps.bias", {32, 4});
        layer_tensor("ffn_down_exps.bias", {m_width, 4});
    }
    void network(const std::string& suffix, uint64_t width) {
        tensor(m_blk + "ffn_gate" + suffix + ".weight", {m_width, width});
        tensor(m_blk + "ffn_up" + suffix + ".weight", {m_width, width});
        tensor(m_blk + "ffn_down" + suffix + ".weight", {width, m_width});
    }

    const FamilyRow& m_row;
    std::string m_arch, m_blk;
    uint32_t m_width;
    bool m_moe;
};

inline GgufBuilder tiny_model(const std::string& arch, int n_layers = 1, uint32_t width = 16) { return TinyModel(arch, n_layers, width).builder; }

}  // namespace gs::test
