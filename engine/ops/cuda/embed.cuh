// Rows of a table as activations.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/device_weight.h"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// out[t] = scale * table.row(ids[t]), dequantized to the last bit. ids: on the device, out.n_rows of them, rows of the table. table: one slab, any format.
void embed_rows(cudaStream_t stream, const DeviceMatrix& table, const int32_t* ids, float scale, Rows out);

}  // namespace gs::cuda
