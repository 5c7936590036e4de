// Inputs of products with many tokens, and which product takes them. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/gemm.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <utility>

#include "engine/ops/cuda/half_range.cuh"
#include "engine/ops/cuda/quantize.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

__device__ inline float value_at(const Rows& x, int row, int column) { return column < x.n_cols ? row_of(x, row)[column] : 0.0f; }

__global__ void __launch_bounds__(kRoundThreads) quantize_kernel(Rows x, Int8Input input, const int32_t* n_rows) {
    const int row = static_cast<int>(blockIdx.x), group = rounded_group(), first = group * kGroup + 4 * rounded_part();
    if (n_rows && row >= *n_rows) return;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = value_at(x, row, first + i);
    round_group(v, row, group, input);
}

/// A block a row: every value less its terms so far is rounded to the next one.
template <bool kHalves>
__global__ void __launch_bounds__(kRoundThreads) split_kernel(Rows x, SplitInput input, const int32_t* n_rows) {
    __shared__ float largest_of[kRoundThreads / kWarp];
    const int row = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x), n = input.n_groups * kGroup;
    if (n_rows && row >= *n_rows) return;
    float scale = 1;
    if constexpr (kHalves) {
        float largest = 0, probe = 0;
        for (int i = thread; i < n; i += kRoundThreads) {
            const float v = value_at(x, row, i);
            largest = fmaxf(largest, fabsf(v));
            probe += v * 0.0f;
        }
        largest = warp_max(largest) + warp_sum(probe);
        if (thread % kWarp == 0) largest_of[thread / kWarp] = largest;
        __syncthreads();
        largest = 0;
        for (int i = 0; i < kRoundThreads / kWarp; ++i) largest = largest_of[i] < largest ? largest : largest_of[i];
        scale = half_range_scale(largest);
    }
    if (thread == 0) input.scale[row] = 1 / scale;
    for (int i = thread; i < n; i += kRoundThreads) {
        float rest = value_at(x, row, i) * scale;
        uint16_t* to = input.terms + static_cast<size_t>(row) * static_cast<size_t>(n) + static_cast<size_t>(i);
        for (int t = 0; t < (kHalves ? kHalfTerms : kBfloatTerms); ++t, to += static_cast<size_t>(input.n_rows) * static_cast<size_t>(n)) {
            if constexpr (kHalves) {
                const __half term = __float2half_rn(rest);
                *to = __half_as_ushort(term);
                rest -= __half2float(term);
            } else {
                const __nv_bfloat16 term = __float2bfloat16_rn(rest);
                *to = __bfloat16_as_ushort(term);
                rest -= __bfloat162float(term);
            }
        }
    }
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

SplitInput::SplitInput(std::byte* workspace, int rows, int n_in, int n) : n_groups(ceil_div(n_in, kGroup)), n_rows(rows), n_terms(n) {
    terms = reinterpret_cast<uint16_t*>(workspace);
    scale = reinterpret_cast<float*>(terms + static_cast<size_t>(n_terms) * static_cast<size_t>(n_rows) * static_cast<size_t>(n_groups) * kGroup);
}

size_t SplitInput::n_bytes(int n_rows, int n_in, int n_terms) {
    return static_cast<size_t>(n_rows) * (static_cast<size_t>(n_terms) * static_cast<size_t>(ceil_div(n_in, kGroup)) * kGroup * sizeof(uint16_t) + sizeof(float));
}

GemmInput::GemmInput(std::byte* workspace, Rows rows, const Products& products) : x(rows) {
    const auto take = [&workspace](size_t n) { return std::exchange(workspace, workspace + (n + 15) / 16 * 16); };
    if (products.has(Product::kInt8)) int8 = Int8Input(take(Int8Input::n_bytes(x.n_rows, x.n_cols)), x.n_rows, x.n_cols);
    if (products.has(Product::kHalf)) halves = SplitInput(take(SplitInput::n_bytes(x.n_rows, x.n_cols, kHalfTerms)), x.n_rows, x.n_cols, kHalfTerms);
    if (products.has(Product::kBfloat)) bfloats = SplitInput(take(SplitInput::n_bytes(x.n_rows, x.n_cols, kBfloatTerms)), x.n_rows, x.n_cols, kBfloatTerms);
}

size_t GemmInput::n_bytes(int n_rows, int n_in, const Products& products) {
    const auto whole = [](size_t n) { return (n + 15) / 16 * 16; };
    return (products.has(Product::kInt8) ? whole(Int8Input::n_bytes(n_rows, n_in)) : 0) +
           (products.has(Product::kHalf) ? whole(SplitInput::n_bytes(n_rows, n_in, kHalfTerms)) : 0) +
           (products.has(Product::kBfloat) ? whole(SplitInput::n_bytes(n_rows, n_in, kBfloatTerms)) : 0);
}

void prepare_input(cudaStream_t stream, const GemmInput& input, const int32_t* n_rows) {
    const Rows& x = input.x;
    if (x.n_rows <= 0) return;
    const auto rows = static_cast<unsigned>(x.n_rows);
    if (input.int8.n_groups > 0) launch(quantize_kernel, dim3(rows, round_blocks(x.n_cols)), dim3(kRoundThreads), 0, stream, x, input.int8, n_rows);
    if (input.halves.n_groups > 0) launch(split_kernel<true>, dim3(rows), dim3(kRoundThreads), 0, stream, x, input.halves, n_rows);
    if (input.bfloats.n_groups > 0) launch(split_kernel<false>, dim3(rows), dim3(kRoundThreads), 0, stream, x, input.bfloats, n_rows);
}

void gemm(cudaStream_t stream, const GemmInput& input, const RowGroups& groups, const GemmCall& call, Precision precision) {
    switch (product_of(call.weight.format, precision)) {
        case Product::kF32: return gemm_f32(stream, input.x, groups, call);
        case Product::kInt8: return gemm_int8(stream, input.int8, groups, call);
        case Product::kHalf: return gemm_split(stream, input.halves, groups, call);
        case Product::kBfloat: return gemm_split(stream, input.bfloats, groups, call);
    }
}

void gemm_linear(cudaStream_t stream, Rows x, std::span<const DeviceLinear> calls, Precision precision, std::byte* workspace) {
    Products products;
    for (const DeviceLinear& call : calls) products.add(product_of(call.weight.format, precision));
    const GemmInput input(workspace, x, products);
    prepare_input(stream, input);
    for (const DeviceLinear& call : calls) gemm(stream, input, {}, {call.weight, call.bias, call.out}, precision);
}

}  // namespace gs::cuda
