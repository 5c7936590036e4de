// Causal attention over the cache, in one pass over the keys (online softmax), in f32.
//
// A block takes some rows (token and head) that share a head of keys and values, and a range of keys; its warps take tiles of 32 keys in turn, a key
// a lane for the scores and a column a lane for the values. Where there are too few blocks to fill the device, as for a single token, the
// range of keys is divided among blocks and a second launch adds up what they found.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/ops.h"

namespace gs::cuda {

/// Bytes that attention() of this call needs for itself; 0: none. n_processors: of the device.
size_t attention_workspace(const AttentionCall& call, int n_processors);
/// As Ops::attention, with sinks as f32 on the device or null. Any head dimensions and counts, any part of the keys; both types of cache. Sums run in
/// an order that depends on shapes and n_processors only. workspace: attention_workspace() bytes, aligned to 4.
void attention(cudaStream_t stream, const AttentionCall& call, const float* sinks, int n_processors, std::byte* workspace);

}  // namespace gs::cuda
