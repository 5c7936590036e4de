// Keys and values into the cache and out of it.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/ops.h"

namespace gs::cuda {

/// rows: [T, Hkv * dim], of which head h goes to `heads` + h * head_gap values, position after position `dim` values apart. `heads` is where head 0
/// of the layer has the first position. f16 is rounded to nearest even.
void store_kv_rows(cudaStream_t stream, Rows rows, std::byte* heads, KvType type, size_t head_gap, int n_heads, int dim);
/// The reverse.
void load_kv_rows(cudaStream_t stream, const std::byte* heads, KvType type, size_t head_gap, int n_heads, int dim, Rows rows);

}  // namespace gs::cuda
