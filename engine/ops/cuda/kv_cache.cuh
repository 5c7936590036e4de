// Keys and values into the cache and out of it.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/step.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// The keys or the values of one layer.
struct KvHeads {
    std::byte* data = nullptr;         ///< where head 0 has position 0; head h lies h * gap values behind, positions `dim` values apart
    KvType type = KvType::kF32;
    size_t gap = 0;
    int n_heads = 0, dim = 0;
};

/// rows: [T, Hkv * dim], to positions first, first + 1, ... f16 is rounded to nearest even.
void store_kv_rows(cudaStream_t stream, Rows rows, const KvHeads& heads, Position first);
/// The reverse.
void load_kv_rows(cudaStream_t stream, const KvHeads& heads, Position first, Rows rows);

}  // namespace gs::cuda
