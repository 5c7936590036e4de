// What logits say of the token that follows.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "engine/ops/ops.h"

namespace gs::cuda {

/// As ScoreCall, with ids on the device. Any T, V and stride. exp in f32, sums in f64 in an order that depends on V only; logits without a number count as
/// none, infinite ones as the largest and the least number there is.
void score_rows(cudaStream_t stream, Rows logits, const int32_t* ids, float divisor, float cap, float* out);

}  // namespace gs::cuda
