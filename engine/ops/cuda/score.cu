// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/score.cuh"

#include <cfloat>

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

__device__ inline float logit_at(const float* row, int i, float divisor, float cap) {
    float l = row[i];
    if (divisor != 1) l /= divisor;
    return cap != 0 ? cap * tanhf(l / cap) : l;
}

/// l - top, at most 0; so low for what is no number that its exp is 0 (sampler.cpp has the same).
__device__ inline float below_top(float l, float top) {
    constexpr float kNever = -1000;
    const float d = (top < l ? top : l) - top;
    return d <= 0 ? fmaxf(d, kNever) : kNever;
}

/// A block a row, in two passes over it: the second finds it in the cache.
__global__ void __launch_bounds__(kThreads) score_kernel(Rows logits, const int32_t* ids, float divisor, float cap, float* out) {
    __shared__ float tops[kWarps], probes[kWarps];
    __shared__ double sums[kWarps], weighted[kWarps];
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, row = static_cast<int>(blockIdx.x);
    const float* values = row_of(logits, row);
    float top = -FLT_MAX, probe = 0;
    for (int i = thread; i < logits.n_cols; i += kThreads) {
        const float l = logit_at(values, i, divisor, cap);
        if (l > top) top = l;
        probe += l - l;   // 0 for a number
    }
    top = warp_max(top);
    probe = warp_sum(probe);
    if (thread % kWarp == 0) tops[warp] = top, probes[warp] = probe;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, tops[w]);
    top = fminf(top, FLT_MAX);
    double sum = 0, mean = 0;
    for (int i = thread; i < logits.n_cols; i += kThreads) {
        const float d = below_top(logit_at(values, i, divisor, cap), top), e = expf(d);
        sum += static_cast<double>(e);
        mean += static_cast<double>(d * e);
    }
    sum = warp_sum(sum);
    mean = warp_sum(mean);
    if (thread % kWarp == 0) sums[warp] = sum, weighted[warp] = mean;
    __syncthreads();
    if (thread != 0) return;
    sum = mean = 0;
    probe = 0;
    for (int w = 0; w < kWarps; ++w) {
        sum += sums[w];
        mean += weighted[w];
        probe += probes[w];
    }
    const double log_sum = log(sum), entropy = log_sum - mean / sum;
    out[3 * row] = static_cast<float>(static_cast<double>(below_top(logit_at(values, ids[row], divisor, cap), top)) - log_sum);
    out[3 * row + 1] = static_cast<float>(entropy > 0 ? entropy : 0);
    out[3 * row + 2] = probe == 0 ? 1.0f : 0.0f;
}

}  // namespace

void score_rows(cudaStream_t stream, Rows logits, const int32_t* ids, float divisor, float cap, float* out) {
    if (logits.n_rows <= 0) return;
    launch(score_kernel, dim3(static_cast<unsigned>(logits.n_rows)), dim3(kThreads), 0, stream, logits, ids, divisor, cap, out);
}

}  // namespace gs::cuda
