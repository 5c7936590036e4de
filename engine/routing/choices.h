// How clear a router's choice was, and what became of it: ties, fragile choices, assignments that a capacity dropped.
//
// The border of a choice lies between the worst expert chosen and the best one rejected, by selection score. It is a tie where both scores are equal: the lower
// index won. It is fragile where the router logits behind it are closer than they are known:
//   - in bf16: a logit z is known to half a step, h(z) = 2^(floor(log2 |z|) - 8); fragile when some chosen one and some rejected one come as close as
//     z_c - z_r <= h(z_c) + h(z_r), so that rounding may close the gap;
//   - with logits off by an rms of e (`gatescope precision` measures e between precisions; between quantizations compare two traces): the difference of two is off by
//     sqrt(2) e, fragile when z_w - z_b <= sqrt(2) e: then the choice changes with a probability of at least 16 % (1 - Phi(1)).
// Where a bias takes part in the selection, scores are compared instead, and the error of each logit is brought to its score by ds/dz = s (1 - s) for softmax and sigmoid.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/routing/policy.h"
#include "engine/routing/router.h"
#include "engine/routing/trace.h"

namespace gs {

/// Half a step of bf16 (8 significant bits) at this magnitude: how far rounding moves a value at most.
float half_bf16_step(float value);

/// How well router logits are known.
struct LogitError {
    float rms = 0;                         ///< of a logit; 0: rounding to bf16

    bool operator==(const LogitError&) const = default;
};

struct Choice {
    int worst_chosen = -1, best_rejected = -1;   ///< experts at the border; -1: none, where all or none are chosen
    float margin = 0;                      ///< of their selection scores; meaningless without a border
    bool is_tie = false, is_fragile = false;
    std::vector<int32_t> dropped;          ///< chosen, but not used: no capacity was left
};

/// Of one token at one layer. row: what route() gave for it, without capacity; used: the experts recorded, [k] of them. has_bias: of the model, for these experts.
void describe_choice(const RouterSpec& spec, const LayerPolicy& policy, bool has_bias, std::span<const float> logits, const RouteRow& row,
                     std::span<const uint16_t> used, LogitError error, Choice& out);

/// The same of one (MoE layer, token) of a run, under the policy in force for the token; keeps what it needs between calls.
class ChoiceReader {
public:
    /// Cheap where policies are those of the call before.
    const Choice& read(const TraceSnapshot& trace, int moe_layer, int token, LogitError error);

private:
    uint64_t m_trace = 0;                  ///< serial of the trace that m_policies are of
    std::vector<std::vector<LayerPolicy>> m_policies;   ///< [policy][MoE layer]
    RouteRow m_row;
    Choice m_choice;
};

/// Counts over decisions (a token at a layer) and assignments (an expert that a token wanted).
struct ChoiceCounts {
    uint64_t decisions = 0, with_border = 0, ties = 0, fragile = 0;
    uint64_t wanted = 0, dropped = 0;

    ChoiceCounts& operator+=(const ChoiceCounts& more);
    void add(const Choice& choice, size_t n_used);
    double dropped_share() const { return wanted > 0 ? static_cast<double>(dropped) / static_cast<double>(wanted) : 0; }
};

/// Of one MoE layer over tokens first_token .. end_token - 1.
ChoiceCounts count_choices(const TraceSnapshot& trace, int moe_layer, int first_token, int end_token, LogitError error);

/// Of all MoE layers in n_bins parts of the run of equal length (the last tokens of a run too short for it in fewer): drops by position.
struct ChoicesByPosition {
    struct Bin {
        int first_token = 0, end_token = 0;
        ChoiceCounts counts;
    };
    std::vector<Bin> bins;
};
ChoicesByPosition choices_by_position(const TraceSnapshot& trace, int n_bins, LogitError error);

}  // namespace gs
