// Mixtures for many tokens. Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/moe_parts.cuh"
#include "engine/ops/cuda/quantize.cuh"
#include "engine/ops/cuda/rows.cuh"

namespace gs::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

/// The pairs of token and slot by expert, in order of token and slot within each.
struct Pairs {
    int32_t* begin = nullptr;      ///< [n_experts + 1]
    int32_t* token = nullptr;      ///< [n_pairs]
    float* weight = nullptr;       ///< [n_pairs]
    int32_t* of_slot = nullptr;    ///< [T, k_stride]
};

__device__ inline int expert_at(const DeviceMoe& call, int slot) {
    return slot % call.k_stride < call.n_used[slot / call.k_stride] ? call.ids[slot] : INT32_MAX;
}

/// A block an expert: its pairs begin behind those of all lower experts, and each goes behind its expert's pairs of earlier slots. All blocks read all ids;
/// there are few enough of them that this costs less than another launch.
__global__ void __launch_bounds__(kThreads) group_kernel(const __grid_constant__ DeviceMoe call, Pairs pairs, int n_experts) {
    __shared__ int counts[kWarps];
    const int expert = static_cast<int>(blockIdx.x), n_slots = call.x.n_rows * call.k_stride, thread = static_cast<int>(threadIdx.x);
    const int lane = thread % kWarp, warp = thread / kWarp;
    int lower = 0;
    for (int slot = thread; slot < n_slots; slot += kThreads) lower += expert_at(call, slot) < expert;
    lower = warp_sum(lower);
    if (lane == 0) counts[warp] = lower;
    __syncthreads();
    int next = 0;
    for (int i = 0; i < kWarps; ++i) next += counts[i];
    if (thread == 0) pairs.begin[expert] = next;
    for (int base = 0; base < n_slots; base += kThreads) {
        const int slot = base + thread;
        const bool mine = slot < n_slots && expert_at(call, slot) == expert;
        const unsigned votes = __ballot_sync(kAllLanes, mine);
        __syncthreads();           // everybody has read the counts of before
        if (lane == 0) counts[warp] = __popc(votes);
        __syncthreads();
        int pair = next + __popc(votes & ((1u << lane) - 1));
        for (int i = 0; i < kWarps; ++i) {
            if (i < warp) pair += counts[i];
            next += counts[i];
        }
        if (!mine) continue;
        pairs.token[pair] = slot / call.k_stride;
        pairs.weight[pair] = call.weights[slot];
        pairs.of_slot[slot] = pair;
    }
    if (thread == 0 && expert == n_experts - 1) pairs.begin[n_experts] = next;
}

/// hidden = act(gate, up), as f32 in place of gate, or rounded. n_rows on the device, or null: all.
template <bool kRound>
__global__ void __launch_bounds__(kRoundThreads) activate_kernel(Activation activation, Rows gate, Rows up, const int32_t* n_rows, Int8Input input) {
    const int row = static_cast<int>(blockIdx.x), group = rounded_group(), first = group * kGroup + 4 * rounded_part();
    if (n_rows && row >= *n_rows) return;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = first + i < gate.n_cols ? activated(activation, row_of(gate, row)[first + i], row_of(up, row)[first + i]) : 0.0f;
    if constexpr (kRound) {
        round_group(v, row, group, input);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (first + i < gate.n_cols) row_of(gate, row)[first + i] = v[i];
    }
}

/// out = Σ weight · pair in slot order + scale · shared.
__global__ void __launch_bounds__(kThreads) combine_kernel(const __grid_constant__ DeviceMoe call, const int32_t* pair_of_slot, Rows pairs, Rows shared,
                                                           bool weigh_output) {
    const int token = static_cast<int>(blockIdx.x), o = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
    if (o >= call.out.n_cols) return;
    const int n_used = pairs.data ? call.n_used[token] : 0;
    float total = 0;
    for (int slot = token * call.k_stride; slot < token * call.k_stride + n_used; ++slot) {
        const float y = row_of(pairs, pair_of_slot[slot])[o];
        total += weigh_output ? call.weights[slot] * y : y;
    }
    if (call.routed.data) row_of(call.routed, token)[o] = total;
    if (shared.data) total += call.shared_scale ? call.shared_scale[token] * row_of(shared, token)[o] : row_of(shared, token)[o];
    row_of(call.out, token)[o] = total;
}

/// Parts of the workspace one behind the other.
class Layout {
public:
    explicit Layout(std::byte* begin) : m_begin(begin) {}
    template <class T>
    T* take(size_t n) {
        T* at = reinterpret_cast<T*>(m_begin + m_size);
        m_size += (n * sizeof(T) + 15) / 16 * 16;
        return at;
    }
    Rows rows(int n_rows, int n_cols) { return {take<float>(static_cast<size_t>(n_rows) * static_cast<size_t>(n_cols)), n_rows, n_cols, n_cols}; }
    GemmInput input(Rows x, const Products& products) { return GemmInput(take<std::byte>(GemmInput::n_bytes(x.n_rows, x.n_cols, products)), x, products); }
    size_t size() const { return m_size; }

private:
    std::byte* m_begin;
    size_t m_size = 0;
};

/// One network on all of its rows: gate, up and hidden values, and what down makes of them.
struct Branch {
    Rows gate, up, out;
    GemmInput hidden;              // gate's place, and its other forms

    Branch() = default;
    Branch(Layout& layout, const DeviceFfn& net, int n_rows, Precision precision)
        : gate(layout.rows(n_rows, net.width())), up(layout.rows(n_rows, net.width())), out(layout.rows(n_rows, net.down.n_out)),
          hidden(layout.input(gate, Products({&net.down}, precision))) {}
};

struct Workspace {
    GemmInput input;
    Pairs pairs;
    Branch experts, shared;
    size_t size = 0;

    Workspace(std::byte* begin, const DeviceMoe& call, Precision precision) {
        Layout layout(begin);
        Products products;
        for (const DeviceFfn* net : {call.experts, call.shared})
            if (net) products.add(Products({&net->gate, &net->up}, precision));
        input = layout.input(call.x, products);
        if (call.experts) {
            const int n_pairs = call.x.n_rows * call.k_stride;
            pairs.begin = layout.take<int32_t>(static_cast<size_t>(call.experts->n_slabs()) + 1);
            pairs.token = layout.take<int32_t>(static_cast<size_t>(n_pairs));
            pairs.weight = layout.take<float>(static_cast<size_t>(n_pairs));
            pairs.of_slot = layout.take<int32_t>(static_cast<size_t>(n_pairs));
            experts = Branch(layout, *call.experts, n_pairs, precision);
        }
        if (call.shared) shared = Branch(layout, *call.shared, call.x.n_rows, precision);
        size = layout.size();
    }
};

/// hidden = act(gate, up) in the form that down reads. For the integer product it is rounded where it is computed; other forms are made of f32.
void activate(cudaStream_t stream, const DeviceFfn& net, const Branch& branch, const int32_t* n_rows) {
    if (branch.gate.n_rows <= 0) return;
    const dim3 grid(static_cast<unsigned>(branch.gate.n_rows), round_blocks(net.width()));
    const bool rounds = branch.hidden.int8.n_groups > 0;
    launch(rounds ? activate_kernel<true> : activate_kernel<false>, grid, dim3(kRoundThreads), 0, stream, net.activation, branch.gate, branch.up, n_rows,
           branch.hidden.int8);
    if (!rounds) prepare_input(stream, branch.hidden, n_rows);
}

void run_branch(cudaStream_t stream, const DeviceFfn& net, const Branch& branch, const GemmInput& input, const RowGroups& groups, const float* factor,
                Precision precision) {
    RowGroups weighed = groups;
    weighed.factor = factor;
    gemm(stream, input, weighed, {net.gate, net.gate_bias, branch.gate}, precision);
    gemm(stream, input, weighed, {net.up, net.up_bias, branch.up}, precision);
    activate(stream, net, branch, groups.begin ? groups.begin + groups.n_slabs : nullptr);
    RowGroups own = groups;   // hidden rows are in the order of the products already
    own.source = nullptr;
    gemm(stream, branch.hidden, own, {net.down, net.down_bias, branch.out}, precision);
}

}  // namespace

size_t moe_prefill_workspace(const DeviceMoe& call, Precision precision) {
    // The size does not depend on where it begins; arithmetic on null would be undefined.
    alignas(16) std::byte anywhere[16];
    return Workspace(anywhere, call, precision).size;
}

void moe_prefill(cudaStream_t stream, const DeviceMoe& call, Precision precision, std::byte* workspace) {
    const Workspace w(workspace, call, precision);
    prepare_input(stream, w.input);
    if (call.experts) {
        const int n_experts = call.experts->n_slabs();
        launch(group_kernel, dim3(static_cast<unsigned>(n_experts)), dim3(kThreads), 0, stream, call, w.pairs, n_experts);
        run_branch(stream, *call.experts, w.experts, w.input, {w.pairs.begin, w.pairs.token, nullptr, n_experts},
                   call.weigh_input ? w.pairs.weight : nullptr, precision);
    }
    if (call.shared) run_branch(stream, *call.shared, w.shared, w.input, {}, nullptr, precision);
    const dim3 grid(static_cast<unsigned>(call.out.n_rows), static_cast<unsigned>(ceil_div(call.out.n_cols, kThreads)));
    launch(combine_kernel, grid, dim3(kThreads), 0, stream, call, w.pairs.of_slot, w.experts.out, w.shared.out, !call.weigh_input);
}

}  // namespace gs::cuda
