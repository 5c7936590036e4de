// The product of 16-bit weights on tensor cores, inputs in several terms. Has run in the emulation of tests/cuda_emulation only, never on a device.
//
// Blocks and warps as in gemm_int8.cu: 64 tokens by 128 rows, 32 values of k at a time (64 bytes, one group), two stages. Weights are in memory as tensor
// cores take them, so that they go to shared memory by asynchronous copies, too.
#include "engine/core/check.h"
#include "engine/ops/cuda/gemm_tile.cuh"
#include "engine/ops/cuda/mma.cuh"

namespace gs::cuda {
namespace {

template <int kTerms>
struct SplitStage {
    int8_t terms[kTerms][kTileTokens * kStageBytes], weights[kTileRows * kStageBytes];
};

/// A thread brings a quarter of a token's group in every term, and quarters of two rows.
template <int kTerms>
__device__ inline void fetch(const SplitInput& input, const SlabView& w, int source, size_t first_row, size_t second_row, int group, SplitStage<kTerms>& stage) {
    const int token = static_cast<int>(threadIdx.x) / 4, piece = static_cast<int>(threadIdx.x) % 4;
    const size_t row_values = static_cast<size_t>(input.n_groups) * kGroup, plane = static_cast<size_t>(input.n_rows) * row_values;
    const size_t at = source >= 0 ? static_cast<size_t>(source) * row_values + static_cast<size_t>(group * kGroup + piece * 8) : 0;
#pragma unroll
    for (int t = 0; t < kTerms; ++t) copy_async_16(stage.terms[t] + piece_at(token, piece), input.terms + (source >= 0 ? static_cast<size_t>(t) * plane : 0) + at, source >= 0);
    const auto* quads = reinterpret_cast<const uint4*>(w.data) + w.n * static_cast<size_t>(piece) + static_cast<size_t>(group);
    copy_async_16(stage.weights + piece_at(token, piece), quads + first_row, true);
    copy_async_16(stage.weights + piece_at(token + kTileRows / 2, piece), quads + second_row, true);
    commit_async();
}

/// Sixteen values of k (`step` of 2): 2 x 4 tiles of this warp, whose first token and row are x and w. Smaller terms come first.
template <int kTerms>
__device__ inline void multiply_step(const SplitStage<kTerms>& stage, int step, int x, int w, float (&sum)[2][4][4]) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, r = lane / 4, c = lane % 4, word = 8 * step + c;
    uint32_t b[4][2];
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) b[n][i] = word_at(stage.weights, w + 8 * n + r, word + 4 * i);
#pragma unroll
    for (int t = kTerms - 1; t >= 0; --t)
#pragma unroll
        for (int m = 0; m < 2; ++m) {
            uint32_t a[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) a[i] = word_at(stage.terms[t], x + 16 * m + r + i % 2 * 8, word + i / 2 * 4);
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                if constexpr (kTerms == kHalfTerms) mma_half(sum[m][n], a, b[n]);
                else mma_bf16(sum[m][n], a, b[n]);
            }
        }
}

template <int kTerms>
__global__ void __launch_bounds__(kTileThreads, 2) split_gemm_kernel(const __grid_constant__ TileArgs args, SplitInput input) {
    auto* stages = dynamic_shared<SplitStage<kTerms>>();
    const TileSpan span = tile_span(args, static_cast<int>(blockIdx.x));
    if (span.n <= 0) return;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, first_row = static_cast<int>(blockIdx.y) * kTileRows;
    const int x = warp / 4 * 32, w = warp % 4 * 32, n_groups = args.weight.n_groups, last = args.weight.n_out - 1;
    const bool has_work = x < span.n && first_row + w < args.weight.n_out;
    const int source = thread / 4 < span.n ? source_row(args, span.first + thread / 4) : -1;
    const SlabView view = view_of(args.weight, span.slab);
    const auto index_of = [&](int row) { return static_cast<size_t>(min(first_row + row, last)) * static_cast<size_t>(n_groups); };
    const size_t low_row = index_of(thread / 4), high_row = index_of(thread / 4 + kTileRows / 2);
    float sum[2][4][4] = {};
    fetch(input, view, source, low_row, high_row, 0, stages[0]);
    for (int g = 0; g < n_groups; ++g) {
        wait_async();
        __syncthreads();   // this stage is there, and nobody reads the other any more
        if (g + 1 < n_groups) fetch(input, view, source, low_row, high_row, g + 1, stages[(g + 1) % 2]);
        if (has_work)
#pragma unroll
            for (int step = 0; step < 2; ++step) multiply_step(stages[g % 2], step, x, w, sum);
    }
    if (!has_work) return;
    const int lane = thread % kWarp;
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
            const int token = x + 16 * m + lane / 4 + i / 2 * 8;
            if (token >= span.n) continue;
            const int row = source_row(args, span.first + token);
#pragma unroll
            for (int n = 0; n < 4; ++n)
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const int o = first_row + w + 8 * n + 2 * (lane % 4) + j;
                    if (o < args.weight.n_out) store_value(args, span.slab, span.first + token, o, sum[m][n][i + j] * input.scale[row]);
                }
        }
}

}  // namespace

void gemm_split(cudaStream_t stream, const SplitInput& input, const RowGroups& groups, const GemmCall& call) {
    GS_CHECK(call.weight.format == (input.n_terms == kHalfTerms ? Format::kF16 : Format::kBF16), "16-bit weights of another kind than their input");
    const TileArgs args{call.weight, call.bias, call.out, groups};
    if (call.out.n_rows <= 0) return;
    const auto start = [&](auto kernel, size_t stage) { launch(kernel, tile_grid(args), dim3(kTileThreads), 2 * stage, stream, args, input); };
    if (input.n_terms == kHalfTerms) start(split_gemm_kernel<kHalfTerms>, sizeof(SplitStage<kHalfTerms>));
    else start(split_gemm_kernel<kBfloatTerms>, sizeof(SplitStage<kBfloatTerms>));
}

}  // namespace gs::cuda
