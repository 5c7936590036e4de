// Rotary position embedding.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/ops.h"

namespace gs::cuda {

/// Turns the first 2 n_pairs columns of each head of x, heads head_dim columns apart. table: [T, n_pairs] pairs of cosine and sine on the device,
/// made on the host in f64: at positions of some thousands an angle in f32 would be off by more than f32 itself.
void rotate(cudaStream_t stream, Rows x, int n_heads, int head_dim, const float2* table, int n_pairs, RopePairs pairs);

}  // namespace gs::cuda
