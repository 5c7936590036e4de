// Internal to engine/model: bytes and parameters, counted from bound weights.
#pragma once

#include <cstdint>

#include "engine/model/kv_type.h"
#include "engine/model/model_spec.h"
#include "engine/model/weights.h"

namespace gs {

struct ModelSizes {
    uint64_t weight_bytes = 0;             ///< all tensors in use; a tied output head counts once
    uint64_t total_params = 0;
    uint64_t active_params = 0;            ///< without the experts that a token does not use
    uint64_t lookup_params = 0;            ///< of total and active: an embedding that is no head too; a token reads one row of it
    uint64_t dense_bytes_per_token = 0;    ///< see Model
    uint64_t expert_bytes = 0;             ///< see Model; mean over layers where quantization differs
};
ModelSizes measure_model(const ModelSpec& spec, const ModelWeights& weights);

/// Keys and values for n_ctx positions. Saturates at 2^64 - 1 (R24).
uint64_t kv_bytes(const ModelSpec& spec, uint64_t n_ctx, KvType type);
/// Activations of one batch of 512 tokens, and logits of one.
uint64_t work_bytes(const ModelSpec& spec);
/// MemAvailable of this machine; 0 if unknown.
uint64_t available_memory();

}  // namespace gs
