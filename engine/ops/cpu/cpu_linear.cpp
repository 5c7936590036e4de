// Products of the CPU back end: which rows of which matrix, for which tokens, on which thread.
#include <algorithm>

#include "engine/ops/cpu/cpu_ops.h"

namespace gs::cpu {

void CpuOps::take_inputs(Rows x, bool fast, Scratch& scratch, Inputs& inputs) {
    const auto n = static_cast<size_t>(x.n_rows);
    inputs.exact.resize(n);
    for (size_t t = 0; t < n; ++t) inputs.exact[t] = reinterpret_cast<const std::byte*>(x.row(static_cast<int>(t)));
    inputs.fast.clear();
    if (!fast) return;
    const size_t n_bytes = m_kernels.fast.input_bytes(x.n_cols);
    std::byte* memory = scratch.reserve(n_bytes * n);
    inputs.fast.resize(n);
    for (size_t t = 0; t < n; ++t) inputs.fast[t] = memory + n_bytes * t;
    const auto prepare = [&](int t, int) { m_kernels.fast.prepare(x.row(t), x.n_cols, memory + n_bytes * static_cast<size_t>(t)); };
    if (x.n_rows > kGemvTokens) m_pool.run(x.n_rows, prepare);
    else
        for (int t = 0; t < x.n_rows; ++t) prepare(t, 0);
}

/// Chunks that memory streams well (each starts cold) and enough of them to balance, in whole groups of rows (what the inner loops take at once).
int CpuOps::rows_per_chunk(size_t row_bytes, size_t all_bytes) const {
    const size_t wanted = std::clamp<size_t>(all_bytes / (static_cast<size_t>(m_pool.n_threads()) * 6), 8 << 10, 256 << 10);
    return static_cast<int>(std::max<size_t>(1, wanted / std::max<size_t>(row_bytes, 1) / kRowsPerTile)) * kRowsPerTile;
}

std::span<const LinearCall> CpuOps::best_form(std::span<const LinearCall> calls) {
    m_call_weights.clear();
    for (const LinearCall& call : calls) m_call_weights.push_back(best_form(*call.weight));
    m_calls.assign(calls.begin(), calls.end());
    for (size_t i = 0; i < calls.size(); ++i) m_calls[i].weight = &m_call_weights[i];
    return m_calls;
}

void CpuOps::linear(Rows x, std::span<const LinearCall> named) {
    OpClock::Span span(m_clock, Op::kLinear);
    const std::span<const LinearCall> calls = best_form(named);
    for (const LinearCall& call : calls) {
        span.add_bytes(call.weight->n_bytes());
        span.add_products(static_cast<size_t>(x.n_rows) * call.weight->slab_values());
    }
    const bool fast = std::any_of(calls.begin(), calls.end(), [&](const LinearCall& call) { return is_fast(*call.weight); });
    take_inputs(x, fast, m_input_scratch, m_inputs);
    if (x.n_rows <= kGemvTokens) multiply_tokens(x, calls);
    else multiply_panels(x, calls);
}

/// A vector's values: in place where they are f32, else a copy; null for an empty one.
const float* CpuOps::vector_values(const Weight& w, std::vector<float>& values) const {
    if (!w) return nullptr;
    if (w.type == TensorType::kF32) return reinterpret_cast<const float*>(w.data);
    values.resize(static_cast<size_t>(w.n_in));
    m_kernels.dequantize(w, 0, 0, values.data());
    return values.data();
}

void CpuOps::add_bias(const LinearCall& call, int begin, int end, int n_tokens, const float* bias) const {
    if (!bias) return;
    for (int t = 0; t < n_tokens; ++t) m_kernels.add_scaled(call.out.row(t) + begin, bias + begin, end - begin, 1.0f);
}

void CpuOps::multiply_tokens(Rows x, std::span<const LinearCall> calls) {
    size_t all_bytes = 0;
    for (const LinearCall& call : calls) all_bytes += call.weight->n_bytes();
    m_ranges.clear();
    for (size_t c = 0; c < calls.size(); ++c) {
        const Weight& w = *calls[c].weight;
        const int step = rows_per_chunk(w.row_bytes, all_bytes);
        for (int o = 0; o < w.n_out; o += step) m_ranges.push_back({static_cast<int>(c), o, std::min(o + step, w.n_out)});
    }
    const auto range = [&](int i, int) {
        const RowRange& r = m_ranges[static_cast<size_t>(i)];
        const LinearCall& call = calls[static_cast<size_t>(r.which)];
        const std::byte* const* inputs = inputs_for(*call.weight, m_inputs);
        for (int t = 0; t < x.n_rows; ++t) product(*call.weight).gemv(*call.weight, r.begin, r.end, inputs[t], call.out.row(t) + r.begin);
    };
    constexpr size_t kForkBytes = 48 << 10;  // less is done before another thread has heard of it
    const auto n = static_cast<int>(m_ranges.size());
    if (all_bytes * static_cast<size_t>(x.n_rows) >= kForkBytes) m_pool.run(n, range);
    else
        for (int i = 0; i < n; ++i) range(i, 0);
    std::vector<float> bias;
    for (const LinearCall& call : calls) add_bias(call, 0, call.weight->n_out, x.n_rows, call.bias ? vector_values(*call.bias, bias) : nullptr);
}

void CpuOps::multiply_panels(Rows x, std::span<const LinearCall> calls) {
    m_ranges.clear();
    for (size_t c = 0; c < calls.size(); ++c)
        for (int o = 0; o < calls[c].weight->n_out; o += kTaskRows)
            m_ranges.push_back({static_cast<int>(c), o, std::min(o + kTaskRows, calls[c].weight->n_out)});
    m_pool.run(static_cast<int>(m_ranges.size()), [&](int i, int thread) {
        const RowRange& r = m_ranges[static_cast<size_t>(i)];
        const LinearCall& call = calls[static_cast<size_t>(r.which)];
        panel_product(*call.weight, inputs_for(*call.weight, m_inputs), x.n_rows, r.begin, r.end, call.out.data + r.begin, call.out.stride, thread);
    });
    std::vector<float> bias;
    for (const LinearCall& call : calls) add_bias(call, 0, call.weight->n_out, x.n_rows, call.bias ? vector_values(*call.bias, bias) : nullptr);
}

/// Columns are divided among threads by whole rows of tokens: each thread reads all of the matrix for its own.
void CpuOps::linear_transposed(Rows x, const Weight& weight, Rows out) {
    OpClock::Span span(m_clock, Op::kLinear);
    span.add_bytes(weight.n_bytes());
    const int n_parts = std::min(x.n_rows, m_pool.n_threads());
    m_pool.run(n_parts, [&](int part, int thread) {
        const int begin = x.n_rows * part / n_parts, end = x.n_rows * (part + 1) / n_parts;
        float* row = m_threads[static_cast<size_t>(thread)].gates.floats(static_cast<size_t>(weight.n_in));
        for (int t = begin; t < end; ++t) std::fill_n(out.row(t), weight.n_in, 0.0f);
        for (int o = 0; o < weight.n_out; ++o) {
            m_kernels.dequantize(weight, o, 0, row);
            for (int t = begin; t < end; ++t) m_kernels.add_scaled(out.row(t), row, weight.n_in, x.row(t)[o]);
        }
    });
}

/// Rows begin..end-1 of w for some tokens: out[t * stride + row - begin].
void CpuOps::panel_product(const Weight& w, const std::byte* const* inputs, int n_tokens, int begin, int end, float* out, ptrdiff_t stride,
                           int thread) {
    const MatmulKernels& p = product(w);
    if (n_tokens <= kGemvTokens) {
        for (int t = 0; t < n_tokens; ++t) p.gemv(w, begin, end, inputs[t], out + t * stride);
        return;
    }
    std::byte* panel = m_threads[static_cast<size_t>(thread)].panel.reserve(p.panel_bytes(w.n_in));
    for (int o = begin; o < end; o += p.panel_rows) {
        const int n = std::min(p.panel_rows, end - o);
        p.pack(w, o, o + n, panel);
        p.gemm(panel, w, n, inputs, n_tokens, out + (o - begin), stride);
    }
}

}  // namespace gs::cpu
