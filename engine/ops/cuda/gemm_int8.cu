// The integer product on tensor cores. Has run in the emulation of tests/cuda_emulation only, never on a device.
//
// A block: 64 tokens by 128 rows, 64 values of k at a time, two stages in shared memory. While warps multiply one, the other's inputs arrive by asynchronous
// copies and its weights, one group a thread, are in registers as they are stored, to be unpacked behind the product. Warp (y, x) of 2 x 4 has 32 tokens
// by 32 rows: 2 x 4 tensor core tiles.
#include "engine/core/check.h"
#include "engine/ops/cuda/gemm_tile.cuh"
#include "engine/ops/cuda/mma.cuh"

namespace gs::cuda {
namespace {

constexpr int kStageGroups = kStageBytes / kGroup;
constexpr int kRunsOf16 = 2 * kStageGroups;

/// 43 KiB for two. Scales and sums are of every run of 16 where a scale belongs to 16 values, else of every group (in the first places).
struct Stage {
    int8_t high[kTileTokens * kStageBytes], low[kTileTokens * kStageBytes], weights[kTileRows * kStageBytes];
    float input_scale[kStageGroups][kTileTokens], input_sum[kRunsOf16][kTileTokens];
    float weight_scale[kRunsOf16][kTileRows], weight_min[kRunsOf16][kTileRows];
};

/// What one thread brings of a stage's inputs: a quarter of a token's k, both terms.
__device__ inline void fetch_inputs(const Int8Input& input, int source, int first_group, Stage& stage) {
    const int thread = static_cast<int>(threadIdx.x), token = thread / 4, piece = thread % 4;
    const bool valid = source >= 0 && first_group + piece / 2 < input.n_groups;
    const size_t at = valid ? static_cast<size_t>(source) * static_cast<size_t>(input.n_groups) * kGroup + static_cast<size_t>(first_group * kGroup + piece * 16) : 0;
    copy_async_16(stage.high + piece_at(token, piece), input.high + at, valid);
    copy_async_16(stage.low + piece_at(token, piece), input.low + at, valid);
    commit_async();
}

template <int kRun, bool kMin>
__device__ inline void fetch_input_scales(const Int8Input& input, int source, int first_group, Stage& stage) {
    const int token = static_cast<int>(threadIdx.x) / 4, piece = static_cast<int>(threadIdx.x) % 4, group = first_group + piece / 2;
    const bool valid = source >= 0 && group < input.n_groups;
    const size_t at = valid ? static_cast<size_t>(source) * static_cast<size_t>(input.n_groups) + static_cast<size_t>(group) : 0;
    if (piece % 2 == 0) stage.input_scale[piece / 2][token] = valid ? input.scale[at] : 0.0f;
    if constexpr (kMin && kRun == 16) stage.input_sum[piece][token] = valid ? input.sum[2 * at + static_cast<size_t>(piece % 2)] : 0.0f;
    if constexpr (kMin && kRun == 32)
        if (piece % 2 == 0) stage.input_sum[piece / 2][token] = valid ? input.sum[2 * at] + input.sum[2 * at + 1] : 0.0f;
}

/// A group of any format with runs of kRun, on its way from memory to a stage.
struct RawGroup {
    uint4 quads[2];
    uint2 twos;
    uint32_t ones;
    float scale[2], min[2];
};

/// visit.template operator()<F>() for the formats of one kernel.
template <int kRun, bool kMin, class Visit>
__device__ inline void for_format_of(Format format, const Visit& visit) {
    for_format(format, [&]<Format F>() {
        if constexpr (kTraits<F>.run == kRun && kTraits<F>.has_min == kMin) visit.template operator()<F>();
    });
}

template <int kRun, bool kMin>
__device__ inline void fetch_weights(Format format, const SlabView& w, size_t index, RawGroup& raw) {
    for_format_of<kRun, kMin>(format, [&]<Format F>() {
        const Group<F> g = load_group<F>(w, index);
        if constexpr (kTraits<F>.quads >= 1) raw.quads[0] = g.quads[0];
        if constexpr (kTraits<F>.quads == 2) raw.quads[1] = g.quads[1];
        if constexpr (kTraits<F>.twos != 0) raw.twos = g.twos;
        if constexpr (kTraits<F>.ones != 0) raw.ones = g.ones;
#pragma unroll
        for (int side = 0; side < kGroup / kRun; ++side) {
            raw.scale[side] = g.scale[side];
            if constexpr (kMin) raw.min[side] = g.min[side];
        }
    });
}

/// The group of one thread into the stage: thread t has group t % 2 of row t / 2.
template <int kRun, bool kMin>
__device__ inline void store_weights(Format format, const RawGroup& raw, bool valid, Stage& stage) {
    const int row = static_cast<int>(threadIdx.x) / 2, which = static_cast<int>(threadIdx.x) % 2;
    for_format_of<kRun, kMin>(format, [&]<Format F>() {
        Group<F> g;
        if constexpr (kTraits<F>.quads >= 1) g.quads[0] = raw.quads[0];
        if constexpr (kTraits<F>.quads == 2) g.quads[1] = raw.quads[1];
        if constexpr (kTraits<F>.twos != 0) g.twos = raw.twos;
        if constexpr (kTraits<F>.ones != 0) g.ones = raw.ones;
        uint32_t words[8];
#pragma unroll
        for (int i = 0; i < 4; ++i) unpack_words<F>(g, i, words[i], words[i + 4]);
#pragma unroll
        for (int side = 0; side < 2; ++side)
            *reinterpret_cast<uint4*>(stage.weights + piece_at(row, 2 * which + side)) =
                make_uint4(words[4 * side], words[4 * side + 1], words[4 * side + 2], words[4 * side + 3]);
    });
    constexpr int kRuns = kGroup / kRun;
    // A group beyond the end has no input; its scale must still be a number.
#pragma unroll
    for (int i = 0; i < kRuns; ++i) {
        stage.weight_scale[kRuns * which + i][row] = valid ? raw.scale[i] : 0.0f;
        if constexpr (kMin) stage.weight_min[kRuns * which + i][row] = valid ? raw.min[i] : 0.0f;
    }
}

/// sum += the whole numbers c of one tile times both scales, less minimum times sum of the input. x, w: token and row of c[0] in the tile.
template <bool kMin>
__device__ inline void add_scaled(float (&sum)[4], const int (&c)[4], const Stage& stage, int group, int run, int x, int w) {
    const float x0 = stage.input_scale[group][x], x1 = stage.input_scale[group][x + 8];
    const float2 scale = *reinterpret_cast<const float2*>(&stage.weight_scale[run][w]);
    sum[0] = fmaf(static_cast<float>(c[0]), x0 * scale.x, sum[0]);
    sum[1] = fmaf(static_cast<float>(c[1]), x0 * scale.y, sum[1]);
    sum[2] = fmaf(static_cast<float>(c[2]), x1 * scale.x, sum[2]);
    sum[3] = fmaf(static_cast<float>(c[3]), x1 * scale.y, sum[3]);
    if constexpr (kMin) {
        const float s0 = stage.input_sum[run][x], s1 = stage.input_sum[run][x + 8];
        const float2 min = *reinterpret_cast<const float2*>(&stage.weight_min[run][w]);
        sum[0] = fmaf(-min.x, s0, sum[0]);
        sum[1] = fmaf(-min.y, s0, sum[1]);
        sum[2] = fmaf(-min.x, s1, sum[2]);
        sum[3] = fmaf(-min.y, s1, sum[3]);
    }
}

/// The whole numbers of one tile: 128 high + low times b, k of 32 or of 16 values.
__device__ inline void multiply_tile(const uint32_t (&high)[4], const uint32_t (&low)[4], const uint32_t (&b)[2], int (&d)[4]) {
    mma_s8(d, high, b);
#pragma unroll
    for (int& v : d) v *= 128;
    mma_s8(d, low, b);
}
__device__ inline void multiply_tile(const uint32_t (&high)[2], const uint32_t (&low)[2], const uint32_t (&b)[1], int (&d)[4]) {
    mma_s8_half(d, high, b);
#pragma unroll
    for (int& v : d) v *= 128;
    mma_s8_half(d, low, b);
}

/// Run `run` of a stage: 2 x 4 tiles of this warp, whose first token and row are x and w.
template <int kRun, bool kMin>
__device__ inline void multiply_run(const Stage& stage, int run, int x, int w, float (&sum)[2][4][4]) {
    constexpr int kWords = kRun / 16;   // of b; twice as many of a
    const int lane = static_cast<int>(threadIdx.x) % kWarp, r = lane / 4, c = lane % 4, word = 4 * kWords * run + c;
    uint32_t high[2][2 * kWords], low[2][2 * kWords];
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int i = 0; i < 2 * kWords; ++i) {
            const int row = x + 16 * m + r + i % 2 * 8;
            high[m][i] = word_at(stage.high, row, word + i / 2 * 4);
            low[m][i] = word_at(stage.low, row, word + i / 2 * 4);
        }
#pragma unroll
    for (int n = 0; n < 4; ++n) {
        uint32_t b[kWords];
#pragma unroll
        for (int i = 0; i < kWords; ++i) b[i] = word_at(stage.weights, w + 8 * n + r, word + 4 * i);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
            int d[4] = {};
            multiply_tile(high[m], low[m], b, d);
            add_scaled<kMin>(sum[m][n], d, stage, run * kRun / kGroup, run, x + 16 * m + r, w + 8 * n + 2 * c);
        }
    }
}

template <int kRun, bool kMin>
__global__ void __launch_bounds__(kTileThreads, 2) int8_kernel(const __grid_constant__ TileArgs args, Int8Input input) {
    Stage* stages = dynamic_shared<Stage>();
    const TileSpan span = tile_span(args, static_cast<int>(blockIdx.x));
    if (span.n <= 0) return;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, first_row = static_cast<int>(blockIdx.y) * kTileRows;
    const int x = warp / 4 * 32, w = warp % 4 * 32, n_groups = args.weight.n_groups;
    const bool has_work = x < span.n && first_row + w < args.weight.n_out;
    const int source = thread / 4 < span.n ? source_row(args, span.first + thread / 4) : -1;
    const SlabView view = view_of(args.weight, span.slab);
    const size_t row = static_cast<size_t>(min(first_row + thread / 2, args.weight.n_out - 1)) * static_cast<size_t>(n_groups);
    const auto my_group = [&](int first) { return row + static_cast<size_t>(min(first + thread % 2, n_groups - 1)); };
    const Format format = args.weight.format;
    RawGroup weights;
    float sum[2][4][4] = {};
    fetch_inputs(input, source, 0, stages[0]);
    fetch_input_scales<kRun, kMin>(input, source, 0, stages[0]);
    fetch_weights<kRun, kMin>(format, view, my_group(0), weights);
    store_weights<kRun, kMin>(format, weights, thread % 2 < n_groups, stages[0]);
    for (int g = 0, now = 0; g < n_groups; g += kStageGroups, now ^= 1) {
        wait_async();
        __syncthreads();   // this stage is there, and nobody reads the other any more
        const int next = g + kStageGroups;
        if (next < n_groups) {
            fetch_inputs(input, source, next, stages[now ^ 1]);
            fetch_weights<kRun, kMin>(format, view, my_group(next), weights);
        }
        if (has_work)
#pragma unroll 1
            for (int run = 0; run < kStageBytes / kRun; ++run) multiply_run<kRun, kMin>(stages[now], run, x, w, sum);
        if (next < n_groups) {
            fetch_input_scales<kRun, kMin>(input, source, next, stages[now ^ 1]);
            store_weights<kRun, kMin>(format, weights, next + thread % 2 < n_groups, stages[now ^ 1]);
        }
    }
    if (!has_work) return;
    const int lane = thread % kWarp;
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int token = x + 16 * m + lane / 4 + i / 2 * 8, o = first_row + w + 8 * n + 2 * (lane % 4) + i % 2;
                if (token < span.n && o < args.weight.n_out) store_value(args, span.slab, span.first + token, o, sum[m][n][i]);
            }
}

}  // namespace

void gemm_int8(cudaStream_t stream, const Int8Input& input, const RowGroups& groups, const GemmCall& call) {
    GS_CHECK(!is_plain(call.weight.format), "an integer product with weights that are not whole numbers");
    const TileArgs args{call.weight, call.bias, call.out, groups};
    if (call.out.n_rows <= 0) return;
    const FormatTraits& traits = kFormats[static_cast<int>(call.weight.format)];
    const auto start = [&](auto kernel) { launch(kernel, tile_grid(args), dim3(kTileThreads), 2 * sizeof(Stage), stream, args, input); };
    if (traits.run == 32) start(traits.has_min ? int8_kernel<32, true> : int8_kernel<32, false>);
    else start(traits.has_min ? int8_kernel<16, true> : int8_kernel<16, false>);
}

}  // namespace gs::cuda
