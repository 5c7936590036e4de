// Teacher-forced measurements: what a policy costs on a given text, against the model's own routing.
#pragma once

#include <functional>
#include <vector>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/decode/decoder.h"

namespace gs {

/// One policy on one text, T tokens. Next-token quantities are means over positions first_scored..T-2.
struct PolicyScore {
    Policy policy;
    int n_scored = 0;                        ///< positions averaged over
    double perplexity = 0;                   ///< exp of the mean negative log-likelihood of the true next token
    double kl = 0;                           ///< mean KL(reference ‖ this), nats
    double top1_agreement = 0;               ///< share of positions with the same most probable token as the reference
    std::vector<double> route_agreement;     ///< [M] per MoE layer with the reference (metrics.h), empty for a dense model
    double mean_sum_weights = 0;             ///< mean Σ applied weights
    double tokens_per_s = 0;                 ///< decode speed measured on `timed_tokens` single-token steps; 0 if not asked for
    double bytes_per_token = 0;

    // Standard errors of the means, positions taken as independent; 0 while there are fewer than two.
    double nll_se = 0;                       ///< of the mean negative log-likelihood; times perplexity: of the perplexity
    double kl_se = 0, top1_se = 0;
    double tokens_per_s_se = 0;
    double excess_nll = 0, excess_nll_se = 0;   ///< NLL minus the reference's at the same positions, nats: exp is the ratio of perplexities
    int n_timed = 0;                         ///< steps behind tokens_per_s

    // Relative error of each MoE layer's routed output, ‖y − y_native‖ / ‖y_native‖, on the hidden states of the native run; empty if not asked for.
    std::vector<double> layer_error, layer_error_se;   ///< [M] means over n_error_tokens tokens of the text
    double mean_layer_error = 0, mean_layer_error_se = 0;   ///< over layers, then over tokens
    int n_error_tokens = 0;

    double perplexity_se() const { return perplexity * nll_se; }
};

struct EvaluateOptions {
    int first_scored = 0;                    ///< skip the prompt wrapper, for example
    int window = 512;                        ///< tokens per independent window; the cache starts empty at each
    int timed_tokens = 0;                    ///< single-token decode steps to time per policy
    int error_tokens = 0;                    ///< tokens, evenly spaced over the text, whose layer errors are computed; the reference must be native
};

/// Partial results as they come: the policies begun, over the tokens done so far; called from the working thread after every few tokens.
using ScoreProgress = std::function<void(const std::vector<PolicyScore>& done, double fraction)>;

/// Scores each policy against `reference` (itself not in the list unless given). Reference logits are computed once per window and kept:
/// window x V floats; for layer errors twice error_tokens x M x D besides. Overwrites the decoder's cache, policy, sink, tap and logit function.
/// Errors: kInput "text_too_short" (fewer than 2 tokens), kUsage "bad_policy", kRun "out_of_memory", kCancelled, those of Decoder.
Result<std::vector<PolicyScore>> score_policies(Decoder& decoder, std::span<const int32_t> ids, const Policy& reference,
                                                std::span<const Policy> policies, const EvaluateOptions& options,
                                                const ScoreProgress& progress = {}, const CancelFlag* cancel = nullptr);

/// A run re-done under another policy: both texts, and the first text scored under both (teacher-forced).
struct PolicyComparison {
    uint64_t run_a = 0, run_b = 0;           ///< RunResult ids
    PolicyScore a, b;                        ///< on the tokens of run A; reference = A's policy
    int first_difference = -1;               ///< token index in both runs from which on they differ; -1 = equal
};

}  // namespace gs
