// Score functions of the router over plain arrays: they run once per token and layer.
// Finite in, finite out: NaN counts as the lowest logit, infinities as the largest and smallest finite ones.
#pragma once

#include <span>

#include "engine/routing/router.h"

namespace gs {

/// logit / temperature, brought into the finite range.
float scaled_logit(float logit, float temperature);

/// Softmax over all values, which must be finite.
void softmax_in_place(std::span<float> values);

/// Scores p of moe-families.md section 2, step 2, of logits / temperature; for kSoftmaxAfterTopK and kSparseMixer the softmax over all experts. logits, out:
/// [E]. True when a logit was NaN or infinite.
bool scores_of(ScoreFn score, std::span<const float> logits, float temperature, std::span<float> out);

}  // namespace gs
