// Mixtures for a few tokens. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/dot.cuh"
#include "engine/ops/cuda/linear.cuh"
#include "engine/ops/cuda/moe_parts.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kRowsAtOnce = 4;
constexpr int kStagedGroups = 256;               // of the input: 36 KiB
constexpr int kChunkGroups = kWarp;              // of hidden values that a warp stages for itself: 4.5 KiB
constexpr int kChunk = kChunkGroups * kGroup;

/// A call as kernels see it. Slot k_stride of a token is its shared expert.
struct DecodeArgs {
    DeviceFfn experts, shared;
    Rows x, out, routed;
    const int32_t* ids;                          // null: token t has expert t, with weight 1
    const float* weights;
    const int32_t* n_used;
    const float* shared_scale;
    int k_stride, n_slots;                       // n_slots: with the shared expert
    bool weigh_input;
    float* hidden;                               // [T, n_slots, hidden_stride]
    int hidden_stride;
    int input_team, expert_team, shared_team, rows_per_block;
};

__device__ inline int slots_used(const DecodeArgs& a, int token) { return a.n_used ? a.n_used[token] : a.k_stride; }
__device__ inline int expert_of(const DecodeArgs& a, int token, int slot) { return a.ids ? a.ids[token * a.k_stride + slot] : token; }
__device__ inline float weight_of(const DecodeArgs& a, int token, int slot) { return a.weights ? a.weights[token * a.k_stride + slot] : 1.0f; }
__device__ inline const float* hidden_of(const DecodeArgs& a, int token, int slot) {
    return a.hidden + (static_cast<size_t>(token) * static_cast<size_t>(a.n_slots) + static_cast<size_t>(slot)) * static_cast<size_t>(a.hidden_stride);
}
__device__ inline float bias_at(const float* bias, int slab, int n, int i) {
    return bias ? bias[static_cast<size_t>(slab) * static_cast<size_t>(n) + static_cast<size_t>(i)] : 0.0f;
}

// ptxas 13.0 spills four bytes on sm_80 when told of two blocks a multiprocessor, and on Blackwell when not.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 800
#define GS_HIDDEN_BOUNDS __launch_bounds__(kRowThreads)
#else
#define GS_HIDDEN_BOUNDS __launch_bounds__(kRowThreads, 2)
#endif

/// hidden = act(gate x, up x): a block has some rows of one slot (y) of one token (z).
__global__ void GS_HIDDEN_BOUNDS hidden_kernel(const __grid_constant__ DecodeArgs a) {
    constexpr int R = kRowsAtOnce;
    float* staged = dynamic_shared<float>();
    const int slot = static_cast<int>(blockIdx.y), token = static_cast<int>(blockIdx.z), n_warps = static_cast<int>(blockDim.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, team = a.input_team, n_teams = kWarp / team;
    const bool is_shared = slot == a.k_stride;
    const DeviceFfn& net = is_shared ? a.shared : a.experts;
    if (!is_shared && slot >= slots_used(a, token)) return;
    const int width = net.gate.n_out, n_groups = net.gate.n_groups, block_row = static_cast<int>(blockIdx.x) * n_warps * n_teams * R;
    if (block_row >= width) return;
    const int slab = is_shared ? 0 : expert_of(a, token, slot), first_row = block_row + warp * n_teams * R + lane / team;
    float gate[R][1] = {}, up[R][1] = {};
    for (int begin = 0; begin < n_groups; begin += kStagedGroups) {
        const int n = min(kStagedGroups, n_groups - begin);
        if (begin > 0) __syncthreads();
        // The token's row is found anew: kept through the loop, its address would cost the registers that are missing for the sums.
        stage_groups(row_of(a.x, static_cast<int>(blockIdx.z)), begin * kGroup, a.x.n_cols, n, static_cast<int>(threadIdx.x),
                     static_cast<int>(blockDim.x), staged);
        __syncthreads();
        uint32_t row[R];
#pragma unroll
        for (int r = 0; r < R; ++r)
            row[r] = static_cast<uint32_t>(min(first_row + r * n_teams, width - 1) * n_groups + begin);
        // One after the other through the same code, which there is for every format.
#pragma unroll 1
        for (int which = 0; which < 2; ++which) {
            const DeviceMatrix& m = which == 0 ? net.gate : net.up;
            float sum[R][1];
#pragma unroll
            for (int r = 0; r < R; ++r) sum[r][0] = which == 0 ? gate[r][0] : up[r][0];
            accumulate_rows<1, R>(m.format, view_of(m, slab), row, n, staged, 0, lane % team, team, sum);
#pragma unroll
            for (int r = 0; r < R; ++r) (which == 0 ? gate[r][0] : up[r][0]) = sum[r][0];
        }
    }
    sum_teams(team, gate);
    sum_teams(team, up);
    if (lane % team != 0) return;
    const float factor = a.weigh_input && !is_shared ? weight_of(a, token, slot) : 1.0f;   // scaling the products is scaling the input
    float* hidden = const_cast<float*>(hidden_of(a, token, slot));
#pragma unroll
    for (int r = 0; r < R; ++r) {
        const int o = first_row + r * n_teams;
        if (o >= width) continue;
        hidden[o] = activated(net.activation, gate[r][0] * factor + bias_at(net.gate_bias, slab, width, o), up[r][0] * factor + bias_at(net.up_bias, slab, width, o));
    }
}

__device__ inline int chunks_of(const DeviceFfn& net) { return (net.down.n_groups + kChunkGroups - 1) / kChunkGroups; }

/// out = Σ weight down(hidden): a block has rows_per_block rows of one token (y). Each warp takes some chunks of hidden values of some slots, keeps
/// them in its part of shared memory, and meets all rows of the block with them; then a thread a row adds what the warps found, in slot order.
__global__ void __launch_bounds__(kRowThreads, 2) down_kernel(const __grid_constant__ DecodeArgs a) {
    constexpr int R = kRowsAtOnce;
    float* shared = dynamic_shared<float>();
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, token = static_cast<int>(blockIdx.y);
    float *staged = shared + warp * kChunkGroups * kStagedGroup, *parts = shared + kRowWarps * kChunkGroups * kStagedGroup;
    const bool has_shared = a.n_slots > a.k_stride;
    const int n_used = a.k_stride > 0 ? slots_used(a, token) : 0, n_out = a.out.n_cols, rows = a.rows_per_block, first = static_cast<int>(blockIdx.x) * rows;
    const int expert_chunks = a.k_stride > 0 ? chunks_of(a.experts) : 0, shared_chunks = has_shared ? chunks_of(a.shared) : 0;
    const int routed_items = n_used * expert_chunks, n_items = routed_items + shared_chunks;
    for (int item = warp; item < n_items; item += kRowWarps) {
        const bool is_shared = item >= routed_items;
        const int n_groups = is_shared ? a.shared.down.n_groups : a.experts.down.n_groups;
        const Format format = is_shared ? a.shared.down.format : a.experts.down.format;
        const int slot = is_shared ? a.k_stride : item / expert_chunks, chunk = is_shared ? item - routed_items : item % expert_chunks;
        const int team = is_shared ? a.shared_team : a.expert_team, n_teams = kWarp / team, n = min(kChunkGroups, n_groups - chunk * kChunkGroups);
        const SlabView w = is_shared ? view_of(a.shared.down, 0) : view_of(a.experts.down, expert_of(a, token, slot));
        stage_groups(hidden_of(a, token, slot), chunk * kChunk, is_shared ? a.shared.down.n_in : a.experts.down.n_in, n, lane, kWarp, staged);
        __syncwarp();
        for (int step = 0; step < rows; step += n_teams * R) {
            uint32_t row[R];
            float sum[R][1] = {};
#pragma unroll
            for (int r = 0; r < R; ++r)
                row[r] = static_cast<uint32_t>(min(first + step + lane / team + r * n_teams, n_out - 1) * n_groups + chunk * kChunkGroups);
            accumulate_rows<1, R>(format, w, row, n, staged, 0, lane % team, team, sum);
            sum_teams(team, sum);
            if (lane % team == 0)
#pragma unroll
                for (int r = 0; r < R; ++r) parts[item * rows + step + lane / team + r * n_teams] = sum[r][0];
        }
        __syncwarp();   // the next item takes this one's place
    }
    __syncthreads();
    const int r = static_cast<int>(threadIdx.x), o = first + r;
    if (r >= rows || o >= n_out) return;
    float total = 0;
    for (int slot = 0; slot < n_used; ++slot) {
        float y = 0;
        for (int c = 0; c < expert_chunks; ++c) y += parts[(slot * expert_chunks + c) * rows + r];
        y += bias_at(a.experts.down_bias, expert_of(a, token, slot), n_out, o);
        total += a.weigh_input ? y : weight_of(a, token, slot) * y;
    }
    if (a.routed.data) row_of(a.routed, token)[o] = total;
    if (has_shared) {
        float y = 0;
        for (int c = 0; c < shared_chunks; ++c) y += parts[(routed_items + c) * rows + r];
        y += bias_at(a.shared.down_bias, 0, n_out, o);
        total += a.shared_scale ? a.shared_scale[token] * y : y;
    }
    row_of(a.out, token)[o] = total;
}

int hidden_stride_of(const DeviceMoe& call) {
    const int width = std::max(call.experts ? call.experts->width() : 0, call.shared ? call.shared->width() : 0);
    return ceil_div(width, kGroup) * kGroup;
}

int slots_of(const DeviceMoe& call) { return (call.experts ? call.k_stride : 0) + (call.shared ? 1 : 0); }
int items_of(const DeviceFfn& net) { return ceil_div(net.down.n_groups, kChunkGroups); }

DecodeArgs args_of(const DeviceMoe& call, std::byte* workspace) {
    DecodeArgs a{};
    if (call.experts) a.experts = *call.experts;
    if (call.shared) a.shared = *call.shared;
    a.x = call.x, a.out = call.out, a.routed = call.routed;
    a.ids = call.ids, a.weights = call.weights, a.n_used = call.n_used, a.shared_scale = call.shared_scale;
    a.k_stride = call.experts ? call.k_stride : 0;
    a.n_slots = slots_of(call);
    a.weigh_input = call.weigh_input;
    a.hidden = reinterpret_cast<float*>(workspace);
    a.hidden_stride = hidden_stride_of(call);
    a.input_team = team_for(ceil_div(call.x.n_cols, kGroup));
    const auto team_of = [](const DeviceFfn* net) { return net && net->down.n_groups < kChunkGroups ? team_for(net->down.n_groups) : kWarp; };
    a.expert_team = team_of(call.experts), a.shared_team = team_of(call.shared);
    // Hidden values are read once a block: more rows read them less often, fewer keep every multiprocessor busy. At least what a warp takes at once.
    const int at_once = kWarp / std::min(a.expert_team, a.shared_team) * kRowsAtOnce;
    a.rows_per_block = std::max(ceil_div(call.out.n_cols, 16) >= 2 * n_processors() ? 16 : 8, at_once);
    return a;
}

/// Of the block that adds up: hidden values of every warp, and what each item gives each row.
size_t down_shared_bytes(const DeviceMoe& call, int rows_per_block) {
    const int n_items = (call.experts ? call.k_stride * items_of(*call.experts) : 0) + (call.shared ? items_of(*call.shared) : 0);
    return sizeof(float) * (static_cast<size_t>(kRowWarps * kChunkGroups * kStagedGroup) + static_cast<size_t>(n_items) * static_cast<size_t>(rows_per_block));
}

}  // namespace

bool moe_decode_fits(const DeviceMoe& call) {
    constexpr size_t kMostShared = 99 << 10;   // of a block, on the smallest of the architectures that we build for (8.6, 8.9)
    return down_shared_bytes(call, args_of(call, nullptr).rows_per_block) <= kMostShared;
}

size_t moe_decode_workspace(const DeviceMoe& call) {
    return static_cast<size_t>(call.x.n_rows) * static_cast<size_t>(slots_of(call)) * static_cast<size_t>(hidden_stride_of(call)) * sizeof(float);
}

void moe_decode(cudaStream_t stream, const DeviceMoe& call, std::byte* workspace) {
    const DecodeArgs a = args_of(call, workspace);
    const auto n_tokens = static_cast<unsigned>(call.x.n_rows);
    if (n_tokens == 0) return;
    if (a.n_slots > 0) {
        const int width = std::max(call.experts ? call.experts->width() : 0, call.shared ? call.shared->width() : 0);
        const int rows_a_warp = kWarp / a.input_team * kRowsAtOnce, warps = warps_for(static_cast<long>(ceil_div(width, rows_a_warp)) * a.n_slots);
        const size_t staged = static_cast<size_t>(std::min(ceil_div(call.x.n_cols, kGroup), kStagedGroups)) * kStagedGroup * sizeof(float);
        launch(hidden_kernel, dim3(static_cast<unsigned>(ceil_div(width, rows_a_warp * warps)), static_cast<unsigned>(a.n_slots), n_tokens),
               dim3(static_cast<unsigned>(warps * kWarp)), staged, stream, a);
    }
    const size_t shared = down_shared_bytes(call, a.rows_per_block);
    // Where that fails the device is lost, and the launch says so.
    if (shared > 48 * 1024) (void)cudaFuncSetAttribute(down_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    launch(down_kernel, dim3(static_cast<unsigned>(ceil_div(call.out.n_cols, a.rows_per_block)), n_tokens), dim3(kRowThreads), shared, stream, a);
}

size_t all_experts_workspace(const DeviceFfn& experts) {
    DeviceMoe call;
    call.x.n_rows = experts.n_slabs();
    call.experts = &experts;
    call.k_stride = 1;
    return moe_decode_workspace(call);
}

/// As many tokens as there are experts, all with the same input, token e with expert e alone.
void all_experts(cudaStream_t stream, const DeviceFfn& experts, Rows x, Rows out, std::byte* workspace) {
    DeviceMoe call;
    call.x = {x.data, experts.n_slabs(), x.n_cols, 0};
    call.experts = &experts;
    call.k_stride = 1;
    call.out = out;
    moe_decode(stream, call, workspace);
}

}  // namespace gs::cuda
