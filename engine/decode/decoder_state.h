// Internal to engine/decode: the stages, and what one forward pass works on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/decode/decoder_stage.h"

namespace gs {

struct Decoder::Impl {
    DecoderShared shared;
    std::vector<std::unique_ptr<DecoderStage>> stages;   ///< in the order of their layers

    int n_prompt = 0;                     ///< set_policy()
    RouteSink* sink = nullptr;
    std::string drawing;                  ///< how routing gets to whoever draws it
    LogitFunction on_logits;
    ScoreFunction on_score;
    std::span<const int32_t> next_ids;    ///< of rows of a call, from the first on
    std::vector<float> logits;            ///< [rows asked for, V]
    int n_logit_rows = 0;
    bool nonfinite_logit = false;

    const ModelSpec& spec() const { return shared.model->spec; }
    size_t stage_index(int layer) const;
    DecoderStage& stage_of(int layer) const { return *stages[stage_index(layer)]; }
    /// Those of all stages, each once.
    std::vector<Ops*> back_ends() const;
    /// The stages' weights to their back ends.
    Result<void> adopt_weights(const AdoptProgress& progress);
    bool is_by_batch() const;
    void choose_divisors(int end_position);
    /// What a pass starts from, T rows: token ids, or the hidden states [T, D] that enter `layer`.
    struct Start {
        int layer = 0;
        std::span<const int32_t> ids;
        std::span<const float> hidden;
        /// n rows from `first` on; width: D.
        Start part(int first, int n, int width) const;
    };
    Result<void> pass(const Start& from, int n_rows, int first_position, LogitRows rows, const CancelFlag* cancel);
    /// One batch through the layers in front of end_layer; where layer end_layer is another stage's, to that stage. first_row: of the batch within the call,
    /// for sink and tap.
    Result<void> run_layers(const Start& from, int n_rows, int position, int first_row, int end_layer, const CancelFlag* cancel);
    /// What the stages before a stage have for it and for the sink.
    void pass_on(size_t stage, int n_rows, int position);
    /// One token through all stages; with the head if asked for.
    Result<void> run_step(std::span<const int32_t> id, int position, bool with_head, const CancelFlag* cancel);
    /// The first n rows of the last stage's head, which are rows first_row.. of the call, to logit rows logit_row...
    void take_logits(int n_rows, int first_row, int logit_row);
    /// Final norm and head for n rows of the hidden state from `from`, which are rows first_row.. of the call; results go to logit rows logit_row...
    Result<void> head_block(int from, int n_rows, int first_row, int logit_row, const CancelFlag* cancel);
    /// The logits of a whole batch, whose first row is row first_row of the call, or of some of its rows what they say of next_ids.
    Result<void> all_rows(int n_rows, int first_row, int logit_row, const CancelFlag* cancel);
    /// on_score for n rows of the batch from the first on, computed by the back end. False: it has no memory for them.
    Result<bool> score_block(int n_rows, int first_row, const CancelFlag* cancel);
    Result<void> check_results();
};

}  // namespace gs
