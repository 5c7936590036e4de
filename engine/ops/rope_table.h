// Angular frequencies of rotary position embedding, in f64 (spec/moe-families.md sections 3.2 and 3.3).
#pragma once

#include <vector>

#include "engine/model/model_spec.h"
#include "engine/model/weights.h"

namespace gs {

/// [n_rot / 2] radians per position: base^(-2i / n_rot) / divisor_i, divided by the factor as the scaling has it.
std::vector<double> rope_frequencies(const RopeSpec& rope, const Weight& freq_divisors);

}  // namespace gs
