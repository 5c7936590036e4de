// Gated networks: dense, shared, and mixtures of experts (MoeCall of ops.h, with everything on the device).
//
// Few tokens (decoding): two launches whatever the number of experts. In the first, as many blocks as run at once take hidden values of chosen experts in
// turn (gate and up and what is between them); the second has a block for some outputs of one token, over all of its experts. How many are chosen and
// which is read on the device, and grids depend on k_stride alone, so that a captured graph stays valid whatever is chosen.
// Many tokens: the pairs of token and slot are sorted by expert on the device (stable: by token, then
// slot), each expert's matrices meet all of its tokens in tiles, and every token sums its slots.
//
// Sums over slots are in slot order, those of a product in an order that depends on shapes only; nothing is added atomically.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/device_weight.h"
#include "engine/ops/ops.h"

namespace gs::cuda {

struct DeviceFfn {
    DeviceMatrix gate, up, down;              ///< one slab, or one each expert
    const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;   ///< [n_slabs, n_out] on the device, or null
    Activation activation = Activation::kSilu;
    int n_slabs() const { return gate.n_slabs; }
    int width() const { return gate.n_out; }
};

/// MoeCall. Pointers without a note lead to device memory.
struct DeviceMoe {
    Rows x;                                   ///< [T, D]
    const DeviceFfn* experts = nullptr;       ///< on the host; null: none
    const int32_t* ids = nullptr;             ///< [T, k_stride], the first n_used[t] of row t in 0 .. n_slabs - 1, distinct; the others are not read
    const float* weights = nullptr;           ///< [T, k_stride]
    const int32_t* n_used = nullptr;          ///< [T], 0 .. k_stride
    int k_stride = 0;
    bool weigh_input = false;
    const DeviceFfn* shared = nullptr;        ///< on the host; null: none
    const float* shared_scale = nullptr;      ///< [T]; null: 1
    Rows out, routed;                         ///< [T, D]; routed.data may be null
};

/// Any T, D, width, k_stride and formats. n_processors: of the device. The workspace is aligned to 16.
size_t moe_workspace(const DeviceMoe& call, Precision precision);
void moe(cudaStream_t stream, const DeviceMoe& call, Precision precision, int n_processors, std::byte* workspace);

/// out = down(act(gate x, up x)): the bits of moe() with this as its shared expert and no other.
size_t ffn_workspace(const DeviceFfn& net, Rows x, Precision precision);
void ffn(cudaStream_t stream, const DeviceFfn& net, Rows x, Rows out, Precision precision, int n_processors, std::byte* workspace);

/// Every expert on one input: x [1, D], out [n_slabs, D]. f32 in both precisions, as with few tokens.
size_t all_experts_workspace(const DeviceFfn& experts);
void all_experts(cudaStream_t stream, const DeviceFfn& experts, Rows x, Rows out, int n_processors, std::byte* workspace);

}  // namespace gs::cuda
