#include "engine/ops/cuda/share.cuh"

#include <cfloat>
#include <cmath>

#include "engine/ops/cuda/launch.cuh"

namespace gs::cuda {
namespace {

constexpr float kSmallest = -0x1.fffffcp127f;      // as in router_math.cpp
constexpr int kLanes = 4;                          // of the host's vectors: sums are four, added at the end

__device__ float finite(float logit) {
    if (std::isnan(logit)) return -FLT_MAX;
    return fminf(fmaxf(logit, kSmallest), FLT_MAX);
}

/// exp_nonpositive() of engine/routing/vec4.h, one lane of it.
__device__ float exp_nonpositive(float x) {
    constexpr float kRound = 12582912.0f, kLeast = -87.3f;
    if (x < kLeast) return 0;
    const auto muladd = [](float a, float b, float c) { return __fadd_rn(__fmul_rn(a, b), c); };
    const float shifted = muladd(x, 1.44269504088896341f, kRound), n = __fsub_rn(shifted, kRound);
    const float r = __fsub_rn(__fsub_rn(x, __fmul_rn(n, 0.693359375f)), __fmul_rn(n, -2.12194440e-4f));
    float p = 1.9875691500e-4f;
    for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) p = muladd(p, r, c);
    p = __fadd_rn(muladd(__fmul_rn(p, r), r, r), 1.0f);
    return __uint_as_float(__float_as_uint(p) + (__float_as_uint(shifted) << 23));
}

__device__ void softmax(const float* logits, float* out, int n, int lane) {
    float top = -FLT_MAX;
    for (int e = lane; e < n; e += kWarp) top = fmaxf(top, finite(logits[e]));
    top = warp_max(top);
    for (int e = lane; e < n; e += kWarp) out[e] = exp_nonpositive(__fsub_rn(finite(logits[e]), top));
    __syncwarp();
    float sum = 0;
    for (int e = lane; lane < kLanes && e < n; e += kLanes) sum = __fadd_rn(sum, out[e]);
    sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 1));
    sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 2));
    const float inverse = __fdiv_rn(1.0f, __shfl_sync(kAllLanes, sum, 0));
    for (int e = lane; e < n; e += kWarp) out[e] = __fmul_rn(out[e], inverse);
}

__device__ void sigmoid(const float* logits, float* out, int n, int lane) {
    for (int e = lane; e < n; e += kWarp) {
        const float x = finite(logits[e]), y = exp_nonpositive(x < 0 ? x : -x);
        out[e] = __fdiv_rn(x < 0 ? y : 1.0f, __fadd_rn(1.0f, y));
    }
}

__global__ void __launch_bounds__(kWarp) share_kernel(SharedRows rows, int n_experts, float* weights_out, float* preference_out, size_t layer_floats) {
    const int row = static_cast<int>(blockIdx.x), layer = static_cast<int>(blockIdx.y), lane = static_cast<int>(threadIdx.x);
    const auto n = static_cast<size_t>(n_experts), at = static_cast<size_t>(layer) * static_cast<size_t>(rows.n_rows) + static_cast<size_t>(row);
    const size_t to = static_cast<size_t>(layer) * layer_floats + static_cast<size_t>(row) * n, slot = at * static_cast<size_t>(rows.k_stride);
    for (int e = lane; e < n_experts; e += kWarp) weights_out[to + static_cast<size_t>(e)] = __uint_as_float(0x7fc00000u);
    __syncwarp();
    for (int j = lane; j < rows.n_used[at]; j += kWarp) {
        const auto from = slot + static_cast<size_t>(j);
        weights_out[to + static_cast<size_t>(rows.ids[from])] = rows.weights[from];
    }
    if (rows.score == ScoreFn::kSqrtSoftplus) return;
    if (rows.score == ScoreFn::kSigmoid) sigmoid(rows.logits + at * n, preference_out + to, n_experts, lane);
    else softmax(rows.logits + at * n, preference_out + to, n_experts, lane);
}

}  // namespace

void share_rows(cudaStream_t stream, const SharedRows& rows, const SharedLayout& layout, float* to) {
    if (rows.n_rows <= 0 || rows.n_layers <= 0) return;
    const auto plane = [&](SharedLayout::Plane p) { return to + layout.at(p, rows.moe_layer, rows.first_position); };
    const size_t layer_floats = static_cast<size_t>(layout.n_positions) * static_cast<size_t>(layout.n_experts);
    launch(share_kernel, dim3(static_cast<unsigned>(rows.n_rows), static_cast<unsigned>(rows.n_layers)), dim3(kWarp), 0, stream, rows, layout.n_experts,
           plane(SharedLayout::kWeights), plane(SharedLayout::kPreference), layer_floats);
}

}  // namespace gs::cuda
