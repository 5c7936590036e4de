// Inputs of products with many tokens, and which product takes them. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/gemm.cuh"

#include "engine/ops/cuda/quantize.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

__global__ void __launch_bounds__(kRoundThreads) quantize_kernel(Rows x, Int8Input input) {
    const int row = static_cast<int>(blockIdx.x), group = rounded_group(), first = group * kGroup + 4 * rounded_part();
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = first + i < x.n_cols ? row_of(x, row)[first + i] : 0.0f;
    round_group(v, row, group, input);
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
    launch(quantize_kernel, dim3(static_cast<unsigned>(x.n_rows), round_blocks(x.n_cols)), dim3(kRoundThreads), 0, stream, x, input);
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
