#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/core/check.h"
#include "engine/model/weight_binder.h"

namespace gs {
namespace {

std::string shape_text(const GgufTensor& tensor) {
    std::string text = "{";
    for (int i = 0; i < tensor.n_dims; ++i) text += fmt::format("{}{}", i ? ", " : "", tensor.dims[static_cast<size_t>(i)]);
    return text + "}";
}

/// As a file has it: without trailing ones.
std::string shape_text(const std::array<uint64_t, 4>& dims) {
    GgufTensor tensor{.dims = dims};
    for (int i = 0; i < 4; ++i)
        if (dims[static_cast<size_t>(i)] > 1) tensor.n_dims = i + 1;
    return shape_text(tensor);
}

}  // namespace

Weight rows_of(Weight whole, int first, int n) {
    whole.data = whole.row(first);
    whole.slab_gap += whole.row_bytes * static_cast<size_t>(whole.n_out - n);
    whole.n_out = n;
    return whole;
}

Weight values_of(Weight whole, int first, int n) {
    const size_t value_bytes = tensor_type_info(whole.type).block_bytes;
    whole.data += value_bytes * static_cast<size_t>(first);
    whole.n_in = n;
    whole.row_bytes = value_bytes * static_cast<size_t>(n);
    return whole;
}

const GgufTensor* WeightBinder::take(const std::string& name) {
    const GgufTensor* tensor = m_file.find(name);
    if (tensor) m_used.insert(tensor);
    return tensor;
}

Result<Weight> WeightBinder::view(const GgufTensor& tensor, int n_in, int n_out, int n_slabs) const {
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
    if (n_out == 1 && n_slabs == 1 && type.block_values != 1)
        return gguf_error("bad_tensor_type", fmt::format("the vector {} is quantized as {}; vectors must be F32, F16 or BF16", name, type.name));
    Weight weight{.type = tensor.type, .data = tensor.data, .n_in = n_in, .n_out = n_out, .n_slabs = n_slabs};
    weight.row_bytes = static_cast<size_t>(n_in) / type.block_values * type.block_bytes;
    GS_CHECK(weight.n_bytes() == tensor.n_bytes, "a weight's bytes differ from its tensor's");
    return weight;
}

Result<Weight> WeightBinder::optional(const std::string& name, int n_in, int n_out, int n_slabs) {
    const GgufTensor* tensor = take(name);
    return tensor ? view(*tensor, n_in, n_out, n_slabs) : Result<Weight>(Weight{});
}

Result<Weight> WeightBinder::require(const std::string& name, int n_in, int n_out, int n_slabs) {
    return has(name) ? optional(name, n_in, n_out, n_slabs) : Result<Weight>(missing_tensor(name));
}

Result<Weight> WeightBinder::bind(Presence presence, const std::string& name, int n_in, int n_out, int n_slabs) {
    if (presence == Presence::kAbsent) return Weight{};
    return presence == Presence::kRequired ? require(name, n_in, n_out, n_slabs) : optional(name, n_in, n_out, n_slabs);
}

/// Number of rows of a matrix whose width only the file knows.
Result<int> WeightBinder::second_dim(const std::string& name) const {
    const GgufTensor* tensor = m_file.find(name);
    if (!tensor) return missing_tensor(name);
    if (tensor->dims[1] > static_cast<uint64_t>(1 << 24))
        return gguf_error("shape_mismatch", fmt::format("the tensor {} has the shape {}", name, shape_text(*tensor)));
    return static_cast<int>(tensor->dims[1]);
}

Result<void> WeightBinder::bind_globals() {
    const int width = m_spec.n_embd, n_tokens = m_spec.n_vocab;
    GS_TRY(const int n_rows, second_dim("token_embd.weight"));
    if (n_rows < n_tokens)
        return gguf_error("shape_mismatch", fmt::format("the vocabulary has {} tokens, but the embedding only {} rows", n_tokens, n_rows));
    // Rows beyond the vocabulary are padding: they stand for no token, so they must never be chosen.
    if (n_rows > n_tokens) m_warnings.push_back(fmt::format("the embedding has {} rows for {} tokens; the rest is not used", n_rows, n_tokens));
    GS_TRY(const Weight embedding, require("token_embd.weight", width, n_rows));
    m_weights.token_embedding = rows_of(embedding, 0, n_tokens);
    GS_TRY(m_weights.output_norm, require("output_norm.weight", width, 1));
    GS_TRY(m_weights.output_norm_bias, bind(m_row.norm_bias ? Presence::kRequired : Presence::kAbsent, "output_norm.bias", width, 1));
    GS_TRY_VOID(bind_output());
    return bind_rope_factors();
}

Result<void> WeightBinder::bind_output() {
    const int width = m_spec.n_embd, n_tokens = m_spec.n_vocab;
    if (!has("output.weight")) {
        if (!m_row.may_tie_output) return missing_tensor("output.weight");
        m_weights.output = m_weights.token_embedding;
        return {};
    }
    GS_TRY(const int n_output_rows, second_dim("output.weight"));
    if (n_output_rows < n_tokens)
        return gguf_error("shape_mismatch", fmt::format("the vocabulary has {} tokens, but output.weight only {} rows", n_tokens, n_output_rows));
    GS_TRY(const Weight output, require("output.weight", width, n_output_rows));
    m_weights.output = rows_of(output, 0, n_tokens);
    if (!m_row.output_bias) return {};
    GS_TRY(const Weight bias, require("output.bias", n_output_rows, 1));
    m_weights.output_bias = values_of(bias, 0, n_tokens);
    return {};
}

Result<void> WeightBinder::bind_rope_factors() {
    if (m_row.rope_factors == RopeFactors::kOne) {
        GS_TRY(m_weights.rope_freqs, rope_divisors(Presence::kOptional, "rope_freqs.weight"));
    }
    if (m_row.rope_factors == RopeFactors::kLongAndShort) {
        GS_TRY(m_weights.rope_freqs, rope_divisors(Presence::kOptional, "rope_factors_short.weight"));
        GS_TRY(m_weights.rope_freqs_long, rope_divisors(m_weights.rope_freqs ? Presence::kRequired : Presence::kOptional, "rope_factors_long.weight"));
    }
    return {};
}

Result<Weight> WeightBinder::rope_divisors(Presence presence, const std::string& name) {
    GS_TRY(const Weight freqs, bind(presence, name, m_spec.rope.n_rot / 2, 1));
    if (!freqs) return Weight{};
    std::vector<float> divisors(static_cast<size_t>(freqs.n_in));
    tensor_type_info(freqs.type).dequantize(freqs.data, divisors.size(), divisors.data());
    if (!std::all_of(divisors.begin(), divisors.end(), [](float f) { return std::isfinite(f) && f > 0; }))
        return gguf_error("bad_value", fmt::format("{} has a divisor that is not a positive number", name));
    return freqs;
}

/// Tensors left over: some would change the result, so the file is refused; the others are only mentioned.
Result<void> WeightBinder::check_rest() {
    static constexpr const char* kMatter[] = {"ffn_gate_inp.bias", "exp_probs_b", "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias", "_exps.bias",
                                              "_shexp.bias", "_shexp.weight", "attn_sinks", "post_attention_norm", "post_ffw_norm",
                                              "attn_output_norm", "layer_output_norm", "attn_norm.bias", "ffn_norm.bias", "output_norm.bias",
                                              "output.bias", "attn_q_norm", "attn_k_norm", "rope_factors_", ".scale"};
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

void WeightBinder::warn_width(const char* what, int from_key, int from_tensor) {
    if (from_key > 0 && from_tensor > 0 && from_key != from_tensor)
        m_warnings.push_back(fmt::format("the metadata give {} a width of {}, the tensors {}; the tensors are right", what, from_key, from_tensor));
}

Result<ModelWeights> WeightBinder::run() {
    m_spec.moe_layers.clear();
    GS_TRY_VOID(bind_globals());
    for (int layer = 0; layer < m_spec.n_layers; ++layer) {
        GS_TRY(LayerWeights w, bind_layer(layer));
        m_weights.layers.push_back(w);
    }
    if (m_spec.is_moe() && m_spec.moe_layers.empty()) return missing_tensor("blk.0.ffn_gate_inp.weight");
    GS_TRY_VOID(check_rest());
    // Section 3.8, end.
    if (m_spec.is_mla() && m_spec.rope.yarn && !m_file.has(m_spec.architecture + ".rope.scaling.yarn_log_multiplier"))
        m_warnings.push_back("the file does not say how the softmax is scaled with its longer context (yarn_log_multiplier): results may be off");
    warn_width("the experts", m_spec.expert_ff, m_expert_ff);
    warn_width("the shared expert", m_spec.shared_ff, m_shared_ff);
    if (m_dense_ff > 0) warn_width("the dense FFN", m_spec.dense_ff, m_dense_ff);
    m_spec.dense_ff = m_dense_ff;
    m_spec.expert_ff = m_expert_ff;
    m_spec.shared_ff = m_shared_ff;
    return std::move(m_weights);
}

Result<ModelWeights> bind_weights(const GgufFile& file, ModelSpec& spec, std::vector<std::string>& warnings) {
    const FamilyRow* row = find_family(spec.architecture);
    GS_CHECK(row, "bind_weights needs a spec from read_model_spec");
    return WeightBinder(file, spec, in_reading(*row, spec.reading), warnings).run();
}

}  // namespace gs
