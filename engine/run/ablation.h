// What a text loses without some experts, beside what it loses without random experts of equal usage: an effect no larger than those of the controls
// says nothing about the experts that were picked.
//
//   const std::vector<AblatedExpert> experts = {{.layer = 7, .expert = 3, .mode = AblationMode::kZero}};
//   GS_TRY(AblationResult r, measure_ablation(*decoder, ids, {.experts = experts}, {}));
//   r.effect.kl, r.band().kl.mean
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/run/evaluate.h"
#include "engine/run/run_types.h"

namespace gs {

/// kZero: chosen and weighed as ever, but its output counts nothing. kRouteAround: it cannot be chosen, the next best enters. kSwap: another expert runs
/// in its place with its weight; where that one is chosen too, the two exchange weights.
enum class AblationMode : uint8_t { kZero, kRouteAround, kSwap };
const char* name_of(AblationMode mode);          ///< "zero", "around", "swap"

struct AblatedExpert {
    int layer = 0, expert = 0;                   ///< blk.N of a MoE layer; expert of it
    AblationMode mode = AblationMode::kZero;
    int swap_to = -1;                            ///< kSwap: who runs instead

    bool operator==(const AblatedExpert&) const = default;
    std::string to_text() const;                 ///< "7:3", "7:3>5"
};

/// "7:3,9:1" or, for swaps, "7:3>5"; `swap_to` stands in where a swap names none (-1: it must). Errors: kUsage "bad_expert".
Result<std::vector<AblatedExpert>> parse_ablated(const std::string& text, AblationMode mode, int swap_to = -1);
/// kUsage "bad_expert": not a MoE layer or expert of the model, one of them twice, a swap with itself or with another ablated one.
Result<void> check_ablated(const std::vector<AblatedExpert>& experts, const ModelSpec& spec);
/// `base` with the experts ablated.
Policy with_ablation(const Policy& base, const std::vector<AblatedExpert>& experts);
/// `policy` without what with_ablation() put in.
Policy without_ablation(const Policy& policy, const std::vector<AblatedExpert>& experts);
/// What a policy ablates in single layers, in its order.
std::vector<AblatedExpert> ablated_in(const Policy& policy);

/// Means over the scored positions of a text, against the base policy.
struct AblationEffect {
    int n_scored = 0;
    double kl = 0;                               ///< KL(p_base ‖ p_ablated), nats
    double delta_logprob = 0;                    ///< log p_ablated − log p_base of the token that follows, nats; below 0: it fits worse
    double flip_rate = 0;                        ///< share of positions with another most probable next token
};

struct AblationControl {
    std::vector<AblatedExpert> experts;          ///< one for each of the ablated, same layers and modes
    std::vector<int64_t> used;                   ///< tokens that use each, under the base policy
    AblationEffect effect;                       ///< n_scored 0: not measured yet
};

/// Mean, standard deviation (n − 1) and range over the controls.
struct ControlBand {
    int n = 0;
    double mean = 0, sd = 0, low = 0, high = 0;
};

/// Two continuations of one prompt with the same sampler and seed.
struct AblationText {
    std::string prompt, base, ablated;
    int n_base = 0, n_ablated = 0;               ///< tokens generated
    int first_difference = -1;                   ///< generated token from which on they differ; -1: never
    std::string sampler;
};

struct AblationRequest {
    std::string text, text_name;                 ///< scored, teacher-forced; name for people
    bool of_run = false;                         ///< the tokens of the run on screen instead (a session's)
    int max_tokens = 512;
    std::vector<AblatedExpert> experts;
    Policy base;
    int n_controls = 8;
    uint64_t seed = 1;                           ///< of the draw of controls
    RunRequest continuation;                     ///< its policy is not read; no text where the prompt is empty
};

struct AblationResult {
    Policy base, policy;
    std::vector<AblatedExpert> experts;
    std::vector<int64_t> used;                   ///< tokens that use each, under the base policy
    int n_tokens = 0;                            ///< of the text
    std::string model_hash, text_name;
    AblationEffect effect;
    std::vector<AblationControl> controls;
    uint64_t seed = 0;
    std::string note;                            ///< where usage could not be matched, or there are fewer controls than were asked for
    std::optional<AblationText> text;
    bool complete = false;

    ControlBand band(double AblationEffect::*what) const;
    /// Controls with at least this KL.
    int n_as_large() const;
    int n_measured() const;
};

/// Random sets of experts to compare with: for each ablated expert one of the same layer among those used nearly as often (within 25 % or two standard
/// deviations of a count), at least among the four nearest. use: [M][E] tokens that use each expert, of moe_layers (blk.N). Sets differ from each other;
/// there may be fewer than n.
struct ControlDraw {
    std::vector<std::vector<AblatedExpert>> sets;
    std::string note;
};
ControlDraw draw_controls(const std::vector<std::vector<int64_t>>& use, std::span<const int> moe_layers, const std::vector<AblatedExpert>& experts, int n, uint64_t seed);

using AblationProgress = std::function<void(const AblationResult& so_far, double fraction)>;

/// request.text is not read: `ids` are scored. Usage is counted first, under the base policy; then the ablated policy, the controls, the continuations.
/// Overwrites the decoder's cache, policy, sink and logit function. Errors: those of check_ablated, score_policies and Generator; kInput "dense_model".
Result<AblationResult> measure_ablation(Decoder& decoder, std::span<const int32_t> ids, const AblationRequest& request, const EvaluateOptions& options,
                                        const AblationProgress& progress = {}, const CancelFlag* cancel = nullptr);

}  // namespace gs
