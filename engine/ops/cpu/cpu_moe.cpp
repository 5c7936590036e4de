// Gated feed-forward networks of the CPU back end: dense, shared and routed.
#include <algorithm>

#include "engine/core/check.h"
#include "engine/ops/cpu/cpu_ops.h"

namespace gs::cpu {
namespace {

size_t round_up_16(int n) { return static_cast<size_t>((n + 15) / 16 * 16); }
size_t ffn_bytes(const FfnWeights& f) { return f.gate.slab_bytes() + f.up.slab_bytes() + f.down.slab_bytes(); }

}  // namespace

/// hidden = silu(gate x) * (up x) of every branch, then prepared for down. One region for all.
void CpuOps::run_hidden(const float* x) {
    const Rows row{const_cast<float*>(x), 1, m_branches[0].gate.n_in, 0};
    const bool fast = std::any_of(m_branches.begin(), m_branches.end(), [&](const Branch& b) { return is_fast(b.gate) || is_fast(b.up); });
    take_inputs(row, fast, m_input_scratch, m_inputs);
    size_t n_floats = 0, n_bytes = 0, all_bytes = 0;
    for (Branch& b : m_branches) {
        b.hidden = n_floats;
        n_floats += round_up_16(b.gate.n_out);
        n_bytes += is_fast(b.down) ? m_kernels.fast.input_bytes(b.down.n_in) : 0;
        all_bytes += b.gate.slab_bytes() + b.up.slab_bytes();
    }
    float* hidden = m_hidden_scratch.floats(n_floats);
    m_ranges.clear();
    for (size_t i = 0; i < m_branches.size(); ++i) {
        const Branch& b = m_branches[i];
        const int step = rows_per_chunk(b.gate.row_bytes + b.up.row_bytes, all_bytes);
        for (int o = 0; o < b.gate.n_out; o += step) m_ranges.push_back({static_cast<int>(i), o, std::min(o + step, b.gate.n_out)});
    }
    m_pool.run(static_cast<int>(m_ranges.size()), [&](int i, int thread) {
        const RowRange& r = m_ranges[static_cast<size_t>(i)];
        const Branch& b = m_branches[static_cast<size_t>(r.which)];
        const int n = r.end - r.begin;
        float* up = m_threads[static_cast<size_t>(thread)].gates.floats(static_cast<size_t>(n));
        float* out = hidden + b.hidden + r.begin;
        product(b.gate).gemv(b.gate, r.begin, r.end, inputs_for(b.gate, m_inputs)[0], out);
        product(b.up).gemv(b.up, r.begin, r.end, inputs_for(b.up, m_inputs)[0], up);
        m_kernels.silu_mul(out, up, n, out);
    });
    std::byte* inputs = m_down_scratch.reserve(n_bytes);
    for (Branch& b : m_branches) {
        b.input = reinterpret_cast<const std::byte*>(hidden + b.hidden);
        if (!is_fast(b.down)) continue;
        m_kernels.fast.prepare(hidden + b.hidden, b.down.n_in, inputs);
        b.input = inputs;
        inputs += m_kernels.fast.input_bytes(b.down.n_in);
    }
}

void CpuOps::list_branches(const MoeCall& call, int token) {
    m_branches.clear();
    const size_t first = static_cast<size_t>(token) * static_cast<size_t>(call.k_stride);
    const int n_used = call.experts ? call.n_used[static_cast<size_t>(token)] : 0;
    for (size_t j = first; j < first + static_cast<size_t>(n_used); ++j) {
        const int e = call.ids[j];
        m_branches.push_back({call.experts->gate.slab(e), call.experts->up.slab(e), call.experts->down.slab(e), call.weights[j]});
    }
    if (!call.shared) return;
    const float scale = call.shared_scale.empty() ? 1.0f : call.shared_scale[static_cast<size_t>(token)];
    m_branches.push_back({call.shared->gate, call.shared->up, call.shared->down, scale});
}

/// One token: two regions, each over all of its branches.
void CpuOps::moe_token(const MoeCall& call, int token) {
    list_branches(call, token);
    float* out = call.out.row(token);
    float* routed = call.routed.data ? call.routed.row(token) : nullptr;
    const int n_out = call.out.n_cols;
    if (m_branches.empty()) {
        std::fill_n(out, n_out, 0.0f);
        if (routed) std::fill_n(routed, n_out, 0.0f);
        return;
    }
    run_hidden(call.x.row(token));
    size_t row_bytes = 0;
    for (const Branch& b : m_branches) row_bytes += b.down.row_bytes;
    const int step = rows_per_chunk(row_bytes, row_bytes * static_cast<size_t>(n_out));
    const size_t n_routed = m_branches.size() - (call.shared ? 1 : 0);
    m_pool.run((n_out + step - 1) / step, [&](int i, int thread) {
        const int begin = i * step, n = std::min(step, n_out - begin);
        float* part = m_threads[static_cast<size_t>(thread)].gates.floats(static_cast<size_t>(n));
        std::fill_n(out + begin, n, 0.0f);
        for (size_t j = 0; j < m_branches.size(); ++j) {
            if (j == n_routed && routed) std::copy_n(out + begin, n, routed + begin);
            const Branch& b = m_branches[j];
            product(b.down).gemv(b.down, begin, begin + n, b.input, part);
            m_kernels.add_scaled(out + begin, part, n, b.scale);
        }
        if (n_routed == m_branches.size() && routed) std::copy_n(out + begin, n, routed + begin);
    });
}

/// Rows begin..end-1 of hidden [n_tokens][width] for tokens (null: all in order), from the inputs of the whole batch.
void CpuOps::gated_panels(const FfnWeights& f, int slab, const Inputs& inputs, const int32_t* tokens, int n_tokens, int begin, int end,
                          float* hidden, int thread) {
    const Weight gate = f.gate.slab(slab), up = f.up.slab(slab);
    ThreadScratch& scratch = m_threads[static_cast<size_t>(thread)];
    const auto count = static_cast<size_t>(n_tokens);
    float* gates = scratch.gates.floats(2 * count * kTaskRows);
    std::vector<const std::byte*> chosen(count);
    const auto multiply = [&](const Weight& w, int o, int n, float* out) {
        const std::byte* const* all = inputs_for(w, inputs);
        for (size_t t = 0; t < count; ++t) chosen[t] = all[tokens ? static_cast<size_t>(tokens[t]) : t];
        panel_product(w, chosen.data(), n_tokens, o, o + n, out, kTaskRows, thread);
    };
    for (int o = begin; o < end; o += kTaskRows) {
        const int n = std::min(kTaskRows, end - o);
        multiply(gate, o, n, gates);
        multiply(up, o, n, gates + count * kTaskRows);
        for (size_t t = 0; t < count; ++t)
            m_kernels.silu_mul(gates + t * kTaskRows, gates + (count + t) * kTaskRows, n, hidden + t * static_cast<size_t>(gate.n_out) + o);
    }
}

/// One expert on its tokens: out [n_tokens][D].
void CpuOps::expert_tokens(const FfnWeights& experts, int expert, const int32_t* tokens, int n_tokens, float* out, int thread) {
    ThreadScratch& scratch = m_threads[static_cast<size_t>(thread)];
    const Weight down = experts.down.slab(expert);
    const auto count = static_cast<size_t>(n_tokens), width = static_cast<size_t>(experts.gate.n_out);
    float* hidden = scratch.hidden.floats(count * width);
    gated_panels(experts, expert, m_inputs, tokens, n_tokens, 0, experts.gate.n_out, hidden, thread);
    std::vector<const std::byte*> inputs(count);
    const bool fast = is_fast(down);
    const size_t n_bytes = fast ? m_kernels.fast.input_bytes(down.n_in) : 0;
    std::byte* memory = scratch.inputs.reserve(n_bytes * count);
    for (size_t t = 0; t < count; ++t) {
        if (fast) m_kernels.fast.prepare(hidden + t * width, down.n_in, memory + n_bytes * t);
        inputs[t] = fast ? memory + n_bytes * t : reinterpret_cast<const std::byte*>(hidden + t * width);
    }
    panel_product(down, inputs.data(), n_tokens, 0, down.n_out, out, down.n_out, thread);
}

/// A dense or shared network on all tokens whose inputs are in m_inputs.
void CpuOps::ffn_panels(const FfnWeights& weights, Rows out) {
    const int width = weights.gate.n_out, n_tokens = out.n_rows;
    float* hidden = m_hidden_scratch.floats(static_cast<size_t>(width) * static_cast<size_t>(n_tokens));
    m_pool.run((width + kTaskRows - 1) / kTaskRows, [&](int i, int thread) {
        gated_panels(weights, 0, m_inputs, nullptr, n_tokens, i * kTaskRows, std::min((i + 1) * kTaskRows, width), hidden, thread);
    });
    take_inputs({hidden, n_tokens, width, width}, is_fast(weights.down), m_down_scratch, m_down_inputs);
    const std::byte* const* inputs = inputs_for(weights.down, m_down_inputs);
    m_pool.run((out.n_cols + kTaskRows - 1) / kTaskRows, [&](int i, int thread) {
        const int begin = i * kTaskRows;
        panel_product(weights.down, inputs, n_tokens, begin, std::min(begin + kTaskRows, out.n_cols), out.data + begin, out.stride, thread);
    });
}

/// Many tokens: each expert runs once on all of its tokens; then every token sums its slots in order.
void CpuOps::moe_grouped(const MoeCall& call) {
    constexpr int kMostTokens = 128;  // per task: bounds the scratch and lets a popular expert be shared out
    const int n_tokens = call.x.n_rows, n_experts = call.experts->gate.n_slabs;
    const auto k = static_cast<size_t>(call.k_stride), d = static_cast<size_t>(call.out.n_cols);
    m_expert_begin.assign(static_cast<size_t>(n_experts) + 1, 0);
    for (int t = 0; t < n_tokens; ++t)
        for (int j = 0; j < call.n_used[static_cast<size_t>(t)]; ++j)
            ++m_expert_begin[static_cast<size_t>(call.ids[static_cast<size_t>(t) * k + static_cast<size_t>(j)]) + 1];
    for (size_t e = 0; e < static_cast<size_t>(n_experts); ++e) m_expert_begin[e + 1] += m_expert_begin[e];
    const auto n_pairs = static_cast<size_t>(m_expert_begin.back());
    std::vector<int32_t> next(m_expert_begin.begin(), m_expert_begin.end() - 1);
    m_pair_token.resize(n_pairs);
    m_pair_of_slot.resize(static_cast<size_t>(n_tokens) * k);
    for (int t = 0; t < n_tokens; ++t)
        for (size_t slot = static_cast<size_t>(t) * k; slot < static_cast<size_t>(t) * k + static_cast<size_t>(call.n_used[static_cast<size_t>(t)]); ++slot) {
            const int32_t pair = next[static_cast<size_t>(call.ids[slot])]++;
            m_pair_token[static_cast<size_t>(pair)] = t;
            m_pair_of_slot[slot] = pair;
        }
    m_ranges.clear();
    for (int e = 0; e < n_experts; ++e)
        for (int p = m_expert_begin[static_cast<size_t>(e)]; p < m_expert_begin[static_cast<size_t>(e) + 1]; p += kMostTokens)
            m_ranges.push_back({e, p, std::min(p + kMostTokens, m_expert_begin[static_cast<size_t>(e) + 1])});
    float* pairs = m_pair_scratch.floats(n_pairs * d);
    m_pool.run(static_cast<int>(m_ranges.size()), [&](int i, int thread) {
        const RowRange& r = m_ranges[static_cast<size_t>(i)];
        expert_tokens(*call.experts, r.which, m_pair_token.data() + r.begin, r.end - r.begin, pairs + static_cast<size_t>(r.begin) * d, thread);
    });
    if (call.shared) ffn_panels(*call.shared, call.out);
    sum_slots(call, pairs);
}

/// out = Σ_j weight · pair (in slot order) + scale · shared, which is in out already.
void CpuOps::sum_slots(const MoeCall& call, const float* pairs) {
    const int n_cols = call.out.n_cols;
    m_pool.run(call.out.n_rows, [&](int t, int thread) {
        float* sum = call.routed.data ? call.routed.row(t) : m_threads[static_cast<size_t>(thread)].gates.floats(static_cast<size_t>(n_cols));
        std::fill_n(sum, n_cols, 0.0f);
        for (int j = 0; j < call.n_used[static_cast<size_t>(t)]; ++j) {
            const size_t slot = static_cast<size_t>(t) * static_cast<size_t>(call.k_stride) + static_cast<size_t>(j);
            m_kernels.add_scaled(sum, pairs + static_cast<size_t>(m_pair_of_slot[slot]) * static_cast<size_t>(n_cols), n_cols, call.weights[slot]);
        }
        float* out = call.out.row(t);
        if (call.shared) {
            const float scale = call.shared_scale.empty() ? 1.0f : call.shared_scale[static_cast<size_t>(t)];
            if (scale != 1.0f) m_kernels.set_scaled(out, out, n_cols, scale);
            m_kernels.add_scaled(out, sum, n_cols, 1.0f);
        } else {
            std::copy_n(sum, n_cols, out);
        }
    });
}

void CpuOps::moe(const MoeCall& named) {
    OpClock::Span span(m_clock, Op::kMoe);
    const FfnWeights experts = best_form(*named.experts);
    const FfnWeights shared = named.shared ? best_form(*named.shared) : FfnWeights{};
    MoeCall call = named;
    call.experts = &experts;
    if (named.shared) call.shared = &shared;
    const int n_tokens = call.x.n_rows;
    if (n_tokens <= kGemvTokens) {
        for (int t = 0; t < n_tokens; ++t) {
            moe_token(call, t);
            for (const Branch& b : m_branches) span.add_bytes(b.gate.n_bytes() + b.up.n_bytes() + b.down.n_bytes());
        }
        return;
    }
    const bool fast = is_fast(call.experts->gate) || is_fast(call.experts->up) ||
                      (call.shared && (is_fast(call.shared->gate) || is_fast(call.shared->up)));
    take_inputs(call.x, fast, m_input_scratch, m_inputs);
    moe_grouped(call);
    for (size_t e = 0; e + 1 < m_expert_begin.size(); ++e)
        if (m_expert_begin[e + 1] > m_expert_begin[e]) span.add_bytes(ffn_bytes(*call.experts));
    if (call.shared) span.add_bytes(ffn_bytes(*call.shared));
}

void CpuOps::ffn(const FfnWeights& named, Rows x, Rows out) {
    OpClock::Span span(m_clock, Op::kFfn);
    const FfnWeights weights = best_form(named);
    span.add_bytes(ffn_bytes(weights));
    if (x.n_rows > kGemvTokens) {
        take_inputs(x, is_fast(weights.gate) || is_fast(weights.up), m_input_scratch, m_inputs);
        ffn_panels(weights, out);
        return;
    }
    MoeCall call;
    call.x = x;
    call.shared = &weights;
    call.out = out;
    for (int t = 0; t < x.n_rows; ++t) moe_token(call, t);
}

void CpuOps::all_experts(const FfnWeights& named, Rows x, Rows out) {
    OpClock::Span span(m_clock, Op::kAllExperts);
    const FfnWeights experts = best_form(named);
    m_branches.clear();
    for (int e = 0; e < experts.gate.n_slabs; ++e) m_branches.push_back({experts.gate.slab(e), experts.up.slab(e), experts.down.slab(e)});
    run_hidden(x.row(0));
    m_pool.run(experts.gate.n_slabs, [&](int e, int) {
        const Branch& b = m_branches[static_cast<size_t>(e)];
        product(b.down).gemv(b.down, 0, b.down.n_out, b.input, out.row(e));
    });
    span.add_bytes(experts.gate.n_bytes() + experts.up.n_bytes() + experts.down.n_bytes());
}

}  // namespace gs::cpu
