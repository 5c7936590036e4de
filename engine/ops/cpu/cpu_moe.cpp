// Gated feed-forward networks of the CPU back end: dense, shared and routed.
#include <algorithm>

#include "engine/core/check.h"
#include "engine/ops/cpu/cpu_ops.h"
#include "engine/ops/ffn_sizes.h"

namespace gs::cpu {
namespace {

size_t round_up_16(int n) { return static_cast<size_t>((n + 15) / 16 * 16); }

}  // namespace

/// out = act(s · gate + b, s · up + b) for rows begin..begin+n-1: scaling the products is scaling the input.
void CpuOps::activate(const FfnWeights& net, int begin, int n, float* gate, float* up, float input_scale, float* out) const {
    if (input_scale != 1.0f) {
        m_kernels.set_scaled(gate, gate, n, input_scale);
        m_kernels.set_scaled(up, up, n, input_scale);
    }
    std::vector<float> copy;
    if (net.gate_bias) m_kernels.add_scaled(gate, vector_values(net.gate_bias, copy) + begin, n, 1.0f);
    if (net.up_bias) m_kernels.add_scaled(up, vector_values(net.up_bias, copy) + begin, n, 1.0f);
    m_kernels.activate[static_cast<size_t>(net.activation)](gate, up, n, out);
}

/// hidden = act(gate x, up x) of every branch, then prepared for down. One region for all.
void CpuOps::run_hidden(const float* x) {
    const Rows row{const_cast<float*>(x), 1, m_branches[0].net.gate.n_in, 0};
    const bool fast = std::any_of(m_branches.begin(), m_branches.end(), [&](const Branch& b) { return is_fast(b.net.gate) || is_fast(b.net.up); });
    take_inputs(row, fast, m_input_scratch, m_inputs);
    size_t n_floats = 0, n_bytes = 0, all_bytes = 0;
    for (Branch& b : m_branches) {
        b.hidden = n_floats;
        n_floats += round_up_16(b.net.gate.n_out);
        n_bytes += is_fast(b.net.down) ? m_kernels.fast.input_bytes(b.net.down.n_in) : 0;
        all_bytes += b.net.gate.slab_bytes() + b.net.up.slab_bytes();
    }
    float* hidden = m_hidden_scratch.floats(n_floats);
    m_ranges.clear();
    for (size_t i = 0; i < m_branches.size(); ++i) {
        const FfnWeights& net = m_branches[i].net;
        const int step = rows_per_chunk(net.gate.row_bytes + net.up.row_bytes, all_bytes);
        for (int o = 0; o < net.gate.n_out; o += step) m_ranges.push_back({static_cast<int>(i), o, std::min(o + step, net.gate.n_out)});
    }
    m_pool.run(static_cast<int>(m_ranges.size()), [&](int i, int thread) {
        const RowRange& r = m_ranges[static_cast<size_t>(i)];
        const Branch& b = m_branches[static_cast<size_t>(r.which)];
        const int n = r.end - r.begin;
        float* up = m_threads[static_cast<size_t>(thread)].gates.floats(static_cast<size_t>(n));
        float* out = hidden + b.hidden + r.begin;
        product(b.net.gate).gemv(b.net.gate, r.begin, r.end, inputs_for(b.net.gate, m_inputs)[0], out);
        product(b.net.up).gemv(b.net.up, r.begin, r.end, inputs_for(b.net.up, m_inputs)[0], up);
        activate(b.net, r.begin, n, out, up, b.input_scale, out);
    });
    std::byte* inputs = m_down_scratch.reserve(n_bytes);
    for (Branch& b : m_branches) {
        b.input = reinterpret_cast<const std::byte*>(hidden + b.hidden);
        if (!is_fast(b.net.down)) continue;
        m_kernels.fast.prepare(hidden + b.hidden, b.net.down.n_in, inputs);
        b.input = inputs;
        inputs += m_kernels.fast.input_bytes(b.net.down.n_in);
    }
}

void CpuOps::list_branches(const MoeCall& call, int token) {
    m_branches.clear();
    const size_t first = static_cast<size_t>(token) * static_cast<size_t>(call.k_stride);
    const int n_used = call.experts ? call.n_used[static_cast<size_t>(token)] : 0;
    for (size_t j = first; j < first + static_cast<size_t>(n_used); ++j) {
        const float weight = call.weights[j];
        m_branches.push_back({call.experts->expert(call.ids[j]), call.weigh_input ? 1.0f : weight, call.weigh_input ? weight : 1.0f});
    }
    if (!call.shared) return;
    m_branches.push_back({*call.shared, call.shared_scale ? call.shared_scale[token] : 1.0f});
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
    for (const Branch& b : m_branches) row_bytes += b.net.down.row_bytes;
    // A task reads its rows of one branch after another, each time from a cold start: no fewer of them than four tasks a thread leave.
    const int fewest = static_cast<int>(round_up_16(n_out / (4 * m_pool.n_threads())));
    const int step = std::max(rows_per_chunk(row_bytes, row_bytes * static_cast<size_t>(n_out)), fewest);
    const size_t n_routed = m_branches.size() - (call.shared ? 1 : 0);
    m_pool.run((n_out + step - 1) / step, [&](int i, int thread) {
        const int begin = i * step, n = std::min(step, n_out - begin);
        float* part = m_threads[static_cast<size_t>(thread)].gates.floats(static_cast<size_t>(n));
        std::vector<float> copy;
        std::fill_n(out + begin, n, 0.0f);
        for (size_t j = 0; j < m_branches.size(); ++j) {
            if (j == n_routed && routed) std::copy_n(out + begin, n, routed + begin);
            const Branch& b = m_branches[j];
            product(b.net.down).gemv(b.net.down, begin, begin + n, b.input, part);
            if (b.net.down_bias) m_kernels.add_scaled(part, vector_values(b.net.down_bias, copy) + begin, n, 1.0f);
            m_kernels.add_scaled(out + begin, part, n, b.scale);
        }
        if (n_routed == m_branches.size() && routed) std::copy_n(out + begin, n, routed + begin);
    });
}

/// Rows begin..end-1 of hidden [n][width] for the chosen tokens, from the inputs of the whole batch.
void CpuOps::gated_panels(const FfnWeights& net, const Inputs& inputs, const Chosen& chosen, int begin, int end, float* hidden, int thread) {
    ThreadScratch& scratch = m_threads[static_cast<size_t>(thread)];
    const auto count = static_cast<size_t>(chosen.n);
    float* gates = scratch.gates.floats(2 * count * kTaskRows);
    std::vector<const std::byte*> rows(count);
    const auto multiply = [&](const Weight& w, int o, int n, float* out) {
        const std::byte* const* all = inputs_for(w, inputs);
        for (size_t t = 0; t < count; ++t) rows[t] = all[chosen.tokens ? static_cast<size_t>(chosen.tokens[t]) : t];
        panel_product(w, rows.data(), chosen.n, o, o + n, out, kTaskRows, thread);
    };
    for (int o = begin; o < end; o += kTaskRows) {
        const int n = std::min(kTaskRows, end - o);
        multiply(net.gate, o, n, gates);
        multiply(net.up, o, n, gates + count * kTaskRows);
        for (size_t t = 0; t < count; ++t)
            activate(net, o, n, gates + t * kTaskRows, gates + (count + t) * kTaskRows, chosen.input_scales ? chosen.input_scales[t] : 1.0f,
                     hidden + t * static_cast<size_t>(net.gate.n_out) + o);
    }
}

/// One expert on its tokens: out [n][D].
void CpuOps::expert_tokens(const FfnWeights& net, const Chosen& chosen, float* out, int thread) {
    ThreadScratch& scratch = m_threads[static_cast<size_t>(thread)];
    const Weight& down = net.down;
    const auto count = static_cast<size_t>(chosen.n), width = static_cast<size_t>(net.gate.n_out);
    float* hidden = scratch.hidden.floats(count * width);
    gated_panels(net, m_inputs, chosen, 0, net.gate.n_out, hidden, thread);
    std::vector<const std::byte*> inputs(count);
    const bool fast = is_fast(down);
    const size_t n_bytes = fast ? m_kernels.fast.input_bytes(down.n_in) : 0;
    std::byte* memory = scratch.inputs.reserve(n_bytes * count);
    for (size_t t = 0; t < count; ++t) {
        if (fast) m_kernels.fast.prepare(hidden + t * width, down.n_in, memory + n_bytes * t);
        inputs[t] = fast ? memory + n_bytes * t : reinterpret_cast<const std::byte*>(hidden + t * width);
    }
    panel_product(down, inputs.data(), chosen.n, 0, down.n_out, out, down.n_out, thread);
    std::vector<float> copy;
    if (const float* bias = vector_values(net.down_bias, copy))
        for (size_t t = 0; t < count; ++t) m_kernels.add_scaled(out + t * static_cast<size_t>(down.n_out), bias, down.n_out, 1.0f);
}

/// A dense or shared network on all tokens whose inputs are in m_inputs.
void CpuOps::ffn_panels(const FfnWeights& weights, Rows out) {
    const int width = weights.gate.n_out, n_tokens = out.n_rows;
    float* hidden = m_hidden_scratch.floats(static_cast<size_t>(width) * static_cast<size_t>(n_tokens));
    m_pool.run((width + kTaskRows - 1) / kTaskRows, [&](int i, int thread) {
        gated_panels(weights, m_inputs, {.n = n_tokens}, i * kTaskRows, std::min((i + 1) * kTaskRows, width), hidden, thread);
    });
    take_inputs({hidden, n_tokens, width, width}, is_fast(weights.down), m_down_scratch, m_down_inputs);
    const std::byte* const* inputs = inputs_for(weights.down, m_down_inputs);
    m_pool.run((out.n_cols + kTaskRows - 1) / kTaskRows, [&](int i, int thread) {
        const int begin = i * kTaskRows;
        panel_product(weights.down, inputs, n_tokens, begin, std::min(begin + kTaskRows, out.n_cols), out.data + begin, out.stride, thread);
    });
    std::vector<float> copy;
    if (const float* bias = vector_values(weights.down_bias, copy))
        for (int t = 0; t < n_tokens; ++t) m_kernels.add_scaled(out.row(t), bias, out.n_cols, 1.0f);
}

/// Fills m_pair_*: the (token, slot) pairs of a call, those of an expert side by side, m_expert_begin saying where.
void CpuOps::group_by_expert(const MoeCall& call) {
    const int n_tokens = call.x.n_rows, n_experts = call.experts->gate.n_slabs;
    const auto k = static_cast<size_t>(call.k_stride);
    m_expert_begin.assign(static_cast<size_t>(n_experts) + 1, 0);
    for (int t = 0; t < n_tokens; ++t)
        for (int j = 0; j < call.n_used[static_cast<size_t>(t)]; ++j)
            ++m_expert_begin[static_cast<size_t>(call.ids[static_cast<size_t>(t) * k + static_cast<size_t>(j)]) + 1];
    for (size_t e = 0; e < static_cast<size_t>(n_experts); ++e) m_expert_begin[e + 1] += m_expert_begin[e];
    const auto n_pairs = static_cast<size_t>(m_expert_begin.back());
    std::vector<int32_t> next(m_expert_begin.begin(), m_expert_begin.end() - 1);
    m_pair_token.resize(n_pairs);
    m_pair_weight.resize(n_pairs);
    m_pair_of_slot.resize(static_cast<size_t>(n_tokens) * k);
    for (int t = 0; t < n_tokens; ++t)
        for (size_t slot = static_cast<size_t>(t) * k; slot < static_cast<size_t>(t) * k + static_cast<size_t>(call.n_used[static_cast<size_t>(t)]); ++slot) {
            const int32_t pair = next[static_cast<size_t>(call.ids[slot])]++;
            m_pair_token[static_cast<size_t>(pair)] = t;
            m_pair_weight[static_cast<size_t>(pair)] = call.weights[slot];
            m_pair_of_slot[slot] = pair;
        }
}

/// Many tokens: each expert runs once on all of its tokens; then every token sums its slots in order.
void CpuOps::moe_grouped(const MoeCall& call) {
    constexpr int kMostTokens = 128;  // per task: bounds the scratch and lets a popular expert be shared out
    const auto d = static_cast<size_t>(call.out.n_cols);
    group_by_expert(call);
    m_ranges.clear();
    for (size_t e = 0; e + 1 < m_expert_begin.size(); ++e)
        for (int p = m_expert_begin[e]; p < m_expert_begin[e + 1]; p += kMostTokens)
            m_ranges.push_back({static_cast<int>(e), p, std::min(p + kMostTokens, m_expert_begin[e + 1])});
    float* pairs = m_pair_scratch.floats(m_pair_token.size() * d);
    m_pool.run(static_cast<int>(m_ranges.size()), [&](int i, int thread) {
        const RowRange& r = m_ranges[static_cast<size_t>(i)];
        const Chosen chosen{m_pair_token.data() + r.begin, call.weigh_input ? m_pair_weight.data() + r.begin : nullptr, r.end - r.begin};
        expert_tokens(call.experts->expert(r.which), chosen, pairs + static_cast<size_t>(r.begin) * d, thread);
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
            m_kernels.add_scaled(sum, pairs + static_cast<size_t>(m_pair_of_slot[slot]) * static_cast<size_t>(n_cols), n_cols,
                                 call.weigh_input ? 1.0f : call.weights[slot]);
        }
        float* out = call.out.row(t);
        if (call.shared) {
            const float scale = call.shared_scale ? call.shared_scale[t] : 1.0f;
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
            for (const Branch& b : m_branches) {
                span.add_bytes(ffn_bytes(b.net));
                span.add_products(ffn_products(b.net));
            }
        }
        return;
    }
    const bool fast = is_fast(call.experts->gate) || is_fast(call.experts->up) ||
                      (call.shared && (is_fast(call.shared->gate) || is_fast(call.shared->up)));
    take_inputs(call.x, fast, m_input_scratch, m_inputs);
    moe_grouped(call);
    for (size_t e = 0; e + 1 < m_expert_begin.size(); ++e)
        if (m_expert_begin[e + 1] > m_expert_begin[e]) span.add_bytes(ffn_bytes(*call.experts));
    span.add_products(static_cast<size_t>(m_expert_begin.back()) * ffn_products(*call.experts));
    if (!call.shared) return;
    span.add_bytes(ffn_bytes(*call.shared));
    span.add_products(static_cast<size_t>(n_tokens) * ffn_products(*call.shared));
}

void CpuOps::ffn(const FfnWeights& named, Rows x, Rows out) {
    OpClock::Span span(m_clock, Op::kFfn);
    const FfnWeights weights = best_form(named);
    span.add_bytes(ffn_bytes(weights));
    span.add_products(static_cast<size_t>(x.n_rows) * ffn_products(weights));
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
    for (int e = 0; e < experts.gate.n_slabs; ++e) m_branches.push_back({experts.expert(e)});
    run_hidden(x.row(0));
    m_pool.run(experts.gate.n_slabs, [&](int e, int) {
        const Branch& b = m_branches[static_cast<size_t>(e)];
        product(b.net.down).gemv(b.net.down, 0, b.net.down.n_out, b.input, out.row(e));
        std::vector<float> copy;
        if (b.net.down_bias) m_kernels.add_scaled(out.row(e), vector_values(b.net.down_bias, copy), b.net.down.n_out, 1.0f);
    });
    span.add_bytes(experts.gate.n_bytes() + experts.up.n_bytes() + experts.down.n_bytes());
}

}  // namespace gs::cpu
