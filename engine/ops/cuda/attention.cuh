// Causal attention over the cache, in one pass over the keys (online softmax in f32).
//
// A block takes some rows (token and head) that share a head of keys and values, and a range of keys. Where there are too few blocks to fill the
// device, as for a single token, the range of keys is divided among blocks and a second launch adds up what they found. Prompts go through tensor cores in
// the fast precision (attention_prompt.cu), everything else in f32 (attention_f32.cu).
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/step.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// The length that grids for a few tokens are made for when keys end before `end`: a power of two, so that a captured launch stays right while a context
/// grows to twice its length.
int context_bucket(int end);

/// Whether attention() of this call multiplies on tensor cores: the fast precision, keys and values as halves, more tokens than a step has, key heads of
/// a multiple of 16 dimensions and value heads of a multiple of 8, up to 512, that a block has shared memory for (keys and values of 256, or latent ones
/// of 576 and 512). f32 inputs go in two terms of eleven bits, so that results are within the bounds that f32 has.
bool attends_on_tensor_cores(const AttentionCall& call, Precision precision);

/// Bytes that attention() of this call needs for itself; 0: none. n_processors: of the device. The same for calls of up to kMostStepRows tokens that
/// differ in nothing but their first_position; within one bucket so is their launch.
size_t attention_workspace(const AttentionCall& call, Precision precision, int n_processors);
/// As Ops::attention, with sinks as f32 on the device or null, and call.first_position where `first` says. Any head dimensions and counts, any part of
/// the keys; both types of cache. Sums run in an order that depends on shapes, positions and n_processors only. workspace: attention_workspace()
/// bytes, aligned to 4.
void attention(cudaStream_t stream, const AttentionCall& call, Position first, const float* sinks, Precision precision, int n_processors, std::byte* workspace);

}  // namespace gs::cuda
