// Rotary position embedding.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/step.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// table[t][i] = magnitude * (cos, sin)(frequencies[i] * (first + t)): [n_rows, n_pairs] and [n_pairs] on the device. In f64, because at positions of
/// some thousands an angle in f32 would be off by more than f32 itself; and in a table, because f64 is slow and all heads and layers turn alike.
void make_angles(cudaStream_t stream, const double* frequencies, int n_pairs, float magnitude, Position first, int n_rows, float2* table);
/// Turns the first 2 n_pairs columns of each head of x, heads head_dim columns apart. table: [T, n_pairs], as make_angles() makes it.
void rotate(cudaStream_t stream, Rows x, int n_heads, int head_dim, const float2* table, int n_pairs, RopePairs pairs);

}  // namespace gs::cuda
