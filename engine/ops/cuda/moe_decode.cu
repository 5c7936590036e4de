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
constexpr int kParts = 2048;                     // sums of items and rows that a block holds: 8 KiB

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
    int input_team, expert_team, shared_team, rows_per_block;   // the last a power of two up to 128
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

/// hidden = act(gate x, up x) of one token (y). The work is cut into tiles, some rows of one slot for a warp. How many there are is known on the device
/// only: there are as many blocks as run at once, and they take tiles in turn, neighbouring ones in different blocks, so that few tiles spread over all
/// multiprocessors.
__global__ void __launch_bounds__(kRowThreads, 2) hidden_kernel(const __grid_constant__ DecodeArgs a) {
    constexpr int R = kRowsAtOnce;
    float* staged = dynamic_shared<float>();
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, team = a.input_team, n_teams = kWarp / team;
    const int expert_tiles = a.k_stride > 0 ? ceil_div(a.experts.gate.n_out, n_teams * R) : 0;
    const int shared_tiles = a.n_slots > a.k_stride ? ceil_div(a.shared.gate.n_out, n_teams * R) : 0;
    const int routed_tiles = a.k_stride > 0 ? slots_used(a, static_cast<int>(blockIdx.y)) * expert_tiles : 0, n_tiles = routed_tiles + shared_tiles;
    const int n_blocks = static_cast<int>(gridDim.x), n_groups = ceil_div(a.x.n_cols, kGroup);
    for (int round = static_cast<int>(blockIdx.x); round < n_tiles; round += n_blocks * kRowWarps) {
        const int tile = round + warp * n_blocks, token = static_cast<int>(blockIdx.y);
        const bool mine = tile < n_tiles, is_shared = tile >= routed_tiles;
        const int slot = is_shared ? a.k_stride : tile / expert_tiles;
        const DeviceFfn& net = is_shared ? a.shared : a.experts;
        const int width = net.gate.n_out, slab = is_shared || !mine ? 0 : expert_of(a, token, slot);
        const int first_row = (is_shared ? tile - routed_tiles : tile % expert_tiles) * n_teams * R + lane / team;
        float gate[R][1] = {}, up[R][1] = {};
        for (int begin = 0; begin < n_groups; begin += kStagedGroups) {
            const int n = min(kStagedGroups, n_groups - begin);
            // The input stays for all rounds where there is room for the whole of it.
            if (n_groups > kStagedGroups || round == static_cast<int>(blockIdx.x)) {
                __syncthreads();
                stage_groups(row_of(a.x, static_cast<int>(blockIdx.y)), begin * kGroup, a.x.n_cols, n, static_cast<int>(threadIdx.x), kRowThreads, staged);
                __syncthreads();
            }
            if (!mine) continue;
            uint32_t row[R];
#pragma unroll
            for (int r = 0; r < R; ++r) row[r] = static_cast<uint32_t>(min(first_row + r * n_teams, width - 1) * n_groups + begin);
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
        if (!mine) continue;
        sum_teams(team, gate);
        sum_teams(team, up);
        if (lane % team != 0) continue;
        const float factor = a.weigh_input && !is_shared ? weight_of(a, token, slot) : 1.0f;   // scaling the products is scaling the input
        float* hidden = const_cast<float*>(hidden_of(a, token, slot));
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int o = first_row + r * n_teams;
            if (o >= width) continue;
            hidden[o] = activated(net.activation, gate[r][0] * factor + bias_at(net.gate_bias, slab, width, o),
                                  up[r][0] * factor + bias_at(net.up_bias, slab, width, o));
        }
    }
}

__device__ inline int chunks_of(const DeviceFfn& net) { return (net.down.n_groups + kChunkGroups - 1) / kChunkGroups; }

/// out = Σ weight down(hidden): a block has rows_per_block rows of one token (y). An item is a chunk of hidden values of one slot. Each warp takes some
/// items, keeps their values in its part of shared memory, and meets all rows of the block with them; then a thread a row adds what the warps found, in
/// the order of slots. So many items at a time that shared memory does not depend on how many experts may be chosen.
__global__ void __launch_bounds__(kRowThreads, 2) down_kernel(const __grid_constant__ DecodeArgs a) {
    constexpr int R = kRowsAtOnce;
    float* shared = dynamic_shared<float>();
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp, token = static_cast<int>(blockIdx.y);
    float *staged = shared + warp * kChunkGroups * kStagedGroup, *parts = shared + kRowWarps * kChunkGroups * kStagedGroup;
    const bool has_shared = a.n_slots > a.k_stride;
    const int n_used = a.k_stride > 0 ? slots_used(a, token) : 0, n_out = a.out.n_cols, rows = a.rows_per_block, first = static_cast<int>(blockIdx.x) * rows;
    const int expert_chunks = a.k_stride > 0 ? chunks_of(a.experts) : 0, shared_chunks = has_shared ? chunks_of(a.shared) : 0;
    const int routed_items = n_used * expert_chunks, n_items = routed_items + shared_chunks;
    const int own = static_cast<int>(threadIdx.x), o = first + own;      // the row that this thread adds up, if there is one
    float routed = 0, alone = 0, y = 0;                                  // of the slots so far, of the shared expert, of the slot begun
    const int at_once = kParts / rows;
    for (int begin = 0; begin < n_items; begin += at_once) {
        const int end = min(n_items, begin + at_once);
        if (begin > 0) __syncthreads();   // what the last ones gave has been added
        for (int item = begin + warp; item < end; item += kRowWarps) {
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
                    for (int r = 0; r < R; ++r) parts[(item - begin) * rows + step + lane / team + r * n_teams] = sum[r][0];
            }
            __syncwarp();   // the next item takes this one's place
        }
        __syncthreads();
        if (own >= rows || o >= n_out) continue;
        for (int item = begin; item < end; ++item) {
            y += parts[(item - begin) * rows + own];
            if (item >= routed_items) {
                if (item == n_items - 1) alone = y + bias_at(a.shared.down_bias, 0, n_out, o);
            } else if ((item + 1) % expert_chunks == 0) {
                const int slot = item / expert_chunks;
                y += bias_at(a.experts.down_bias, expert_of(a, token, slot), n_out, o);
                routed += a.weigh_input ? y : weight_of(a, token, slot) * y;
                y = 0;
            }
        }
    }
    if (own >= rows || o >= n_out) return;
    if (a.routed.data) row_of(a.routed, token)[o] = routed;
    row_of(a.out, token)[o] = !has_shared ? routed : routed + (a.shared_scale ? a.shared_scale[token] * alone : alone);
}

int hidden_stride_of(const DeviceMoe& call) {
    const int width = std::max(call.experts ? call.experts->width() : 0, call.shared ? call.shared->width() : 0);
    return ceil_div(width, kGroup) * kGroup;
}

int slots_of(const DeviceMoe& call) { return (call.experts ? call.k_stride : 0) + (call.shared ? 1 : 0); }

DecodeArgs args_of(const DeviceMoe& call, int n_processors, std::byte* workspace) {
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
    a.rows_per_block = std::max(ceil_div(call.out.n_cols, 16) >= 2 * n_processors ? 16 : 8, at_once);
    return a;
}

}  // namespace

size_t moe_decode_workspace(const DeviceMoe& call) {
    return static_cast<size_t>(call.x.n_rows) * static_cast<size_t>(slots_of(call)) * static_cast<size_t>(hidden_stride_of(call)) * sizeof(float);
}

void moe_decode(cudaStream_t stream, const DeviceMoe& call, int n_processors, std::byte* workspace) {
    const DecodeArgs a = args_of(call, n_processors, workspace);
    const auto n_tokens = static_cast<unsigned>(call.x.n_rows);
    if (n_tokens == 0) return;
    if (a.n_slots > 0) {
        const auto tiles_of = [&](const DeviceFfn* net) { return net ? ceil_div(net->width(), kWarp / a.input_team * kRowsAtOnce) : 0; };
        const long most_tiles = static_cast<long>(a.k_stride) * tiles_of(call.experts) + tiles_of(call.shared);
        const size_t staged = static_cast<size_t>(std::min(ceil_div(call.x.n_cols, kGroup), kStagedGroups)) * kStagedGroup * sizeof(float);
        const long at_once = static_cast<long>(n_processors) * blocks_a_processor(hidden_kernel, kRowThreads, staged);
        const long n_blocks = std::min(most_tiles, std::max(1L, at_once / call.x.n_rows));
        launch(hidden_kernel, dim3(static_cast<unsigned>(n_blocks), n_tokens), dim3(kRowThreads), staged, stream, a);
    }
    const size_t shared = sizeof(float) * static_cast<size_t>(kRowWarps * kChunkGroups * kStagedGroup + kParts);
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
void all_experts(cudaStream_t stream, const DeviceFfn& experts, Rows x, Rows out, int n_processors, std::byte* workspace) {
    DeviceMoe call;
    call.x = {x.data, experts.n_slabs(), x.n_cols, 0};
    call.experts = &experts;
    call.k_stride = 1;
    call.out = out;
    moe_decode(stream, call, n_processors, workspace);
}

}  // namespace gs::cuda
