// Angular frequencies of rotary position embedding, in f64 (spec/moe-families.md section 3.4).
#pragma once

#include <vector>

#include "engine/model/model_spec.h"
#include "engine/model/weights.h"

namespace gs {

/// [n_rot / 2] radians per position: base^(-2i / n_rot) / divisor_i / linear factor.
std::vector<double> rope_frequencies(const ModelSpec& spec, const Weight& freq_divisors);

}  // namespace gs
