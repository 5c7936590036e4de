// Inputs of products with many tokens, and which product takes them. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/gemm.cuh"

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kThreads = 256, kLanesPerGroup = 8;   // of a group, four values each
constexpr float kLargestRounded = 127 * 128;        // as in ops/cpu/rounding.h

/// Eight lanes a group: the largest magnitude gives its scale; then q = round(x / scale) = 128 high + low with low in -64 .. 63.
__global__ void __launch_bounds__(kThreads) quantize_kernel(Rows x, Int8Input input) {
    const int row = static_cast<int>(blockIdx.x), group = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) / kLanesPerGroup;
    const int part = static_cast<int>(threadIdx.x) % kLanesPerGroup, first = group * kGroup + 4 * part;
    float v[4], largest = 0, probe = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        v[i] = group < input.n_groups && first + i < x.n_cols ? row_of(x, row)[first + i] : 0.0f;
        largest = fmaxf(largest, fabsf(v[i]));
        probe += v[i] * 0.0f;                       // infinities and what is no number would be lost in rounding: they spoil the scale
    }
#pragma unroll
    for (int step = 1; step < kLanesPerGroup; step *= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
        probe += __shfl_xor_sync(kAllLanes, probe, step);
    }
    const float inverse = largest > 1e-30f && largest < 3e38f ? kLargestRounded / largest : 0.0f, scale = largest / kLargestRounded + probe;
    uint32_t high = 0, low = 0;
    int sum = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int q = probe == 0.0f ? __float2int_rn(v[i] * inverse) : 0, h = (q + 64) >> 7;
        sum += q;
        high |= static_cast<uint32_t>(h & 255) << 8 * i;
        low |= static_cast<uint32_t>((q - 128 * h) & 255) << 8 * i;
    }
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    if (group >= input.n_groups) return;
    const size_t at = static_cast<size_t>(row) * static_cast<size_t>(input.n_groups) + static_cast<size_t>(group);
    reinterpret_cast<uint32_t*>(input.high)[at * kLanesPerGroup + static_cast<size_t>(part)] = high;
    reinterpret_cast<uint32_t*>(input.low)[at * kLanesPerGroup + static_cast<size_t>(part)] = low;
    if (part == 0) input.scale[at] = scale;
    if (part % 4 == 0) input.sum[2 * at + static_cast<size_t>(part / 4)] = scale * static_cast<float>(sum);
}

}  // namespace

Int8Input::Int8Input(std::byte* workspace, int n_rows, int n_in) : n_groups(ceil_div(n_in, kGroup)) {
    const size_t n = static_cast<size_t>(n_rows) * static_cast<size_t>(n_groups);
    high = reinterpret_cast<int8_t*>(workspace);
    low = high + n * kGroup;
    scale = reinterpret_cast<float*>(low + n * kGroup);
    sum = scale + n;
}

size_t Int8Input::n_bytes(int n_rows, int n_in) {
    return static_cast<size_t>(n_rows) * static_cast<size_t>(ceil_div(n_in, kGroup)) * (2 * kGroup + 3 * sizeof(float));
}

void quantize_rows(cudaStream_t stream, Rows x, const Int8Input& input) {
    if (x.n_rows <= 0) return;
    const int blocks = ceil_div(input.n_groups * kLanesPerGroup, kThreads);
    launch(quantize_kernel, dim3(static_cast<unsigned>(x.n_rows), static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, x, input);
}

void gemm(cudaStream_t stream, Rows x, const Int8Input& input, const RowGroups& groups, const GemmCall& call, Precision precision) {
    if (product_of(call.weight.format, precision) == Product::kInt8) gemm_int8(stream, input, groups, call);
    else gemm_f32(stream, x, groups, call);
}

void gemm_linear(cudaStream_t stream, Rows x, std::span<const DeviceLinear> calls, Precision precision, std::byte* workspace) {
    Int8Input input;
    if (linear_workspace(x, calls, precision) > 0) {
        input = Int8Input(workspace, x.n_rows, x.n_cols);
        quantize_rows(stream, x, input);
    }
    for (const DeviceLinear& call : calls) gemm(stream, x, input, {}, {call.weight, call.bias, call.out}, precision);
}

}  // namespace gs::cuda
