// The smallest file of each family that loads: zero weights, a vocabulary of 32 single letters.
#pragma once

#include <string>
#include <vector>

#include "engine/model/family_table.h"
#include "tests/model/gguf_builder.h"

namespace gs::test {

/// D = width, H = 2, Hkv = 1, dk = dv = 8, E = 4, k = 2, F = Fe = Fs = 32, V = 32.
inline GgufBuilder tiny_model(const std::string& arch, int n_layers = 1, uint32_t width = 16) {
    const FamilyRow& row = *find_family(arch);
    const bool moe = row.experts != ExpertUse::kNever;
    GgufBuilder b;
    b.text("general.architecture", arch).text("general.name", "tiny");
    b.u32(arch + ".block_count", static_cast<uint32_t>(n_layers)).u32(arch + ".context_length", 64).u32(arch + ".embedding_length", width);
    b.u32(arch + ".feed_forward_length", 32).u32(arch + ".attention.head_count", 2).u32(arch + ".attention.head_count_kv", 1);
    b.u32(arch + ".attention.key_length", 8).u32(arch + ".attention.value_length", 8).f32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
    if (moe) b.u32(arch + ".expert_count", 4).u32(arch + ".expert_used_count", 2).u32(arch + ".expert_feed_forward_length", 32);
    if (row.granite_scales) b.f32(arch + ".logit_scale", 1);
    std::vector<std::string> tokens;
    for (int i = 0; i < 32; ++i) tokens.emplace_back(1, static_cast<char>('A' + i));
    b.texts("tokenizer.ggml.tokens", tokens);
    b.tensor("token_embd.weight", {width, 32}).tensor("output_norm.weight", {width}).tensor("output.weight", {width, 32});
    for (int layer = 0; layer < n_layers; ++layer) {
        const std::string blk = "blk." + std::to_string(layer) + ".";
        b.tensor(blk + "attn_norm.weight", {width}).tensor(blk + "ffn_norm.weight", {width}).tensor(blk + "attn_output.weight", {16, width});
        b.tensor(blk + "attn_q.weight", {width, 16}).tensor(blk + "attn_k.weight", {width, 8}).tensor(blk + "attn_v.weight", {width, 8});
        if (row.qkv_bias) b.tensor(blk + "attn_q.bias", {16}).tensor(blk + "attn_k.bias", {8}).tensor(blk + "attn_v.bias", {8});
        if (row.qk_norm == QkNorm::kPerHead) b.tensor(blk + "attn_q_norm.weight", {8}).tensor(blk + "attn_k_norm.weight", {8});
        if (row.qk_norm == QkNorm::kFullWidth) b.tensor(blk + "attn_q_norm.weight", {16}).tensor(blk + "attn_k_norm.weight", {8});
        if (row.shared == SharedExpert::kGated) {
            b.tensor(blk + "ffn_gate_shexp.weight", {width, 32}).tensor(blk + "ffn_up_shexp.weight", {width, 32});
            b.tensor(blk + "ffn_down_shexp.weight", {32, width}).tensor(blk + "ffn_gate_inp_shexp.weight", {width});
        }
        if (moe) {
            b.tensor(blk + "ffn_gate_inp.weight", {width, 4}).tensor(blk + "ffn_gate_exps.weight", {width, 32, 4});
            b.tensor(blk + "ffn_up_exps.weight", {width, 32, 4}).tensor(blk + "ffn_down_exps.weight", {32, width, 4});
        } else {
            b.tensor(blk + "ffn_gate.weight", {width, 32}).tensor(blk + "ffn_up.weight", {width, 32}).tensor(blk + "ffn_down.weight", {32, width});
        }
    }
    return b;
}

}  // namespace gs::test
