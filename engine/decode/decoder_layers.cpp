// The second half of a layer (spec/moe-families.md, skeleton at the head of section 7): the dense or routed FFN.
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

bool BatchRouting::allocate(Ops& ops, size_t n_layers, size_t n_rows, size_t n_experts) {
    const size_t rows = n_layers * n_rows;
    routers = ops.make_routers();
    return logits.allocate(ops, rows, n_experts) && ids.allocate(ops, rows, n_experts) && weights.allocate(ops, rows, n_experts) &&
           n_used.allocate(ops, rows, 1) && nonfinite.allocate(ops, 1, 1);
}

Rows BatchRouting::logits_of(int m, int n, int n_experts) const {
    return {logits.data() + static_cast<ptrdiff_t>(m) * n * n_experts, n, n_experts, n_experts};
}

RouteCall BatchRouting::call(int m, int n, int n_experts) const {
    const ptrdiff_t slots = static_cast<ptrdiff_t>(first_slot[static_cast<size_t>(m)]) * n;
    return {.routers = routers.get(), .logits = logits_of(m, n, n_experts), .ids = integers(ids) + slots, .weights = weights.data() + slots,
            .n_used = integers(n_used) + static_cast<ptrdiff_t>(m) * n, .k_stride = k[static_cast<size_t>(m)], .nonfinite = integers(nonfinite)};
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
Rows Decoder::Impl::router_linear(int l, int n_rows) {
    const Rows out = routing.logits_of(moe_row[static_cast<size_t>(l)], n_rows, spec().router.n_experts);
    const LinearCall call{.weight = &layer(l).router, .bias = &layer(l).router_bias, .out = out};
    ops->linear(normed.rows(n_rows), {&call, 1});
    return out;
}

/// sigmoid(g·x) for each row of `normed` (section 7.3); null when the shared expert has no gate.
const float* Decoder::Impl::shared_gates(int l, int n_rows) {
    const LayerWeights& w = layer(l);
    if (!w.shared_gate) return nullptr;
    const Rows out = shared_gate.rows(n_rows);
    const LinearCall call{.weight = &w.shared_gate, .out = out};
    ops->linear(normed.rows(n_rows), {&call, 1});
    ops->sigmoid(out);
    return out.data;
}

void Decoder::Impl::moe_block(int l, int n_rows, int first_row) {
    const LayerWeights& w = layer(l);
    router_linear(l, n_rows);
    RouteCall route = routing.call(moe_row[static_cast<size_t>(l)], n_rows, spec().router.n_experts);
    route.layer = l;
    ops->route(route);
    const float* gates = w.shared ? shared_gates(l, n_rows) : nullptr;
    if (tap && !routed) {
        const bool made = routed.allocate(*ops, static_cast<size_t>(max_batch), static_cast<size_t>(spec().n_embd));
        GS_CHECK(made, "no memory for the tap");
    }
    ops->moe({.x = normed.rows(n_rows), .experts = &w.experts, .ids = route.ids, .weights = route.weights, .n_used = route.n_used,
              .k_stride = route.k_stride, .weigh_input = spec().router.weigh_input, .shared = w.shared ? &w.shared : nullptr, .shared_scale = gates,
              .out = sub.rows(n_rows), .routed = tap ? routed.rows(n_rows) : Rows{}});
    if (tap) tap_experts(l, n_rows, first_row, gates);
}

void Decoder::Impl::tap_experts(int l, int n_rows, int first_row, const float* gates) {
    const LayerWeights& w = layer(l);
    const Rows out = routed.rows(n_rows);
    tap_rows(Tap::kRoutedOutput, l, first_row, out);
    if (!w.shared) return;
    ops->ffn(w.shared, normed.rows(n_rows), out);
    const auto width = static_cast<size_t>(spec().n_embd), n = static_cast<size_t>(n_rows);
    std::vector<float> values(n * width), scales(n, 1.0f);
    ops->read(out.data, values.data(), values.size());
    if (gates) ops->read(gates, scales.data(), n);
    for (size_t i = 0; i < values.size(); ++i) values[i] *= scales[i / width];
    tap(Tap::kSharedOutput, l, first_row, n_rows, values);
}

void Decoder::Impl::hand_over_routing(int n_rows, int first_row) {
    const auto n = static_cast<size_t>(n_rows), n_experts = static_cast<size_t>(spec().router.n_experts), n_layers = routing.k.size();
    const auto n_slots = static_cast<size_t>(routing.first_slot.back());
    const auto bring = [&](const OpsBuffer& from, auto& to, size_t size) {
        to.resize(size);
        ops->read(from.data(), reinterpret_cast<float*>(to.data()), size);
    };
    bring(routing.logits, routing.host_logits, n_layers * n * n_experts);
    bring(routing.weights, routing.host_weights, n * n_slots);
    bring(routing.ids, routing.host_ids, n * n_slots);
    bring(routing.n_used, routing.host_n_used, n_layers * n);
    for (size_t m = 0; m < n_layers; ++m) {
        const size_t slots = static_cast<size_t>(routing.first_slot[m]) * n, n_here = static_cast<size_t>(routing.k[m]) * n;
        sink->on_route(static_cast<int>(m), first_row, n_rows, std::span<const float>(routing.host_logits).subspan(m * n * n_experts, n * n_experts),
                       std::span<const int32_t>(routing.host_ids).subspan(slots, n_here), std::span<const float>(routing.host_weights).subspan(slots, n_here), std::span<const int32_t>(routing.host_n_used).subspan(m * n, n), routing.k[m]);
    }
}

}  // namespace gs
