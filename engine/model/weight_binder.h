// Internal to engine/model: finds every tensor that the forward pass reads and compares its shape with the metadata before any use
// (spec/gguf.md R20).
#pragma once

#include <fmt/format.h>

#include <set>
#include <string>
#include <vector>

#include "engine/model/family_table.h"
#include "engine/model/gguf_part.h"
#include "engine/model/model.h"

namespace gs {

class WeightBinder {
public:
    WeightBinder(const GgufFile& file, ModelSpec& spec, const FamilyRow& row, std::vector<std::string>& warnings)
        : m_file(file), m_spec(spec), m_row(row), m_warnings(warnings) {}
    Result<ModelWeights> run();

private:
    const GgufTensor* take(const std::string& name);
    Result<Weight> require(const std::string& name, int n_in, int n_out, int n_slabs = 1);
    Result<Weight> optional(const std::string& name, int n_in, int n_out, int n_slabs = 1);
    Result<Weight> bind(Presence presence, const std::string& name, int n_in, int n_out, int n_slabs = 1);
    Result<Weight> view(const GgufTensor& tensor, int n_in, int n_out, int n_slabs) const;
    Result<int> second_dim(const std::string& name) const;
    bool has(const std::string& name) const { return m_file.find(name) != nullptr; }

    Result<void> bind_globals();
    Result<void> bind_output();
    Result<void> bind_rope_factors();
    Result<Weight> rope_divisors(Presence presence, const std::string& name);
    Result<void> check_rest();
    void warn_width(const char* what, int from_key, int from_tensor);

    // bind_layers.cpp
    Result<LayerWeights> bind_layer(int layer);
    Result<void> bind_norms(const std::string& blk, LayerWeights& w);
    Result<void> bind_attention(const std::string& blk, LayerWeights& w);
    Result<void> bind_qkv(const std::string& blk, LayerWeights& w);
    Result<void> bind_qk_norm(const std::string& blk, LayerWeights& w);
    Result<void> bind_latent(const std::string& blk, LayerWeights& w);
    Result<void> bind_latent_heads(const std::string& blk, LayerWeights& w);
    Result<void> bind_ffn(const std::string& blk, int layer, LayerWeights& w);
    Result<FfnWeights> bind_network(const std::string& blk, const char* suffix);
    Result<void> bind_router(const std::string& blk, LayerWeights& w);
    Result<void> bind_experts(const std::string& blk, LayerWeights& w);
    Result<int> bind_gate_and_up(const std::string& blk, FfnWeights& experts);
    Result<Weight> expert_bias(const std::string& name, int width);
    Result<void> bind_shared(const std::string& blk, LayerWeights& w);

    const GgufFile& m_file;
    ModelSpec& m_spec;
    const FamilyRow m_row;
    std::vector<std::string>& m_warnings;
    std::set<const GgufTensor*> m_used;
    ModelWeights m_weights;
    int m_dense_ff = 0, m_expert_ff = 0, m_shared_ff = 0;   ///< as the tensors have them
};

inline Error missing_tensor(const std::string& name) { return gguf_error("missing_tensor", fmt::format("the tensor {} is missing", name)); }

/// Rows first..first+n-1 of every slab as a matrix of its own; rows are quantized independently.
Weight rows_of(Weight whole, int first, int n);
/// Values first..first+n-1 of an unquantized vector.
Weight values_of(Weight whole, int first, int n);

}  // namespace gs
