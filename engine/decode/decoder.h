// The decoder: one forward pass for all families, over any back end, with routing recorded and steered.
//
//   GS_TRY(auto decoder, Decoder::create(model, ops, {.n_ctx = 2048}));
//   decoder->set_policy(policy);                                          // between any two calls
//   GS_TRY_VOID(decoder->forward(ids, position, LogitRows::kLast));       // appends to the KV cache
//   std::span<const float> logits = decoder->logits(0);                   // [V] of the last token
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/decode/sampler.h"
#include "engine/model/model.h"
#include "engine/ops/ops.h"
#include "engine/routing/policy.h"

namespace gs {

enum class LogitRows : uint8_t { kNone, kLast, kAll };

/// Named intermediates, for goldens. layer: blk.N, -1 for kFinal. kRouterInput, kRoutedOutput and kSharedOutput: MoE layers only; kFinal: only
/// the rows whose logits were asked for.
enum class Tap : uint8_t { kRouterInput, kRoutedOutput, kSharedOutput, kHidden, kFinal };

/// Receives the routing of a forward pass, one call per MoE layer and batch of T tokens, once the batch has got through all layers and its logits are there.
class RouteSink {
public:
    virtual ~RouteSink() = default;
    /// logits: [T, E]; ids, weights: [T, k_stride], row t uses the first n_used[t].
    virtual void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids,
                          std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) = 0;
};

/// What the chosen experts of one MoE layer gave for a batch of T tokens, each by itself.
struct ExpertOutputs {
    int moe_layer = 0, first_row = 0, n_rows = 0, k = 0;
    /// [k, T, D] of slot j and row t: the expert's output before its weight, or where weights multiply the input, on the weighed input. 0 from n_used[t] on.
    std::span<const float> outputs;
    std::span<const float> weights;      ///< [T, k] applied
    std::span<const int32_t> n_used;     ///< [T]
};

struct DecoderOptions {
    int n_ctx = 0;                       ///< 0 = model.n_ctx
    int max_batch = 512;                 ///< tokens per pass; longer prompts are cut into several
    int begin = 0;                       ///< positions before it hold nothing and are never seen: for goldens that start far in
    AdoptProgress on_weights;            ///< hears how far weights are on their way to a device; false ends create() with kCancelled
};

/// Bytes that a stage of the decoder takes besides weights.
struct StageMemory {
    uint64_t kv_bytes = 0, work_bytes = 0;
};
/// Layers first .. end - 1, keys and values kept as kv_type; options.n_ctx is positive.
StageMemory stage_memory(const ModelSpec& spec, int first_layer, int end_layer, KvType kv_type, const DecoderOptions& options);

/// Layers first_layer .. end_layer - 1 on one back end; the embedding is with the first of all layers, final norm and head with the last.
struct StageEngine {
    std::shared_ptr<Ops> ops;
    int first_layer = 0, end_layer = 0;
};

class Decoder {
public:
    /// All on one back end, or in stages that follow one another and hold all layers. Hidden rows go from stage to stage through the host where their
    /// back ends differ. Errors: kRun "out_of_memory" with the sizes asked for; those of Ops::check().
    static Result<std::unique_ptr<Decoder>> create(std::shared_ptr<const Model> model, std::shared_ptr<Ops> ops, const DecoderOptions& options);
    static Result<std::unique_ptr<Decoder>> create(std::shared_ptr<const Model> model, const std::vector<StageEngine>& stages, const DecoderOptions& options);
    ~Decoder();

    /// Takes effect with the next forward(). Checked by the caller (Policy::check).
    /// n_prompt: tokens of the prompt, for policies by batch (batch_routing.h); 0: those of a forward() and all before it.
    void set_policy(const Policy& policy, int n_prompt = 0);
    /// Null: no capture.
    void set_sink(RouteSink* sink);
    /// What is computed next is run `run`'s, for whoever draws it (share_routing); 0: nobody's. Runs begin at position 0 and are told apart by number.
    void set_drawn_run(uint64_t run);
    /// Puts routing where the viewer reads it, too, of the layers whose back end can. How it gets to the window is then said by drawing(). Null: nobody draws.
    void share_routing(const std::shared_ptr<RoutingViewer>& viewer);
    /// "read where the device wrote it", or "copied through the host's memory: the engine runs on the processor"; empty where nobody draws.
    const std::string& drawing() const;
    /// Copies of intermediates to the host; costs time, for tests and analysis. Rows: [T, D].
    using TapFunction = std::function<void(Tap tap, int layer, int first_row, int n_rows, std::span<const float> values)>;
    void set_tap(TapFunction tap);
    /// Runs every chosen expert once more by itself, after its layer: twice the work of the experts. For analysis.
    using ExpertFunction = std::function<void(const ExpertOutputs& outputs)>;
    void set_expert_function(ExpertFunction function);
    /// With it, LogitRows::kAll hands each row over as it is computed and keeps none: 512 rows of a vocabulary of 49,152 would be 100 MB.
    using LogitFunction = std::function<void(int row, std::span<const float> logits)>;
    void set_logit_function(LogitFunction function);
    /// With both, rows of LogitRows::kAll whose following id is known, those of next_ids, hand over what they say of it and no logits, which where the back
    /// end scores them itself (Ops::score) do not come to the host at all; rows behind them hand over logits. next_ids must live as long.
    using ScoreFunction = std::function<void(int row, const TokenStats& stats)>;
    void set_score_function(std::span<const int32_t> next_ids, ScoreFunction function);

    /// Runs tokens at positions first..first+T-1; the cache must hold everything before `first`; positions may be overwritten. Ids lie in the
    /// vocabulary. Errors: kCancelled (polled between layers), kRun "context_full", kRun "nonfinite_weights" (NaN or infinity in logits or
    /// routing; the result is still there). T larger than max_batch runs as several batches.
    Result<void> forward(std::span<const int32_t> ids, int first_position, LogitRows rows, const CancelFlag* cancel = nullptr);
    /// The same from the hidden states [T, D] that enter `first_layer` (Tap::kHidden of the layer before) instead of from token ids: what those in front of it
    /// compute need not be computed again where nothing has changed for them. Of them the cache stays as it is and the sink hears nothing; of the others it must
    /// hold everything before `first_position`. Equal to forward() to the bit when the batches are the same.
    Result<void> forward_from(int first_layer, std::span<const float> hidden, int first_position, LogitRows rows, const CancelFlag* cancel = nullptr);
    /// Logits [V] of the r-th row asked for by the last forward() or forward_from(): kLast has row 0 only.
    std::span<const float> logits(int row) const;

    /// The hidden state that the router of `layer` reads when token `id` runs at `position`, with the cache holding all positions before; every
    /// expert's output on it, and the shared expert's. Neither sink nor tap hear of it, and the cache is left as it was.
    struct Probe {
        std::vector<float> router_logits;      ///< [E]
        std::vector<float> expert_outputs;     ///< [E, D]
        std::vector<float> shared_output;      ///< [D], after its gate; empty without a shared expert
        /// Of models that weigh an expert's input, where no multiple of expert_outputs will do: its output on weight times the hidden state.
        /// Valid until the decoder is used again.
        std::function<std::vector<float>(int expert, float weight)> weighed_output;
    };
    Result<Probe> probe(int32_t id, int position, int moe_layer, const CancelFlag* cancel = nullptr);

    /// Routed output [T, D] of one MoE layer under the policy in force, on what its router reads (Tap::kRouterInput) for T tokens, at most max_batch of them:
    /// the same hidden states under one policy after another. No shared expert is in it. Cache, sink and tap are left alone. Errors: kCancelled.
    Result<void> routed_output(int moe_layer, std::span<const float> router_input, std::span<float> out, const CancelFlag* cancel = nullptr);

    int n_ctx() const;
    uint64_t kv_bytes() const;
    uint64_t work_bytes() const;
    const Model& model() const;
    /// The last stage's.
    Ops& ops() const;
    std::vector<StageEngine> stages() const;
    /// What computes: "cpu AVX2, 2 threads", or "cuda NVIDIA X: layers 36-47 and the head; cpu AVX2, 2 threads: layers 0-35".
    std::string engine() const;
    Precision precision() const;         ///< exact if that of all stages is
    /// Ops::check() of all back ends.
    Result<void> check() const;
    /// Ops::times() of all back ends together, and Ops::reset_times().
    std::vector<Ops::OpTime> times() const;
    void reset_times();

    struct Impl;                         ///< decoder_state.h; internal to engine/decode

private:
    explicit Decoder(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

}  // namespace gs
