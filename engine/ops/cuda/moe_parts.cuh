// What moe*.cu share. Private to them.
#pragma once

#include "engine/ops/cuda/moe.cuh"

namespace gs::cuda {

/// act(g, u). 1 + tanh is written as a quotient: as a sum it would lose what is left for negative arguments.
__device__ inline float activated(Activation activation, float g, float u) {
    float z = g;
    if (activation == Activation::kGelu) {
        z = 1.5957691216057308f * (g + 0.044715f * g * g * g);   // 2 sqrt(2 / pi)
    } else if (activation == Activation::kClampedSilu) {
        // Written so that what is no number stays that.
        g = g > 7.0f ? 7.0f : g;
        u = (u > 7.0f ? 7.0f : u < -7.0f ? -7.0f : u) + 1.0f;
        z = 1.702f * g;
    }
    return g / (1.0f + expf(-z)) * u;
}

size_t moe_decode_workspace(const DeviceMoe& call);
void moe_decode(cudaStream_t stream, const DeviceMoe& call, int n_processors, std::byte* workspace);
size_t moe_prefill_workspace(const DeviceMoe& call, Precision precision);
void moe_prefill(cudaStream_t stream, const DeviceMoe& call, Precision precision, std::byte* workspace);

}  // namespace gs::cuda
