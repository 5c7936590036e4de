// Internal to engine/decode: buffers in the back end's memory, and what one forward pass works on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/decode/decoder.h"

namespace gs {

/// Floats owned in the back end's memory.
class OpsBuffer {
public:
    OpsBuffer() = default;
    ~OpsBuffer() { release(); }
    OpsBuffer(const OpsBuffer&) = delete;
    OpsBuffer& operator=(const OpsBuffer&) = delete;

    /// False when there is no memory.
    bool allocate(Ops& ops, size_t n_rows, size_t n_cols);
    float* data() const { return m_data; }
    /// The first n rows.
    Rows rows(int n) const { return {m_data, n, m_cols, m_cols}; }
    explicit operator bool() const { return m_data != nullptr; }

private:
    void release();
    Ops* m_ops = nullptr;
    float* m_data = nullptr;
    int m_cols = 0;
};

/// Routing of a batch in the back end's memory: of every MoE layer one behind the other, so that one read brings it all to the host.
struct BatchRouting {
    OpsBuffer logits;                     ///< [M, T, E]
    OpsBuffer ids, weights;               ///< [M, T, k of the layer], 32 bits each
    OpsBuffer n_used;                     ///< [M, T], 32 bits each
    OpsBuffer nonfinite;                  ///< [1]: 32 bits, 1 when a router logit was NaN or infinite
    std::unique_ptr<Routers> routers;
    std::vector<int> k;                   ///< [M] slots of a token
    std::vector<int> first_slot;          ///< [M + 1] sums of k
    std::vector<float> host_logits, host_weights;     ///< what the sink is shown, kept between batches for their memory
    std::vector<int32_t> host_ids, host_n_used;

    static int32_t* integers(const OpsBuffer& buffer) { return reinterpret_cast<int32_t*>(buffer.data()); }
    bool allocate(Ops& ops, size_t n_layers, size_t n_rows, size_t n_experts);
    /// Of MoE layer m in a batch of n rows.
    Rows logits_of(int m, int n, int n_experts) const;
    RouteCall call(int m, int n, int n_experts) const;
};

struct Decoder::Impl {
    std::shared_ptr<const Model> model;
    std::shared_ptr<Ops> ops;
    int n_ctx = 0, max_batch = 0, begin = 0;
    uint64_t kv_bytes = 0, work_bytes = 0;

    // Rows are tokens of the batch. normed: input of a sub-layer; sub: its output.
    OpsBuffer x, normed, sub, q, k, v, attended, shared_gate, head, kv_k, kv_v;
    OpsBuffer q_low, q_heads, head_values;     ///< latent attention: queries in their low rank, then by head; values decompressed
    OpsBuffer routed, expert_outputs;     ///< made when first needed: by a tap, by a probe
    KvCache cache;

    std::vector<int> moe_row;             ///< [L] row in ModelSpec::moe_layers, -1 for a dense layer
    RouteSink* sink = nullptr;
    TapFunction tap;
    LogitFunction on_logits;

    BatchRouting routing;
    std::vector<float> logits;            ///< [rows asked for, V]
    int n_logit_rows = 0;
    bool nonfinite = false;
    bool long_context = false;            ///< rotation by the divisors for long contexts

    const ModelSpec& spec() const { return model->spec; }
    const LayerWeights& layer(int l) const { return model->weights.layers[static_cast<size_t>(l)]; }
    Result<void> allocate();
    Error out_of_memory(uint64_t more_bytes = 0) const;

    /// One batch through layers 0..n_layers-1. first_row: of the batch within the call, for sink and tap.
    Result<void> run_layers(std::span<const int32_t> ids, int position, int first_row, int n_layers, const CancelFlag* cancel);
    void choose_divisors(int end_position);
    void normalise(Rows in, const Weight& weight, const Weight& bias, Rows out);
    void attention_block(int l, int n_rows, int position);
    void project_heads(int l, int n_rows, int position);
    void project_latent(int l, int n_rows, int position);
    void expand_latent(int l, int n_rows);
    void norm_queries_and_keys(const LayerWeights& w, Rows rq, Rows rk);
    void rotate(int l, Rows heads, int n_heads, int head_dim, int position);
    void grow_queries(int l, Rows rq, int position);
    void ffn_norm(int l, int n_rows) { normalise(x.rows(n_rows), layer(l).ffn_norm, layer(l).ffn_norm_bias, normed.rows(n_rows)); }
    Rows router_linear(int l, int n_rows);
    void ffn_block(int l, int n_rows, int first_row);
    /// In the back end's memory: [T], or null.
    const float* shared_gates(int l, int n_rows);
    void moe_block(int l, int n_rows, int first_row);
    void tap_experts(int l, int n_rows, int first_row, const float* gates);
    /// What the routers of a whole batch decided, to the sink.
    void hand_over_routing(int n_rows, int first_row);
    /// Final norm and head for n rows of x from `from`, which are rows first_row.. of the call; results go to logit rows logit_row...
    Result<void> head_block(int from, int n_rows, int first_row, int logit_row, const CancelFlag* cancel);
    std::vector<float> weighed_expert(int l, int expert, float weight);
    void tap_rows(Tap what, int l, int first_row, Rows rows);
};

}  // namespace gs
