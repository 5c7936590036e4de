// The f32 product. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/gemm_tile.cuh"

namespace gs::cuda {
namespace {

// Rows of the tiles in shared memory are values of one k. The pads keep rows aligned to 16 bytes.
constexpr int kWeightStride = kTileRows + 4, kInputStride = kTileTokens + 4;

/// Thread (y, x) of 16 x 16 sums tokens 4 y .. 4 y + 3 by rows 4 x .. 4 x + 3 and 64 + 4 x .. 64 + 4 x + 3.
__global__ void __launch_bounds__(kTileThreads) f32_kernel(const __grid_constant__ TileArgs args, Rows x) {
    __shared__ __align__(16) float weights[kGroup * kWeightStride];
    __shared__ __align__(16) float inputs[kGroup * kInputStride];
    const TileSpan span = tile_span(args, static_cast<int>(blockIdx.x));
    if (span.n <= 0) return;
    const int thread = static_cast<int>(threadIdx.x), tx = thread % 16, ty = thread / 16, first_row = static_cast<int>(blockIdx.y) * kTileRows;
    const SlabView w = view_of(args.weight, span.slab);
    const int n_groups = args.weight.n_groups, n_in = args.weight.n_in;
    // Every thread brings eight values of one token's 32: threads of a quad read 128 neighbouring bytes.
    const int token = thread / 4, k_first = thread % 4 * 8;
    const float* source = token < span.n ? row_of(x, source_row(args, span.first + token)) : nullptr;
    float sum[4][8] = {};
    for (int g = 0; g < n_groups; ++g) {
        if (g > 0) __syncthreads();
        for (int i = k_first; i < k_first + 8; ++i) {
            const int k = g * kGroup + i;
            inputs[i * kInputStride + token] = source && k < n_in ? source[k] : 0.0f;
        }
        if (thread < kTileRows) {
            const int o = min(first_row + thread, args.weight.n_out - 1);
            for_format(args.weight.format, [&]<Format F>() {
                dequantize_group<F>(w, static_cast<size_t>(o) * static_cast<size_t>(n_groups) + static_cast<size_t>(g), [&](int j, const float4& v) {
                    float* column = weights + 4 * j * kWeightStride + thread;
                    column[0] = v.x;
                    column[kWeightStride] = v.y;
                    column[2 * kWeightStride] = v.z;
                    column[3 * kWeightStride] = v.w;
                });
            });
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < kGroup; ++k) {
            const float4 in = *reinterpret_cast<const float4*>(inputs + k * kInputStride + 4 * ty);
            const float4 a = *reinterpret_cast<const float4*>(weights + k * kWeightStride + 4 * tx);
            const float4 b = *reinterpret_cast<const float4*>(weights + k * kWeightStride + 64 + 4 * tx);
            const float tokens[4] = {in.x, in.y, in.z, in.w}, rows[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
            for (int t = 0; t < 4; ++t)
#pragma unroll
                for (int r = 0; r < 8; ++r) sum[t][r] = fmaf(tokens[t], rows[r], sum[t][r]);
        }
    }
#pragma unroll
    for (int t = 0; t < 4; ++t)
#pragma unroll
        for (int r = 0; r < 8; ++r) {
            const int o = first_row + r / 4 * 64 + 4 * tx + r % 4;
            if (4 * ty + t < span.n && o < args.weight.n_out) store_value(args, span.slab, span.first + 4 * ty + t, o, sum[t][r]);
        }
}

}  // namespace

void gemm_f32(cudaStream_t stream, Rows x, const RowGroups& groups, const GemmCall& call) {
    const TileArgs args{call.weight, call.bias, call.out, groups};
    if (call.out.n_rows > 0) launch(f32_kernel, tile_grid(args), dim3(kTileThreads), 0, stream, args, x);
}

}  // namespace gs::cuda
