// The second half of a layer (spec/moe-families.md, skeleton at the head of section 7): the dense or routed FFN.
#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/decode/decoder_state.h"

namespace gs {

bool OpsBuffer::allocate(Ops& ops, size_t n_rows, size_t n_cols) {
    release();
    size_t n_floats = 0;
    if (__builtin_mul_overflow(n_rows, n_cols, &n_floats)) return false;
    m_ops = &ops;
    m_cols = static_cast<int>(n_cols);
    m_data = ops.allocate(n_floats);
    return m_data != nullptr;
}

void OpsBuffer::release() {
    if (m_data) m_ops->release(m_data);
    m_data = nullptr;
}

bool BatchRouting::route_all(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> selection_bias, int n_rows) {
    const auto n = static_cast<size_t>(n_rows), n_experts = static_cast<size_t>(spec.n_experts);
    k_stride = policy.experts_per_token(spec);
    const auto stride = static_cast<size_t>(k_stride);
    ids.resize(n * stride);
    weights.resize(n * stride);
    n_used.resize(n);
    bool nonfinite = false;
    for (size_t t = 0; t < n; ++t) {
        route(spec, policy, std::span<const float>(logits).subspan(t * n_experts, n_experts), selection_bias, row);
        n_used[t] = row.k();
        std::copy(row.ids.begin(), row.ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(t * stride));
        std::copy(row.weights.begin(), row.weights.end(), weights.begin() + static_cast<std::ptrdiff_t>(t * stride));
        nonfinite = nonfinite || row.nonfinite;
    }
    return nonfinite;
}

void Decoder::Impl::tap_rows(Tap what, int l, int first_row, Rows rows) {
    std::vector<float> values(static_cast<size_t>(rows.n_rows) * static_cast<size_t>(rows.n_cols));
    for (int r = 0; r < rows.n_rows; ++r)
        ops->read(rows.row(r), values.data() + static_cast<size_t>(r) * static_cast<size_t>(rows.n_cols), static_cast<size_t>(rows.n_cols));
    tap(what, l, first_row, rows.n_rows, values);
}

void Decoder::Impl::normalise(Rows in, const Weight& weight, const Weight& bias, Rows out) {
    ops->norm({.x = in, .kind = spec().norm, .weight = &weight, .bias = &bias, .eps = spec().norm_eps, .out = out});
}

void Decoder::Impl::ffn_block(int l, int n_rows, int first_row) {
    const LayerWeights& w = layer(l);
    const Rows in = normed.rows(n_rows), out = sub.rows(n_rows);
    ffn_norm(l, n_rows);
    if (w.is_moe()) {
        if (tap) tap_rows(Tap::kRouterInput, l, first_row, in);
        route_batch(l, n_rows, first_row);
        moe_block(l, n_rows, first_row);
        if (w.shared && spec().ffn_scale != 1) ops->scale(out, {&spec().ffn_scale, 1});
    } else {
        ops->ffn(w.dense, in, out);
    }
    if (w.ffn_post_norm) normalise(out, w.ffn_post_norm, {}, out);
    // Granite: routed and shared are summed first, then scaled (section 7.8).
    ops->add(x.rows(n_rows), out, spec().residual_scale);
}

/// Router logits of every row of `normed`, bias included.
void Decoder::Impl::router_linear(int l, int n_rows) {
    const LinearCall call{.weight = &layer(l).router, .bias = &layer(l).router_bias, .out = router_logits.rows(n_rows)};
    ops->linear(normed.rows(n_rows), {&call, 1});
}

void Decoder::Impl::route_batch(int l, int n_rows, int first_row) {
    const RouterSpec& router = spec().router;
    router_linear(l, n_rows);
    routing.logits.resize(static_cast<size_t>(n_rows) * static_cast<size_t>(router.n_experts));
    ops->read(router_logits.data(), routing.logits.data(), routing.logits.size());
    if (routing.route_all(router, policies[static_cast<size_t>(l)], layer(l).selection_bias, n_rows)) nonfinite = true;
    if (sink)
        sink->on_route(moe_row[static_cast<size_t>(l)], first_row, n_rows, routing.logits, routing.ids, routing.weights, routing.n_used,
                       routing.k_stride);
}

/// sigmoid(g·x) for each row of `normed` (section 7.3); empty when the shared expert has no gate.
std::span<const float> Decoder::Impl::shared_gates(int l, int n_rows) {
    const LayerWeights& w = layer(l);
    if (!w.shared_gate) return {};
    const Rows out = shared_gate.rows(n_rows);
    const LinearCall call{.weight = &w.shared_gate, .out = out};
    ops->linear(normed.rows(n_rows), {&call, 1});
    shared_scale.resize(static_cast<size_t>(n_rows));
    ops->read(out.data, shared_scale.data(), shared_scale.size());
    for (float& g : shared_scale) g = 1.0f / (1.0f + std::exp(-g));
    return shared_scale;
}

void Decoder::Impl::moe_block(int l, int n_rows, int first_row) {
    const LayerWeights& w = layer(l);
    const Rows in = normed.rows(n_rows);
    const std::span<const float> gates = w.shared ? shared_gates(l, n_rows) : std::span<const float>{};
    if (tap && !routed) {
        const bool made = routed.allocate(*ops, static_cast<size_t>(max_batch), static_cast<size_t>(spec().n_embd));
        GS_CHECK(made, "no memory for the tap");
    }
    ops->moe({.x = in, .experts = &w.experts, .ids = routing.ids, .weights = routing.weights, .n_used = routing.n_used,
              .k_stride = routing.k_stride, .weigh_input = spec().router.weigh_input, .shared = w.shared ? &w.shared : nullptr, .shared_scale = gates, .out = sub.rows(n_rows),
              .routed = tap ? routed.rows(n_rows) : Rows{}});
    if (!tap) return;
    tap_rows(Tap::kRoutedOutput, l, first_row, routed.rows(n_rows));
    if (!w.shared) return;
    ops->ffn(w.shared, in, routed.rows(n_rows));
    const auto width = static_cast<size_t>(spec().n_embd);
    std::vector<float> values(static_cast<size_t>(n_rows) * width);
    ops->read(routed.data(), values.data(), values.size());
    for (size_t i = 0; i < values.size() && !gates.empty(); ++i) values[i] *= gates[i / width];
    tap(Tap::kSharedOutput, l, first_row, n_rows, values);
}

}  // namespace gs
