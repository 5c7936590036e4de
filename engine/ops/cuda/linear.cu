// Products with few tokens. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/linear.cuh"

#include "engine/core/check.h"
#include "engine/ops/cuda/dot.cuh"
#include "engine/ops/cuda/gemm.cuh"
#include "engine/ops/cuda/norm_rows.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kMostCalls = 8;                ///< of one launch
constexpr int kStagedGroups = 256;           ///< of all tokens together: 36 KiB
constexpr int kRowsAtOnce = 4;

struct RowsCall {
    DeviceMatrix weight;
    const float* bias;
    float* out;
    int out_stride;
    int first_block;
};

/// One launch: the matrices of a linear(), blocks of each side by side.
struct RowsBatch {
    RowsCall calls[kMostCalls];
    int n_calls;
    Rows x;
    int team;
    NormShape norm;                          ///< of x, on the way; group 0: none
};

/// Mean and factor of each row, for the whole block, whose n_warps warps take one after the other what norm_warps() would.
template <int T>
__device__ void find_norms(const RowsBatch& batch, int n_warps, float (&means)[T], float (&factors)[T]) {
    __shared__ double sums[T * kNormWarps];
    __shared__ float squares[T * kNormWarps];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, own = static_cast<int>(threadIdx.x);
    const int n = batch.x.n_cols, parts = norm_warps(n), n_parts = batch.x.n_rows * parts;
    const bool has_mean = batch.norm.kind == NormKind::kLayer;
    if (has_mean) {
        for (int i = warp; i < n_parts; i += n_warps) {
            const double sum = warp_sum(sum_part(row_of(batch.x, i / parts), n, i % parts));
            if (lane == 0) sums[i] = sum;
        }
        __syncthreads();
    }
    if (own < T) means[own] = has_mean && own < batch.x.n_rows ? static_cast<float>(sum_of_warps(sums + own * parts, parts) / n) : 0.0f;
    __syncthreads();
    for (int i = warp; i < n_parts; i += n_warps) {
        const float sum = warp_sum(square_part(row_of(batch.x, i / parts), n, means[i / parts], i % parts));
        if (lane == 0) squares[i] = sum;
    }
    __syncthreads();
    if (own < batch.x.n_rows) factors[own] = norm_factor(batch.norm, sum_of_warps(squares + own * parts, parts));
    __syncthreads();
}

/// As stage_groups, of the normalised row t; the first block keeps it where others read it.
__device__ inline void stage_normalised(const RowsBatch& batch, int t, int begin, int n_groups, float mean, float factor, float* staged) {
    const float* x = row_of(batch.x, t);
    float* kept = blockIdx.x == 0 ? row_of(batch.norm.out, t) : nullptr;
    for (int i = static_cast<int>(threadIdx.x); i < n_groups * kGroup; i += static_cast<int>(blockDim.x)) {
        const int column = begin + i;
        const float y = column < batch.x.n_cols ? normalised(batch.norm, x[column], mean, factor, column) : 0.0f;
        staged[i / kGroup * kStagedGroup + i % kGroup] = y;
        if (kept && column < batch.x.n_cols) kept[column] = y;
    }
}

/// A block: some rows of one matrix, all tokens. n_tokens <= T; R rows a team.
/// The number of blocks a multiprocessor that is named is what keeps ptxas from aiming at more of them and spilling.
template <int T, int R>
__global__ void __launch_bounds__(kRowThreads, T == 8 ? 1 : 2) rows_kernel(const __grid_constant__ RowsBatch batch) {
    float* staged = dynamic_shared<float>();
    const int block = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    int c = 0;
    while (c + 1 < batch.n_calls && block >= batch.calls[c + 1].first_block) ++c;
    const RowsCall& call = batch.calls[c];
    const int n_groups = call.weight.n_groups, n_out = call.weight.n_out, team = batch.team, n_teams = kWarp / team;
    const SlabView w = view_of(call.weight, 0);
    const int n_warps = static_cast<int>(blockDim.x) / kWarp;
    const int first_row = ((block - call.first_block) * n_warps + warp) * n_teams * R + lane / team;
    constexpr int kChunk = kStagedGroups / T, kStride = kChunk * kStagedGroup;
    __shared__ float means[T], factors[T];
    const bool normalises = batch.norm.group > 0;
    if (normalises) find_norms(batch, n_warps, means, factors);
    float sum[R][T] = {};
    for (int begin = 0; begin < n_groups; begin += kChunk) {
        const int n = min(kChunk, n_groups - begin);
        if (begin > 0) __syncthreads();
        for (int t = 0; t < T; ++t) {
            const int row = min(t, batch.x.n_rows - 1);
            if (normalises) stage_normalised(batch, row, begin * kGroup, n, means[row], factors[row], staged + t * kStride);
            else stage_groups(row_of(batch.x, row), begin * kGroup, batch.x.n_cols, n, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), staged + t * kStride);
        }
        __syncthreads();
        uint32_t row[R];
        // Beyond the last row the last one is read again, and not written.
#pragma unroll
        for (int r = 0; r < R; ++r)
            row[r] = static_cast<uint32_t>(min(first_row + r * n_teams, n_out - 1) * n_groups + begin);
        accumulate_rows<T, R>(call.weight.format, w, row, n, staged, kStride, lane % team, team, sum);
    }
    sum_teams(team, sum);
    if (lane % team != 0) return;
#pragma unroll
    for (int r = 0; r < R; ++r) {
        const int o = first_row + r * n_teams;
        if (o >= n_out) continue;
        const float bias = call.bias ? call.bias[o] : 0.0f;
#pragma unroll
        for (int t = 0; t < T; ++t)
            if (t < batch.x.n_rows) call.out[static_cast<ptrdiff_t>(t) * call.out_stride + o] = sum[r][t] + bias;
    }
}

template <int T, int R>
void launch_rows(cudaStream_t stream, Rows x, const NormShape& norm, std::span<const DeviceLinear> calls, int n_processors) {
    RowsBatch batch{};
    batch.x = x;
    batch.norm = norm;
    batch.team = team_for(calls[0].weight.n_groups);
    const int rows_a_warp = kWarp / batch.team * R;
    long n_warps = 0;
    for (const DeviceLinear& call : calls) n_warps += ceil_div(call.weight.n_out, rows_a_warp);
    // So many warps a block that every multiprocessor has two blocks where that is possible.
    int warps = kRowWarps;
    while (warps > 1 && n_warps / warps < 2L * n_processors) warps /= 2;
    int n_blocks = 0;
    for (const DeviceLinear& call : calls) {
        batch.calls[batch.n_calls++] = {call.weight, call.bias, call.out.data, call.out.stride, n_blocks};
        n_blocks += ceil_div(call.weight.n_out, rows_a_warp * warps);
    }
    const int staged = std::min(calls[0].weight.n_groups, kStagedGroups / T);
    // Tokens are kChunk groups apart, whatever is staged of them.
    const size_t shared = static_cast<size_t>((T - 1) * (kStagedGroups / T) + staged) * kStagedGroup * sizeof(float);
    launch(rows_kernel<T, R>, dim3(static_cast<unsigned>(n_blocks)), dim3(static_cast<unsigned>(warps * kWarp)), shared, stream, batch);
}

/// out[t][i] = Σ_o x[t][o] W[o][i] for four groups of columns a block: lane l takes group l % 4 of every 64th row from 8 warp + l / 4, with a sum for
/// each of its 32 columns.
__global__ void __launch_bounds__(kRowThreads) transposed_kernel(Rows x, DeviceMatrix weight, Rows out) {
    constexpr int kGroups = 4, kRowStep = kRowThreads / kGroups;
    // A row for each lane that shares a group with others: strides that put all of a warp's writes into different banks.
    constexpr int kParts = kRowThreads / kGroups, kGroupStride = kGroup + 1, kPartStride = kGroups * kGroupStride + 1;
    __shared__ float sums[kParts * kPartStride];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, t = static_cast<int>(blockIdx.y);
    const int first_group = static_cast<int>(blockIdx.x) * kGroups, g = first_group + lane % kGroups;
    const SlabView w = view_of(weight, 0);
    float sum[kGroup] = {};
    if (g < weight.n_groups)
        for_format(weight.format, [&]<Format F>() {
            for (int o = warp * (kWarp / kGroups) + lane / kGroups; o < weight.n_out; o += kRowStep) {
                const float factor = row_of(x, t)[o];
                dequantize_group<F>(w, static_cast<size_t>(o) * static_cast<size_t>(weight.n_groups) + static_cast<size_t>(g), [&](int j, const float4& v) {
                    sum[4 * j] = fmaf(factor, v.x, sum[4 * j]);
                    sum[4 * j + 1] = fmaf(factor, v.y, sum[4 * j + 1]);
                    sum[4 * j + 2] = fmaf(factor, v.z, sum[4 * j + 2]);
                    sum[4 * j + 3] = fmaf(factor, v.w, sum[4 * j + 3]);
                });
            }
        });
    float* mine = sums + (warp * (kWarp / kGroups) + lane / kGroups) * kPartStride + lane % kGroups * kGroupStride;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) mine[i] = sum[i];
    __syncthreads();
    const int column = static_cast<int>(threadIdx.x), i = first_group * kGroup + column;
    if (column >= kGroups * kGroup || i >= weight.n_in) return;
    float total = 0;
    for (int p = 0; p < kParts; ++p) total += sums[p * kPartStride + column / kGroup * kGroupStride + column % kGroup];
    row_of(out, t)[i] = total;
}

/// group 0: x as it is.
void few_rows(cudaStream_t stream, Rows x, const NormShape& norm, std::span<const DeviceLinear> calls, int n_processors) {
    for (size_t first = 0; first < calls.size(); first += kMostCalls) {
        const std::span<const DeviceLinear> some = calls.subspan(first, std::min<size_t>(kMostCalls, calls.size() - first));
        if (x.n_rows == 1) launch_rows<1, kRowsAtOnce>(stream, x, norm, some, n_processors);
        else if (x.n_rows <= 4) launch_rows<4, 2>(stream, x, norm, some, n_processors);
        else launch_rows<8, 2>(stream, x, norm, some, n_processors);
    }
}

/// Whether every block finding the norm for itself takes less than a launch: where blocks take turns on a multiprocessor, each turn would begin with it.
bool norm_pays(const NormShape& norm, std::span<const DeviceLinear> calls, int n_processors) {
    constexpr long kBlocksAtOnce = 2, kTurns = 2;
    const int rows_a_block = kWarp / team_for(ceil_div(norm.x.n_cols, kGroup)) * kRowsAtOnce * kRowWarps;
    long n_blocks = 0;
    for (const DeviceLinear& call : calls) n_blocks += ceil_div(call.weight.n_out, rows_a_block);
    return n_blocks <= kTurns * kBlocksAtOnce * n_processors;
}

void check_widths(Rows x, std::span<const DeviceLinear> calls) {
    for (const DeviceLinear& call : calls) GS_CHECK(call.weight.n_in == x.n_cols, "a matrix of another width than its input");
}

}  // namespace

size_t linear_workspace(Rows x, std::span<const DeviceLinear> calls, Precision precision) {
    if (x.n_rows <= kDecodeTokens) return 0;
    Products products;
    for (const DeviceLinear& call : calls) products.add(product_of(call.weight.format, precision));
    return GemmInput::n_bytes(x.n_rows, x.n_cols, products);
}

void linear(cudaStream_t stream, Rows x, std::span<const DeviceLinear> calls, Precision precision, int n_processors, std::byte* workspace) {
    if (x.n_rows <= 0 || calls.empty()) return;
    check_widths(x, calls);
    if (x.n_rows > kDecodeTokens) return gemm_linear(stream, x, calls, precision, workspace);
    few_rows(stream, x, {}, calls, n_processors);
}

void norm_linear(cudaStream_t stream, const NormShape& norm, std::span<const DeviceLinear> calls, int n_processors) {
    GS_CHECK(norm.x.n_rows <= kDecodeTokens && norm.group == norm.x.n_cols && norm.out.data != norm.x.data, "rows that cannot be normalised on the way");
    if (norm.x.n_rows <= 0 || calls.empty()) return;
    check_widths(norm.x, calls);
    if (norm_pays(norm, calls, n_processors)) return few_rows(stream, norm.x, norm, calls, n_processors);
    normalise(stream, norm);
    few_rows(stream, norm.out, {}, calls, n_processors);
}

void linear_transposed(cudaStream_t stream, Rows x, const DeviceMatrix& weight, Rows out) {
    if (x.n_rows <= 0) return;
    const auto blocks = static_cast<unsigned>(ceil_div(weight.n_groups, 4));
    // The grid's second dimension ends at 65535.
    for (int t = 0; t < x.n_rows; t += 65535) {
        const int n = std::min(65535, x.n_rows - t);
        launch(transposed_kernel, dim3(blocks, static_cast<unsigned>(n)), dim3(kRowThreads), 0, stream, x.from(t, n), weight, out.from(t, n));
    }
}

}  // namespace gs::cuda
