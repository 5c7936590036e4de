// Normalisation of rows, or of runs of columns of rows.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/ops.h"

namespace gs::cuda {

struct NormShape {
    Rows x, out;                       ///< out may be x
    NormKind kind = NormKind::kRms;
    const float* weight = nullptr;     ///< [group] on the device; null: ones
    const float* bias = nullptr;       ///< [group] on the device; null: none
    float eps = 0;
    int group = 0;                     ///< values normalised together; divides n_cols
};

/// Any shape. Sums in f32 in an order that depends on the shape only; the mean of kLayer in f64, because what is left of x - mean may be small.
void normalise(cudaStream_t stream, const NormShape& shape);

}  // namespace gs::cuda
