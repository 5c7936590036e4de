// Weights of a model: views into the mapped file, named by role.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/model/tensor_type.h"

namespace gs {

/// A matrix of n_out rows of n_in contiguous values (rows quantized independently), or a stack of n_slabs of them, one per expert:
/// y[o] = Σ_i W[o][i] x[i]. A vector (norm, bias) has n_out = 1. Empty when the model lacks it.
struct Weight {
    TensorType type = TensorType::kF32;
    const std::byte* data = nullptr;
    int n_in = 0, n_out = 0, n_slabs = 1;
    size_t row_bytes = 0;
    bool tiled = false;                     ///< a back end's own copy, rows interleaved by 16 (ops/cpu/vnni_tiles.h); never so in a file

    explicit operator bool() const { return data != nullptr; }
    size_t slab_bytes() const { return row_bytes * static_cast<size_t>(n_out); }
    size_t n_bytes() const { return slab_bytes() * static_cast<size_t>(n_slabs); }
    const std::byte* row(int o, int slab = 0) const {
        return data + slab_bytes() * static_cast<size_t>(slab) + row_bytes * static_cast<size_t>(o);
    }
    /// One expert's matrix of a stack.
    Weight slab(int s) const {
        Weight w = *this;
        w.data = row(0, s);
        w.n_slabs = 1;
        return w;
    }
};

/// down(act(gate x) * up x)
struct FfnWeights {
    Weight gate, up, down;
    explicit operator bool() const { return static_cast<bool>(gate); }
    int width() const { return gate.n_out; }
};

struct LayerWeights {
    Weight attn_norm, q, k, v, q_bias, k_bias, v_bias, q_norm, k_norm, attn_out, attn_out_bias;
    Weight ffn_norm;
    FfnWeights dense;                       ///< set on dense layers
    Weight router;                          ///< {D, E}; set on MoE layers
    FfnWeights experts;                     ///< stacks of E
    FfnWeights shared;                      ///< shared expert, or empty
    Weight shared_gate;                     ///< {D}: y += sigmoid(g·x) shared(x), or empty

    bool is_moe() const { return static_cast<bool>(router); }
};

struct ModelWeights {
    Weight token_embedding, output_norm, output;   ///< output may view the embedding (tied)
    Weight rope_freqs;                             ///< {n_rot/2} divisors, or empty
    std::vector<LayerWeights> layers;

    /// What products are taken with, in no order: all but norms, biases and the embedding as a table.
    std::vector<Weight> matrices() const {
        std::vector<Weight> all{output};
        for (const LayerWeights& l : layers)
            for (const Weight* w : {&l.q, &l.k, &l.v, &l.attn_out, &l.dense.gate, &l.dense.up, &l.dense.down, &l.router, &l.experts.gate,
                                    &l.experts.up, &l.experts.down, &l.shared.gate, &l.shared.up, &l.shared.down, &l.shared_gate})
                if (*w) all.push_back(*w);
        return all;
    }
};

}  // namespace gs
