// The sweep over k: what every k costs on a text, teacher-forced, against native routing (metrics.md 1.7).
//
//   GS_TRY(SweepResult sweep, measure_sweep(*decoder, ids, {.ks = {1, 2, 4}}));
//   sweep.rows[0].perplexity, sweep.rows[0].layer_error[12]
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/run/evaluate.h"

namespace gs {

/// How a sweep is measured, and on top of what.
struct SweepPlan {
    Policy base;                             ///< its k is replaced; weight rule, temperature and layers are kept
    std::vector<int> ks;                     ///< ascending, in 1..E; empty: all of them
    EvaluateOptions options{.timed_tokens = 16, .error_tokens = 256};
};

/// A sweep to be measured, for a session.
struct SweepRequest {
    std::string text, text_name;             ///< name: for people, as SensitivityMap has it
    int max_tokens = 2048;                   ///< the first so many are used
    SweepPlan plan;
};

/// One policy a k, on one text.
struct SweepResult {
    uint64_t id = 0;                         ///< counts the sweeps of a session
    SweepPlan plan;                          ///< ks filled in
    std::string model_hash, engine;
    std::string text_name;
    std::vector<int32_t> ids;                ///< the text, as far as it is used
    int n_text_tokens = 0;                   ///< of the whole text
    int native_k = 0;
    std::vector<int> moe_layers;             ///< [M] blk.N
    std::vector<PolicyScore> rows;           ///< of plan.ks, in that order; fewer, and over fewer tokens, while it is measured
    bool complete = false;

    int n_tokens() const { return static_cast<int>(ids.size()); }
    /// Tokens that a row is a mean over, once it is complete.
    int n_to_score() const;
    /// Of plan.ks, or -1 where the model's own k is not among them.
    int native_row() const;
};

/// Called from the working thread after every few tokens, with what there is so far.
using SweepProgress = std::function<void(const SweepResult& so_far, double fraction)>;

/// Errors: kInput "dense_model", "text_too_short", kUsage "bad_k", "bad_policy", those of score_policies.
Result<SweepResult> measure_sweep(Decoder& decoder, std::span<const int32_t> ids, const SweepPlan& plan, const SweepProgress& progress = {},
                                  const CancelFlag* cancel = nullptr);

/// The k best experts under `topk` for each of ks; weight rule, temperature and layers of `base` kept.
std::vector<Policy> sweep_policies(const Policy& base, std::span<const int> ks);
/// k = 1..E.
std::vector<Policy> sweep_policies(const Policy& base, int n_experts);

}  // namespace gs
