// Rows of activations on the device.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "engine/ops/ops.h"

namespace gs::cuda {

__device__ inline float* row_of(const Rows& x, int r) { return x.data + static_cast<ptrdiff_t>(r) * x.stride; }

}  // namespace gs::cuda
