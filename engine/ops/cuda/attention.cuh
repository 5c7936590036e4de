// Causal attention over the cache, in one pass over the keys (online softmax), in f32.
//
// A block takes some rows (token and head) that share a head of keys and values, and a range of keys; its warps take tiles of 32 keys in turn, a key
// a lane for the scores and a column a lane for the values. Where there are too few blocks to fill the device, as for a single token, the
// range of keys is divided among blocks and a second launch adds up what they found.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/step.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// The length that grids for a few tokens are made for when keys end before `end`: a power of two, so that a captured launch stays right while a context
/// grows to twice its length.
int context_bucket(int end);

/// Bytes that attention() of this call needs for itself; 0: none. n_processors: of the device. The same for calls of up to kMostStepRows tokens that
/// differ in nothing but their first_position; within one bucket so is their launch.
size_t attention_workspace(const AttentionCall& call, int n_processors);
/// As Ops::attention, with sinks as f32 on the device or null, and call.first_position where `first` says. Any head dimensions and counts, any part of
/// the keys; both types of cache. Sums run in an order that depends on shapes, positions and n_processors only. workspace: attention_workspace()
/// bytes, aligned to 4.
void attention(cudaStream_t stream, const AttentionCall& call, Position first, const float* sinks, int n_processors, std::byte* workspace);

}  // namespace gs::cuda
