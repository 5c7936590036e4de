// Weights of a model: views into the mapped file, named by role.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
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
    size_t slab_gap = 0;                    ///< bytes between one slab and the next: what is fused with it
    bool tiled = false;                     ///< a back end's own copy, rows interleaved by 16 (ops/cpu/vnni_tiles.h); never so in a file

    explicit operator bool() const { return data != nullptr; }
    size_t slab_bytes() const { return row_bytes * static_cast<size_t>(n_out); }
    size_t slab_values() const { return static_cast<size_t>(n_in) * static_cast<size_t>(n_out); }
    size_t n_bytes() const { return slab_bytes() * static_cast<size_t>(n_slabs); }
    const std::byte* row(int o, int slab = 0) const {
        return data + (slab_bytes() + slab_gap) * static_cast<size_t>(slab) + row_bytes * static_cast<size_t>(o);
    }
    /// One expert's matrix of a stack.
    Weight slab(int s) const {
        Weight w = *this;
        w.data = row(0, s);
        w.n_slabs = 1;
        return w;
    }
};

/// What a gated network does between its matrices (moe-families.md section 4).
enum class Activation : uint8_t {
    kSilu,            ///< silu(g) u
    kGelu,            ///< gelu_tanh(g) u
    kClampedSilu      ///< g sigmoid(1.702 g) (u + 1) with g <= 7, |u| <= 7 (gpt-oss)
};

/// down(act(gate x + b, up x + b)) + b: one network, or a stack of them.
struct FfnWeights {
    Weight gate, up, down;
    Weight gate_bias, up_bias, down_bias;   ///< a vector a slab, or empty
    Activation activation = Activation::kSilu;

    explicit operator bool() const { return static_cast<bool>(gate); }
    int width() const { return gate.n_out; }
    bool has_bias() const { return gate_bias || up_bias || down_bias; }
    /// One of a stack.
    FfnWeights expert(int e) const {
        const auto bias = [e](const Weight& w) { return w ? w.slab(e) : Weight{}; };
        return {gate.slab(e), up.slab(e), down.slab(e), bias(gate_bias), bias(up_bias), bias(down_bias), activation};
    }
};

/// Multi-head latent attention (section 3.8): queries, compressed keys and values, and what turns one into the other.
struct MlaWeights {
    Weight q_a, q_a_norm;                   ///< {D, q_rank}, {q_rank}; empty when LayerWeights::q takes the input itself
    Weight kv_a, kv_a_norm;                 ///< {D, r + n_rot}, {r}
    Weight k_b;                             ///< a slab a head: {dn, r}, multiplied with queries; or where k_b_transposed, {r, dn}
    Weight v_b;                             ///< a slab a head: {r, dv}
    bool k_b_transposed = false;            ///< as files of the old layout have it
};

struct LayerWeights {
    Weight attn_norm, attn_norm_bias;
    Weight q, k, v, q_bias, k_bias, v_bias, q_norm, k_norm, attn_out, attn_out_bias;
    MlaWeights mla;                         ///< set with MLA; k and v are empty then
    Weight sinks;                           ///< {H}, or empty
    Weight attn_post_norm, ffn_post_norm;   ///< of the sub-layers' outputs, or empty
    Weight ffn_norm, ffn_norm_bias;
    FfnWeights dense;                       ///< set on dense layers
    Weight router, router_bias;             ///< {D, E}, {E} or empty; set on MoE layers
    std::vector<float> selection_bias;      ///< [E] or empty; on the host, where experts are chosen
    FfnWeights experts;                     ///< stacks of E
    FfnWeights shared;                      ///< shared expert, or empty
    Weight shared_gate;                     ///< {D}: y += sigmoid(g·x) shared(x), or empty

    bool is_moe() const { return static_cast<bool>(router); }
};

struct ModelWeights {
    Weight token_embedding, output_norm, output_norm_bias, output, output_bias;   ///< output may view the embedding (tied)
    Weight rope_freqs;                             ///< {n_rot/2} divisors, or empty
    Weight rope_freqs_long;                        ///< the same for contexts beyond RopeSpec::original_context, or empty
    std::vector<LayerWeights> layers;

    /// What products are taken with in layers first .. end - 1, in no order: all but norms, biases and the embedding as a table. The head is with
    /// the last layer.
    std::vector<Weight> matrices(int first, int end) const {
        std::vector<Weight> all;
        if (is_last(end)) all.push_back(output);
        for (const LayerWeights& l : range(first, end))
            for (const Weight* w : {&l.q, &l.k, &l.v, &l.mla.q_a, &l.mla.kv_a, &l.attn_out, &l.dense.gate, &l.dense.up, &l.dense.down,
                                    &l.router, &l.experts.gate, &l.experts.up, &l.experts.down, &l.shared.gate, &l.shared.up, &l.shared.down,
                                    &l.shared_gate})
                if (*w) all.push_back(*w);
        return all;
    }

    std::vector<Weight> matrices() const { return matrices(0, static_cast<int>(layers.size())); }

    /// What operations of those layers name besides: norms, biases, sinks, and the matrices that latent attention takes a slab a head of. The
    /// embedding is with the first layer, the final norm with the last.
    std::vector<Weight> others(int first, int end) const {
        std::vector<Weight> all;
        const auto add = [&all](std::initializer_list<const Weight*> some) {
            for (const Weight* w : some)
                if (*w) all.push_back(*w);
        };
        if (first == 0) add({&token_embedding});
        if (is_last(end)) add({&output_norm, &output_norm_bias, &output_bias});
        for (const LayerWeights& l : range(first, end)) {
            add({&l.attn_norm, &l.attn_norm_bias, &l.q_bias, &l.k_bias, &l.v_bias, &l.q_norm, &l.k_norm, &l.attn_out_bias, &l.mla.q_a_norm, &l.mla.kv_a_norm,
                 &l.mla.k_b, &l.mla.v_b, &l.sinks, &l.attn_post_norm, &l.ffn_post_norm, &l.ffn_norm, &l.ffn_norm_bias, &l.router_bias});
            for (const FfnWeights* f : {&l.dense, &l.experts, &l.shared}) add({&f->gate_bias, &f->up_bias, &f->down_bias});
        }
        return all;
    }

private:
    bool is_last(int end) const { return static_cast<size_t>(end) == layers.size(); }
    std::span<const LayerWeights> range(int first, int end) const {
        return std::span(layers).subspan(static_cast<size_t>(first), static_cast<size_t>(end - first));
    }
};

}  // namespace gs
