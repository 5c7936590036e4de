// Internal to engine/decode: a stage of the decoder, and how a layer is computed on it.
//
// A stage is a range of layers on one back end, with all the memory that they need there: weights, keys and values, routing, and rows to work on.
// The first one embeds tokens as well, the last one has the final norm and the head. The decoder runs them one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/decode/decoder_buffers.h"
#include "engine/ops/routing_share.h"
#include "engine/routing/batch_routing.h"

namespace gs {

/// What all stages of a decoder share.
struct DecoderShared {
    std::shared_ptr<const Model> model;
    int n_ctx = 0, max_batch = 0, begin = 0;
    Decoder::TapFunction tap;
    int n_prompt = 0;                     ///< of the pass, for policies by batch
    Decoder::ExpertFunction on_experts;
    uint64_t drawn_run = 0;               ///< whose routing is computed, for whoever draws it; 0: nobody's
    bool long_context = false;            ///< rotation by the divisors for long contexts
};

/// kCancelled once the flag is set.
Result<void> poll(const CancelFlag* cancel);

/// Keys and values of one layer at one position, on the host.
struct KvRow {
    std::vector<float> k, v;
};

struct DecoderStage {
    const DecoderShared& shared;
    const std::shared_ptr<Ops> ops;
    const int first_layer, end_layer;     ///< of the model
    StageMemory memory;

    // Rows are tokens of the batch. x: the hidden state; normed: input of a sub-layer; sub: its output.
    OpsBuffer x, normed, sub, q, k, v, attended, shared_gate, kv_k, kv_v;
    OpsBuffer q_low, q_heads, head_values;     ///< latent attention: queries in their low rank, then by head; values decompressed
    OpsBuffer routed, expert_outputs;     ///< made when first needed: by a tap, by a probe
    OpsBuffer alone, alone_weights, alone_used;   ///< by an expert function
    std::unique_ptr<Readback> head;       ///< logits [kHeadRows, V], on the last stage
    std::unique_ptr<Readback> scores;     ///< [max_batch, 3], made when first needed
    KvCache cache;                        ///< of the stage's layers
    std::vector<int> moe_layers;          ///< of the stage, ascending
    int n_moe_before = 0;                 ///< MoE layers of the stages before
    BatchRouting routing;
    std::vector<LayerPolicy> policies;    ///< [MoE layers of the stage]
    std::vector<BatchRouter> batch_routers;   ///< the same, for those that are by batch
    BatchRoutes batch_routes;
    std::unique_ptr<RoutingShare> share;  ///< of its routing with whoever draws it; null: none

    static Result<std::unique_ptr<DecoderStage>> create(const DecoderShared& shared, const StageEngine& engine);
    DecoderStage(const DecoderShared& all, const StageEngine& engine);

    const ModelSpec& spec() const { return shared.model->spec; }
    const ModelWeights& weights() const { return shared.model->weights; }
    const LayerWeights& layer(int l) const { return weights().layers[static_cast<size_t>(l)]; }
    bool is_last() const { return end_layer == spec().n_layers; }
    /// A layer's place in what the back end keeps for the stage.
    int local(int l) const { return l - first_layer; }
    /// Row of an MoE layer in `routing`.
    int moe_row(int l) const;

    /// all: [L] of the model.
    void set_policies(std::span<const LayerPolicy> all);
    /// Of any layer: then a token is no step of the back end (Ops::step).
    bool is_by_batch() const;
    /// Tokens become the first rows of x; on the first stage.
    void embed(std::span<const int32_t> ids);
    /// The first rows of x from the stage before.
    void take_hidden(const DecoderStage& before, int n_rows);
    /// One batch, in x, through the stage's layers from begin_layer to end_layer - 1 of the model. first_row: of the batch within the call, for the tap.
    Result<void> run_layers(int begin_layer, int end_layer, int n_rows, int position, int first_row, const CancelFlag* cancel);
    /// One token through the whole stage as a step of its back end: on the first stage with its embedding, on the last one with its head if asked for.
    Result<void> run_step(std::span<const int32_t> id, int position, bool with_head, const CancelFlag* cancel);
    /// Final norm and head for n <= kHeadRows rows of x from `from`, which are rows first_row.. of the call, to the first rows of `head`. On the last stage.
    void run_head(int from, int n_rows, int first_row);
    static constexpr int kHeadRows = 32;

    /// Forgets what was not finite, before a pass; and whether a router has met such a value since, after ask_for_routing().
    void clear_nonfinite();
    bool found_nonfinite();
    /// Begins to bring to the host what the routers of a batch of n rows decided, or with captured = false no more than whether a value was not finite.
    /// Called ahead of something that is waited for anyway, the next stage's input or the logits: by then the routing is there too.
    void ask_for_routing(int n_rows, int position, bool captured);
    /// The same to whoever draws it, of rows at `position` and behind it.
    void share_rows(int n_rows, int position);
    /// What was asked for of the layers from begin_layer on, to the sink. Errors: those of Ops::check.
    Result<void> hand_over_routing(RouteSink& sink, int begin_layer, int n_rows, int first_row);

    KvRow read_kv(int l, int position);
    void write_kv(int l, int position, const KvRow& row);
    /// x's only row, at `position`, through layer l up to its router, and from there through every expert.
    Result<Decoder::Probe> probe(int l, int position);

    /// [T, D] that the router of layer l reads, and the sum of its experts' outputs, on the host.
    void routed_output(int l, std::span<const float> router_input, std::span<float> out);

    Result<void> allocate();
    Error out_of_memory(uint64_t more_bytes = 0) const;
    void tap_rows(Tap what, int l, int first_row, Rows rows);
    /// bias: null or empty: none.
    NormCall norm_of(Rows in, const Weight& weight, const Weight* bias, Rows out) const;
    void attention_block(int l, int n_rows, int position);
    void project_heads(int l, int n_rows, int position);
    void project_latent(int l, int n_rows, int position);
    void expand_latent(int l, int n_rows);
    void norm_queries_and_keys(const LayerWeights& w, Rows rq, Rows rk);
    void rotate(int l, Rows heads, int n_heads, int head_dim, int position);
    void grow_queries(int l, Rows rq, int position);
    NormCall attn_norm(int l, int n_rows) const { return norm_of(x.rows(n_rows), layer(l).attn_norm, &layer(l).attn_norm_bias, normed.rows(n_rows)); }
    NormCall ffn_norm(int l, int n_rows) const { return norm_of(x.rows(n_rows), layer(l).ffn_norm, &layer(l).ffn_norm_bias, normed.rows(n_rows)); }
    Rows router_linear(int l, int n_rows);
    Rows router_of_normed(int l, int n_rows);   ///< the same of rows that are `normed` already
    void ffn_block(int l, int n_rows, int position, int first_row);
    /// In the back end's memory: [T], or null. Once after router_linear().
    const float* shared_gates(int l, int n_rows);
    /// Routing by batch is the host's, whatever the back end: it is for study, and a wait a layer costs it little.
    void route_by_batch(int l, int n_rows, int position, const RouteCall& call);
    void moe_block(int l, int n_rows, int position, int first_row);
    void tap_experts(int l, int n_rows, int first_row, const float* gates);
    void hand_over_experts(int l, int n_rows, int first_row);
    std::vector<float> weighed_expert(int l, int expert, float weight);
};

}  // namespace gs
