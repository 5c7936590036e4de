// Finds every tensor that the forward pass reads and compares its shape with the metadata before any use (spec/gguf.md R20).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "engine/core/check.h"
#include "engine/model/family_table.h"
#include "engine/model/gguf_part.h"
#include "engine/model/model.h"

namespace gs {
namespace {

class Binder {
public:
    Binder(const GgufFile& file, ModelSpec& spec, const FamilyRow& row, std::vector<std::string>& warnings)
        : m_file(file), m_spec(spec), m_row(row), m_warnings(warnings) {}
    Result<ModelWeights> run();

private:
    const GgufTensor* take(const std::string& name);
    Result<Weight> require(const std::string& name, int n_in, int n_out, int n_slabs = 1);
    Result<Weight> optional(const std::string& name, int n_in, int n_out, int n_slabs = 1);
    Result<Weight> view(const GgufTensor& tensor, int n_in, int n_out, int n_slabs) const;
    Result<int> second_dim(const std::string& name) const;
    bool has(const std::string& name) const { return m_file.find(name) != nullptr; }

    Result<void> bind_globals();
    Result<void> bind_rope_freqs();
    Result<LayerWeights> bind_layer(int layer);
    Result<void> bind_attention(const std::string& blk, LayerWeights& w);
    Result<void> bind_qkv(const std::string& blk, LayerWeights& w);
    Result<void> bind_dense(const std::string& blk, LayerWeights& w);
    Result<void> bind_experts(const std::string& blk, LayerWeights& w);
    Result<void> bind_shared(const std::string& blk, LayerWeights& w);
    Result<void> check_rest();
    void warn_width(const char* what, int from_key, int from_tensor);

    const GgufFile& m_file;
    ModelSpec& m_spec;
    const FamilyRow& m_row;
    std::vector<std::string>& m_warnings;
    std::set<const GgufTensor*> m_used;
    ModelWeights m_weights;
    int m_dense_ff = 0, m_expert_ff = 0, m_shared_ff = 0;   ///< as the tensors have them
};

std::string shape_text(const GgufTensor& tensor) {
    std::string text = "{";
    for (int i = 0; i < tensor.n_dims; ++i) text += fmt::format("{}{}", i ? ", " : "", tensor.dims[static_cast<size_t>(i)]);
    return text + "}";
}

Error missing(const std::string& name) { return gguf_error("missing_tensor", fmt::format("the tensor {} is missing", name)); }

/// As a file has it: without trailing ones.
std::string shape_text(const std::array<uint64_t, 4>& dims) {
    GgufTensor tensor{.dims = dims};
    for (int i = 0; i < 4; ++i)
        if (dims[static_cast<size_t>(i)] > 1) tensor.n_dims = i + 1;
    return shape_text(tensor);
}

/// Rows first..first+n-1 as a matrix of their own; rows are quantized independently.
Weight rows_of(Weight whole, int first, int n) {
    whole.data = whole.row(first);
    whole.n_out = n;
    return whole;
}

/// Values first..first+n-1 of an unquantized vector.
Weight values_of(Weight whole, int first, int n) {
    const size_t value_bytes = tensor_type_info(whole.type).block_bytes;
    whole.data += value_bytes * static_cast<size_t>(first);
    whole.n_in = n;
    whole.row_bytes = value_bytes * static_cast<size_t>(n);
    return whole;
}

const GgufTensor* Binder::take(const std::string& name) {
    const GgufTensor* tensor = m_file.find(name);
    if (tensor) m_used.insert(tensor);
    return tensor;
}

Result<Weight> Binder::view(const GgufTensor& tensor, int n_in, int n_out, int n_slabs) const {
    const std::array<uint64_t, 4> expected{static_cast<uint64_t>(n_in), static_cast<uint64_t>(n_out), static_cast<uint64_t>(n_slabs), 1};
    const std::string name = sanitise_for_display(tensor.name);
    if (tensor.dims != expected)
        return gguf_error("shape_mismatch",
                          fmt::format("the tensor {} has the shape {}; the metadata ask for {}", name, shape_text(tensor), shape_text(expected)));
    const TensorTypeInfo& type = tensor_type_info(tensor.type);
    if (!type.dequantize) {
        Error error = gguf_error("bad_tensor_type", fmt::format("the tensor {} has the type {}, which this version cannot compute with", name, type.name));
        error.remedy = "Use a file of the same model with weights in F32, F16, BF16 or a quantized type (Q8_0, Q4_K, IQ4_XS, MXFP4, …).";
        return error;
    }
    if (n_out == 1 && n_slabs == 1 && tensor.n_dims == 1 && type.block_values != 1)
        return gguf_error("bad_tensor_type", fmt::format("the vector {} is quantized as {}; vectors must be F32, F16 or BF16", name, type.name));
    Weight weight{.type = tensor.type, .data = tensor.data, .n_in = n_in, .n_out = n_out, .n_slabs = n_slabs};
    weight.row_bytes = static_cast<size_t>(n_in) / type.block_values * type.block_bytes;
    GS_CHECK(weight.n_bytes() == tensor.n_bytes, "a weight's bytes differ from its tensor's");
    return weight;
}

Result<Weight> Binder::optional(const std::string& name, int n_in, int n_out, int n_slabs) {
    const GgufTensor* tensor = take(name);
    return tensor ? view(*tensor, n_in, n_out, n_slabs) : Result<Weight>(Weight{});
}

Result<Weight> Binder::require(const std::string& name, int n_in, int n_out, int n_slabs) {
    return has(name) ? optional(name, n_in, n_out, n_slabs) : Result<Weight>(missing(name));
}

/// Number of rows of a matrix whose width only the file knows.
Result<int> Binder::second_dim(const std::string& name) const {
    const GgufTensor* tensor = m_file.find(name);
    if (!tensor) return missing(name);
    if (tensor->dims[1] > static_cast<uint64_t>(1 << 24))
        return gguf_error("shape_mismatch", fmt::format("the tensor {} has the shape {}", name, shape_text(*tensor)));
    return static_cast<int>(tensor->dims[1]);
}

Result<void> Binder::bind_globals() {
    const int width = m_spec.n_embd, n_tokens = m_spec.n_vocab;
    GS_TRY(const int n_rows, second_dim("token_embd.weight"));
    if (n_rows < n_tokens)
        return gguf_error("shape_mismatch", fmt::format("the vocabulary has {} tokens, but the embedding only {} rows", n_tokens, n_rows));
    // Rows beyond the vocabulary are padding: they stand for no token, so they must never be chosen.
    if (n_rows > n_tokens) m_warnings.push_back(fmt::format("the embedding has {} rows for {} tokens; the rest is not used", n_rows, n_tokens));
    GS_TRY(const Weight embedding, require("token_embd.weight", width, n_rows));
    m_weights.token_embedding = rows_of(embedding, 0, n_tokens);
    GS_TRY(m_weights.output_norm, require("output_norm.weight", width, 1));
    if (!has("output.weight")) {
        if (!m_row.may_tie_output) return missing("output.weight");
        m_weights.output = m_weights.token_embedding;
        return bind_rope_freqs();
    }
    GS_TRY(const int n_output_rows, second_dim("output.weight"));
    if (n_output_rows < n_tokens)
        return gguf_error("shape_mismatch", fmt::format("the vocabulary has {} tokens, but output.weight only {} rows", n_tokens, n_output_rows));
    GS_TRY(const Weight output, require("output.weight", width, n_output_rows));
    m_weights.output = rows_of(output, 0, n_tokens);
    return bind_rope_freqs();
}

Result<void> Binder::bind_rope_freqs() {
    if (!m_row.rope_freqs) return {};
    GS_TRY(m_weights.rope_freqs, optional("rope_freqs.weight", m_spec.n_rot / 2, 1));
    const Weight& freqs = m_weights.rope_freqs;
    if (!freqs) return {};
    std::vector<float> divisors(static_cast<size_t>(freqs.n_in));
    tensor_type_info(freqs.type).dequantize(freqs.data, divisors.size(), divisors.data());
    if (!std::all_of(divisors.begin(), divisors.end(), [](float f) { return std::isfinite(f) && f > 0; }))
        return gguf_error("bad_value", "rope_freqs.weight has a divisor that is not a positive number");
    return {};
}

Result<void> Binder::bind_attention(const std::string& blk, LayerWeights& w) {
    GS_TRY(w.attn_norm, require(blk + "attn_norm.weight", m_spec.n_embd, 1));
    GS_TRY_VOID(bind_qkv(blk, w));
    const int q_width = m_spec.n_heads * m_spec.head_dim_k, k_width = m_spec.n_kv_heads * m_spec.head_dim_k;
    if (m_spec.qk_norm != QkNorm::kNone) {
        const bool per_head = m_spec.qk_norm == QkNorm::kPerHead;
        GS_TRY(w.q_norm, require(blk + "attn_q_norm.weight", per_head ? m_spec.head_dim_k : q_width, 1));
        GS_TRY(w.k_norm, require(blk + "attn_k_norm.weight", per_head ? m_spec.head_dim_k : k_width, 1));
    }
    GS_TRY(w.attn_out, require(blk + "attn_output.weight", m_spec.n_heads * m_spec.head_dim_v, m_spec.n_embd));
    GS_TRY(w.attn_out_bias, optional(blk + "attn_output.bias", m_spec.n_embd, 1));
    return {};
}

/// Three matrices, or one fused (rows in order q, k, v).
Result<void> Binder::bind_qkv(const std::string& blk, LayerWeights& w) {
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
        }
    } else {
        GS_TRY(w.q, require(blk + "attn_q.weight", width, nq));
        GS_TRY(w.k, require(blk + "attn_k.weight", width, nk));
        GS_TRY(w.v, require(blk + "attn_v.weight", width, nv));
        GS_TRY(w.q_bias, optional(blk + "attn_q.bias", nq, 1));
        GS_TRY(w.k_bias, optional(blk + "attn_k.bias", nk, 1));
        GS_TRY(w.v_bias, optional(blk + "attn_v.bias", nv, 1));
    }
    if (m_row.qkv_bias && !(w.q_bias && w.k_bias && w.v_bias)) return missing(blk + "attn_{q,k,v}.bias");
    return {};
}

Result<void> Binder::bind_dense(const std::string& blk, LayerWeights& w) {
    GS_TRY(const int width, second_dim(blk + "ffn_gate.weight"));
    GS_TRY(w.dense.gate, require(blk + "ffn_gate.weight", m_spec.n_embd, width));
    GS_TRY(w.dense.up, require(blk + "ffn_up.weight", m_spec.n_embd, width));
    GS_TRY(w.dense.down, require(blk + "ffn_down.weight", width, m_spec.n_embd));
    m_dense_ff = std::max(m_dense_ff, width);
    return {};
}

Result<void> Binder::bind_experts(const std::string& blk, LayerWeights& w) {
    const int n_experts = m_spec.router.n_experts;
    GS_TRY(w.router, require(blk + "ffn_gate_inp.weight", m_spec.n_embd, n_experts));
    if (!has(blk + "ffn_gate_exps.weight") && has(blk + "ffn_gate.0.weight"))
        return gguf_error("unsupported_layout", "it stores one tensor per expert, as Mixtral files from before April 2024 do; "
                                                "files of today stack all experts of a layer in one tensor");
    if (!has(blk + "ffn_gate_exps.weight") && has(blk + "ffn_gate_up_exps.weight"))
        return gguf_error("unsupported_layout", "it stores the experts' gate and up matrices fused (ffn_gate_up_exps), which this version cannot run");
    GS_TRY(const int width, second_dim(blk + "ffn_gate_exps.weight"));
    GS_TRY(w.experts.gate, require(blk + "ffn_gate_exps.weight", m_spec.n_embd, width, n_experts));
    GS_TRY(w.experts.up, require(blk + "ffn_up_exps.weight", m_spec.n_embd, width, n_experts));
    GS_TRY(w.experts.down, require(blk + "ffn_down_exps.weight", width, m_spec.n_embd, n_experts));
    if (m_expert_ff != 0 && m_expert_ff != width)
        return gguf_error("unsupported_layout", fmt::format("its experts have different widths ({} and {}) in different layers", m_expert_ff, width));
    m_expert_ff = width;
    return bind_shared(blk, w);
}

Result<void> Binder::bind_shared(const std::string& blk, LayerWeights& w) {
    const std::string gate = blk + "ffn_gate_shexp.weight";
    if (m_row.shared == SharedExpert::kNone) {
        if (!has(gate)) return {};
        return gguf_error("unsupported_layout", fmt::format("it has a shared expert ({}), which {} models do not have", gate, m_row.family));
    }
    if (!has(gate) && m_row.shared == SharedExpert::kOptional && m_spec.shared_ff == 0) return {};
    GS_TRY(const int width, second_dim(gate));
    GS_TRY(w.shared.gate, require(gate, m_spec.n_embd, width));
    GS_TRY(w.shared.up, require(blk + "ffn_up_shexp.weight", m_spec.n_embd, width));
    GS_TRY(w.shared.down, require(blk + "ffn_down_shexp.weight", width, m_spec.n_embd));
    if (m_row.shared == SharedExpert::kGated) {
        GS_TRY(w.shared_gate, require(blk + "ffn_gate_inp_shexp.weight", m_spec.n_embd, 1));
    }
    m_shared_ff = std::max(m_shared_ff, width);
    return {};
}

Result<LayerWeights> Binder::bind_layer(int layer) {
    const std::string blk = fmt::format("blk.{}.", layer);
    LayerWeights w;
    GS_TRY_VOID(bind_attention(blk, w));
    GS_TRY(w.ffn_norm, require(blk + "ffn_norm.weight", m_spec.n_embd, 1));
    // The tensor decides whether a layer routes, not the metadata (moe-families.md section 1.3).
    if (has(blk + "ffn_gate_inp.weight")) {
        if (!m_spec.is_moe()) return gguf_error("missing_key", fmt::format("layer {} has a router, but {}.expert_count is missing or 0", layer, m_spec.architecture));
        GS_TRY_VOID(bind_experts(blk, w));
        m_spec.moe_layers.push_back(layer);
    } else if (m_spec.is_moe() && !has(blk + "ffn_gate.weight")) {
        return missing(blk + "ffn_gate_inp.weight");
    } else {
        GS_TRY_VOID(bind_dense(blk, w));
    }
    return w;
}

/// Tensors left over: some would change the result, so the file is refused; the others are only mentioned.
Result<void> Binder::check_rest() {
    static constexpr const char* kMatter[] = {"ffn_gate_inp.bias", "exp_probs_b", "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias", "_exps.bias",
                                              "_shexp.bias", "attn_sinks", "post_attention_norm", "post_ffw_norm", "attn_output_norm",
                                              "layer_output_norm", "attn_norm.bias", "ffn_norm.bias", "output_norm.bias", "output.bias",
                                              "rope_factors_", ".scale"};
    size_t n_unused = 0;
    std::string first;
    for (const GgufTensor& tensor : m_file.tensors()) {
        if (m_used.contains(&tensor)) continue;
        int layer = -1;
        if (std::sscanf(tensor.name.c_str(), "blk.%9d.", &layer) == 1 && layer >= m_spec.n_layers && m_file.has(m_spec.architecture + ".nextn_predict_layers"))
            continue;   // multi-token prediction
        for (const char* part : kMatter)
            if (tensor.name.find(part) != std::string::npos)
                return gguf_error("unsupported_layout", fmt::format("the tensor {} belongs to a kind of model that this version cannot run",
                                                                    sanitise_for_display(tensor.name)));
        if (n_unused++ == 0) first = sanitise_for_display(tensor.name);
    }
    if (n_unused > 0) m_warnings.push_back(fmt::format("{} tensors of the file are not used ({}{})", n_unused, first, n_unused > 1 ? ", …" : ""));
    return {};
}

void Binder::warn_width(const char* what, int from_key, int from_tensor) {
    if (from_key > 0 && from_tensor > 0 && from_key != from_tensor)
        m_warnings.push_back(fmt::format("the metadata give {} a width of {}, the tensors {}; the tensors are right", what, from_key, from_tensor));
}

Result<ModelWeights> Binder::run() {
    m_spec.moe_layers.clear();
    GS_TRY_VOID(bind_globals());
    for (int layer = 0; layer < m_spec.n_layers; ++layer) {
        GS_TRY(LayerWeights w, bind_layer(layer));
        m_weights.layers.push_back(w);
    }
    if (m_spec.is_moe() && m_spec.moe_layers.empty()) return missing("blk.0.ffn_gate_inp.weight");
    GS_TRY_VOID(check_rest());
    warn_width("the experts", m_spec.expert_ff, m_expert_ff);
    warn_width("the shared expert", m_spec.shared_ff, m_shared_ff);
    if (m_dense_ff > 0) warn_width("the dense FFN", m_spec.dense_ff, m_dense_ff);
    m_spec.dense_ff = m_dense_ff;
    m_spec.expert_ff = m_expert_ff;
    m_spec.shared_ff = m_shared_ff;
    return std::move(m_weights);
}

}  // namespace

Result<ModelWeights> bind_weights(const GgufFile& file, ModelSpec& spec, std::vector<std::string>& warnings) {
    const FamilyRow* row = find_family(spec.architecture);
    GS_CHECK(row, "bind_weights needs a spec from read_model_spec");
    return Binder(file, spec, *row, warnings).run();
}

}  // namespace gs
