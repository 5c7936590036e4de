// The second half of a layer (spec/moe-families.md, skeleton at the head of section 7): the dense or routed FFN.
#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/decode/decoder_stage.h"

namespace gs {

void DecoderStage::tap_rows(Tap what, int l, int first_row, Rows rows) {
    std::vector<float> values(static_cast<size_t>(rows.n_rows) * static_cast<size_t>(rows.n_cols));
    for (int r = 0; r < rows.n_rows; ++r)
        ops->read(rows.row(r), values.data() + static_cast<size_t>(r) * static_cast<size_t>(rows.n_cols), static_cast<size_t>(rows.n_cols));
    shared.tap(what, l, first_row, rows.n_rows, values);
}

NormCall DecoderStage::norm_of(Rows in, const Weight& weight, const Weight* bias, Rows out) const {
    return {.x = in, .kind = spec().norm, .weight = &weight, .bias = bias, .eps = spec().norm_eps, .out = out};
}

void DecoderStage::ffn_block(int l, int n_rows, int position, int first_row) {
    const LayerWeights& w = layer(l);
    const Rows in = normed.rows(n_rows), out = sub.rows(n_rows);
    if (w.is_moe()) {
        moe_block(l, n_rows, position, first_row);
        if (w.shared && spec().ffn_scale != 1) ops->scale(out, spec().ffn_scale);
    } else {
        ops->norm(ffn_norm(l, n_rows));
        ops->ffn(w.dense, in, out);
    }
    if (w.ffn_post_norm) ops->norm(norm_of(out, w.ffn_post_norm, nullptr, out));
    // Granite: routed and shared are summed first, then scaled (section 7.8).
    ops->add(x.rows(n_rows), out, spec().residual_scale);
}

/// Rows of x become `normed`, and those the router's logits, bias included, and what shared_gates() is taken of.
Rows DecoderStage::router_linear(int l, int n_rows) {
    const LayerWeights& w = layer(l);
    const Rows out = routing.logits_of(moe_row(l), n_rows);
    const LinearCall calls[] = {{.weight = &w.router, .bias = &w.router_bias, .out = out}, {.weight = &w.shared_gate, .out = shared_gate.rows(n_rows)}};
    ops->norm_linear(ffn_norm(l, n_rows), std::span(calls, w.shared_gate ? 2 : 1));
    return out;
}

Rows DecoderStage::router_of_normed(int l, int n_rows) {
    const Rows out = routing.logits_of(moe_row(l), n_rows);
    const LinearCall call{.weight = &layer(l).router, .bias = &layer(l).router_bias, .out = out};
    ops->linear(normed.rows(n_rows), {&call, 1});
    return out;
}

/// sigmoid(g·x) for each row of `normed` (section 7.3), behind router_linear(); null when the shared expert has no gate.
const float* DecoderStage::shared_gates(int l, int n_rows) {
    if (!layer(l).shared_gate) return nullptr;
    const Rows out = shared_gate.rows(n_rows);
    ops->sigmoid(out);
    return out.data;
}

void DecoderStage::route_by_batch(int l, int n_rows, int position, const RouteCall& call) {
    const auto m = static_cast<size_t>(moe_row(l)), n = static_cast<size_t>(n_rows), stride = static_cast<size_t>(call.k_stride);
    std::vector<float> logits(n * static_cast<size_t>(call.logits.n_cols)), weights(n * stride);
    ops->read(call.logits.data, logits.data(), logits.size());
    BatchRoutes& routes = batch_routes;
    batch_routers[m].route(spec().router, policies[m], logits, layer(l).selection_bias, {position, shared.n_prompt}, routes);
    std::vector<int32_t> ids(n * stride), n_used(n);
    for (size_t t = 0; t < n; ++t) {
        const auto chosen = routes.ids_of(t);
        GS_CHECK(chosen.size() <= stride, "no room for the experts of a token");
        n_used[t] = static_cast<int32_t>(chosen.size());
        std::copy(chosen.begin(), chosen.end(), ids.begin() + static_cast<std::ptrdiff_t>(t * stride));
        std::copy_n(routes.weights_of(t).begin(), chosen.size(), weights.begin() + static_cast<std::ptrdiff_t>(t * stride));
    }
    const auto put = [&](const std::vector<int32_t>& values, int32_t* to) {   // a back end's memory takes 32 bits whatever they are
        std::vector<float> bits(values.size());
        std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
        ops->write(bits.data(), reinterpret_cast<float*>(to), bits.size());
    };
    put(ids, call.ids);
    put(n_used, call.n_used);
    ops->write(weights.data(), call.weights, weights.size());
    if (routes.nonfinite) put({1}, call.nonfinite);
}

void DecoderStage::moe_block(int l, int n_rows, int position, int first_row) {
    const LayerWeights& w = layer(l);
    router_linear(l, n_rows);
    if (shared.tap) tap_rows(Tap::kRouterInput, l, first_row, normed.rows(n_rows));
    const int m = moe_row(l);
    RouteCall route = routing.call(m, n_rows);
    route.layer = local(l);
    route.first_position = position;
    if (policies[static_cast<size_t>(m)].is_by_batch()) route_by_batch(l, n_rows, position, route);
    else ops->route(route);
    const float* gates = w.shared ? shared_gates(l, n_rows) : nullptr;
    if (shared.tap && !routed) {
        const bool made = routed.allocate(*ops, static_cast<size_t>(shared.max_batch), static_cast<size_t>(spec().n_embd));
        GS_CHECK(made, "no memory for the tap");
    }
    ops->moe({.x = normed.rows(n_rows), .experts = &w.experts, .ids = route.ids, .weights = route.weights, .n_used = route.n_used,
              .k_stride = route.k_stride, .weigh_input = spec().router.weigh_input, .shared = w.shared ? &w.shared : nullptr, .shared_scale = gates,
              .out = sub.rows(n_rows), .routed = shared.tap ? routed.rows(n_rows) : Rows{}, .k_most = routing.k[static_cast<size_t>(m)]});
    if (shared.tap) tap_experts(l, n_rows, first_row, gates);
    if (shared.on_experts) hand_over_experts(l, n_rows, first_row);
}

void DecoderStage::tap_experts(int l, int n_rows, int first_row, const float* gates) {
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
    shared.tap(Tap::kSharedOutput, l, first_row, n_rows, values);
}

}  // namespace gs
