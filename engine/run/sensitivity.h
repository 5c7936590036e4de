// The sensitivity map: what a text loses when one MoE layer alone uses another k. From it schedule.h makes a k for every layer.
//
//   GS_TRY(SensitivityMap map, measure_sensitivity(*decoder, ids, Policy{}, default_k_grid(spec.router), {}));
//   map.cell(layer, map.column_of(2)).kl                      // nats, against the model's own routing
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/run/evaluate.h"

namespace gs {

/// Next-token quantities of one policy: means over the scored positions. Nothing has been measured while n_scored is 0.
struct SensitivityCell {
    int n_scored = 0;
    double kl = 0;                           ///< mean KL(native ‖ this), nats
    double nll = 0;                          ///< mean negative log-likelihood of the true next token, nats; its exp is the perplexity
    double top1_agreement = 0;
    double bytes_per_token = 0;
};

/// M MoE layers by K values of k, on one text under one base policy.
struct SensitivityMap {
    Policy base;
    std::string model_hash;
    std::string text_name;                   ///< for people: "prose", "own text"; empty where nobody named it
    std::vector<int> moe_layers;             ///< [M] blk.N
    std::vector<int> base_k;                 ///< [M] experts a token uses under the base policy
    std::vector<int> ks;                     ///< [K] ascending
    std::vector<SensitivityCell> cells;      ///< [M, K]: the base policy with k@layer; at the base's own k what `unchanged` says
    SensitivityCell unchanged;               ///< the base policy itself; KL 0 when it is native
    std::vector<PolicyScore> uniform;        ///< [K] the base policy with one k everywhere; fewer while it is measured
    std::vector<int32_t> ids;                ///< the text
    EvaluateOptions options;
    double dense_bytes = 0, expert_bytes = 0;   ///< per token: weights that every token reads; one expert of one layer
    int n_cells_done = 0;                    ///< cells measured, over the windows done so far
    bool complete = false;

    int n_layers() const { return static_cast<int>(moe_layers.size()); }
    int n_ks() const { return static_cast<int>(ks.size()); }
    const SensitivityCell& cell(int moe_layer, int column) const { return cells[static_cast<size_t>(moe_layer) * ks.size() + static_cast<size_t>(column)]; }
    /// Column of a k, or -1.
    int column_of(int k) const;
};

/// A map to be measured, for a session.
struct SensitivityRequest {
    std::string text, text_name;             ///< name: as SensitivityMap has it
    Policy base;
    std::vector<int> ks;
    int max_tokens = 0;                      ///< the first so many are used
};

/// Called from the working thread after every few tokens, with what there is so far.
using SensitivityProgress = std::function<void(const SensitivityMap& so_far, double fraction)>;

/// Measures every layer × k, teacher-forced, against native routing. The logits of the native model are computed once a window, and so are the hidden
/// states that enter each layer: a cell runs from its layer on. Layers are gone through from the last to the first, so that the cache in front of a layer
/// always holds the base policy's keys and values. Keeps window × (V + M · D) floats. `ks`: values in 1..E in any order; the base's own are added.
/// Overwrites the decoder's cache, policy, sink, tap and logit function. Errors: kInput "text_too_short", "dense_model", kUsage "bad_policy",
/// "bad_k", kRun "out_of_memory", kCancelled, those of Decoder.
Result<SensitivityMap> measure_sensitivity(Decoder& decoder, std::span<const int32_t> ids, const Policy& base, std::span<const int> ks,
                                           const EvaluateOptions& options, const SensitivityProgress& progress = {}, const CancelFlag* cancel = nullptr);

}  // namespace gs
