// Operations on single values of rows of activations. Any shape, any stride; x and y of the same shape.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/step.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// x += scale * y
void add_rows(cudaStream_t stream, Rows x, Rows y, float scale);
/// The rows do not overlap.
void copy_rows(cudaStream_t stream, Rows from, Rows to);
/// x = factor * x
void scale_rows(cudaStream_t stream, Rows x, float factor);
/// Row t times growth.factor(first + t), the logarithm in f64.
void grow_rows(cudaStream_t stream, Rows x, const QueryGrowth& growth, Position first);
/// x = min(max(x, -limit), limit)
void clamp_rows(cudaStream_t stream, Rows x, float limit);
/// x = 1 / (1 + exp(-x))
void sigmoid_rows(cudaStream_t stream, Rows x);

}  // namespace gs::cuda
