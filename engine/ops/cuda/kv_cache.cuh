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

/// k, v: [T, Hkv * dim], to positions first, first + 1, ... in one launch; f16 is rounded to nearest even. Values without heads: none.
void store_kv_rows(cudaStream_t stream, Rows k, const KvHeads& keys, Rows v, const KvHeads& values, Position first);
/// Keys or values back.
void load_kv_rows(cudaStream_t stream, const KvHeads& heads, Position first, Rows rows);

}  // namespace gs::cuda
