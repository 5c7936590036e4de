// Products of activations with matrices in device memory (device_weight.h).
#pragma once

#include <cuda_runtime.h>

#include <span>

#include "engine/ops/cuda/device_weight.h"
#include "engine/ops/cuda/norm.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

struct DeviceLinear {
    DeviceMatrix weight;               ///< one slab
    const float* bias = nullptr;       ///< [n_out] on the device, or null
    Rows out;                          ///< [T, n_out]
};

/// Up to this many tokens weights are read once for all, in f32 whatever the precision, bound by memory; more are multiplied in tiles (gemm.cuh).
constexpr int kDecodeTokens = 8;

/// Bytes that linear() of these shapes needs for itself; 0 for few tokens.
size_t linear_workspace(Rows x, std::span<const DeviceLinear> calls, Precision precision);
/// out = x Wᵀ + bias of every call. x: [T, n_in], any T, any stride, n_in of all matrices; every format, also n_in that is no multiple of a group.
/// x and out do not overlap. Every value is summed in an order that depends on shapes only: no atomics. Inputs without a number, and infinite ones,
/// give outputs that are not finite. n_processors: of the device. workspace: linear_workspace() bytes, aligned to 16.
void linear(cudaStream_t stream, Rows x, std::span<const DeviceLinear> calls, Precision precision, int n_processors, std::byte* workspace);

/// The same of up to kDecodeTokens rows that are normalised on the way, in one launch where so few blocks take part that each may do it for itself: whole rows (norm.group of n_cols), and norm.out, which holds them
/// afterwards, does not overlap norm.x. To the bit what normalise() and linear() give.
void norm_linear(cudaStream_t stream, const NormShape& norm, std::span<const DeviceLinear> calls, int n_processors);

/// out = x W: rows of one slab weighted by x. x: [T, n_out], out: [T, n_in], any T and stride; f32 sums in a fixed order in both precisions.
void linear_transposed(cudaStream_t stream, Rows x, const DeviceMatrix& weight, Rows out);

}  // namespace gs::cuda
