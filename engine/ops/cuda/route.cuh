// The router on the device: route() of engine/routing/router.h, whose contract it keeps (distinct experts, best first, equal ones by lower index, NaN
// last, a mask above all) but for rounding: exponentials are the device's, sums over experts in warp order.
//
// A warp a token. What to do is read from device memory, so that a captured graph follows a change of policy.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/step.cuh"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// LayerRouter as a kernel reads it.
struct DeviceRouter {
    int n_experts = 0, n_groups = 1, n_groups_used = 1;
    int k = 0, native_k = 0;                   ///< experts of a token under the policy, and under none
    ScoreFn score = ScoreFn::kSoftmax;
    GroupScore group_score = GroupScore::kTop2Sum;
    WeightRule weight_rule = WeightRule::kAsTrained;
    GateRule rule = GateRule::kNative;
    bool renormalise = false, select_by_logits = false, has_forced = false, has_zeroed = false;
    int first_k = 0;                           ///< of the best that are looked at; k is what may remain of them
    float p = 1, tau = 0, noise = 0;
    uint32_t seed = 0;
    int layer = 0;                             ///< of the model
    float norm_floor = 0, norm_epsilon = 0, scale = 1, temperature = 1;
    const float* bias = nullptr;               ///< [E] on the device, or null
    const float* policy_bias = nullptr;        ///< [E] on the device, or null: the policy's
    const uint8_t* flags = nullptr;            ///< [E] on the device: kMasked, kForced, kZeroed; or null
    const ExpertSwap* swaps = nullptr;         ///< [n_swaps] on the device, or null
    int n_swaps = 0;
};
constexpr uint8_t kMasked = 1, kForced = 2, kZeroed = 4;
constexpr int kMostExperts = 1024;

/// call.logits [T, E], E <= 1024; `routers` lie on the device; call.first_position is where `first` says.
void route(cudaStream_t stream, const DeviceRouter* routers, const RouteCall& call, Position first);

}  // namespace gs::cuda
