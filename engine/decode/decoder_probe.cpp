// Layers asked beside a run: one token seen by every expert of one layer, for the gating comparison; many tokens through one layer's router and experts.
#include <utility>
#include <vector>

#include "engine/core/check.h"
#include "engine/decode/decoder_state.h"

namespace gs {
namespace {

/// Puts the cache rows of one position back when it goes: a single token may round differently from the batch that it was part of. Sink and
/// tap are away meanwhile.
class Aside {
public:
    Aside(Decoder::Impl& impl, int position, int n_layers)
        : m_impl(impl), m_position(position), m_sink(std::exchange(impl.sink, nullptr)), m_tap(std::exchange(impl.shared.tap, nullptr)),
          m_on_experts(std::exchange(impl.shared.on_experts, nullptr)) {
        for (int l = 0; l < n_layers; ++l) m_rows.push_back(impl.stage_of(l).read_kv(l, position));
    }
    ~Aside() {
        // What was read is exact in the type that the cache keeps.
        int l = 0;
        for (const KvRow& row : m_rows) {
            m_impl.stage_of(l).write_kv(l, m_position, row);
            ++l;
        }
        m_impl.sink = m_sink;
        m_impl.shared.tap = std::move(m_tap);
        m_impl.shared.on_experts = std::move(m_on_experts);
    }
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;

private:
    Decoder::Impl& m_impl;
    int m_position;
    RouteSink* m_sink;
    Decoder::TapFunction m_tap;
    Decoder::ExpertFunction m_on_experts;
    std::vector<KvRow> m_rows;
};

}  // namespace

KvRow DecoderStage::read_kv(int l, int position) {
    const int k_width = spec().k_width(), v_width = spec().v_width();
    KvRow row{std::vector<float>(static_cast<size_t>(k_width)), std::vector<float>(static_cast<size_t>(v_width))};
    ops->read_kv(cache, local(l), position, {row.k.data(), 1, k_width, k_width}, {row.v.data(), 1, v_width, v_width});
    return row;
}

void DecoderStage::write_kv(int l, int position, const KvRow& row) {
    ops->write(row.k.data(), k.data(), row.k.size());
    if (!row.v.empty()) ops->write(row.v.data(), v.data(), row.v.size());
    ops->store_kv(cache, local(l), position, k.rows(1), v.rows(1));
}

/// One expert alone on `normed`, which it finds multiplied by the weight.
std::vector<float> DecoderStage::weighed_expert(int l, int expert, float weight) {
    const RouteCall route = routing.call(moe_row(l), 1);
    const int32_t id = expert, one = 1;
    const auto write = [&](const int32_t& value, int32_t* to) { ops->write(reinterpret_cast<const float*>(&value), reinterpret_cast<float*>(to), 1); };
    write(id, route.ids);
    write(one, route.n_used);
    ops->write(&weight, route.weights, 1);
    std::vector<float> values(static_cast<size_t>(spec().n_embd));
    ops->moe({.x = normed.rows(1), .experts = &layer(l).experts, .ids = route.ids, .weights = route.weights, .n_used = route.n_used, .k_stride = 1,
              .weigh_input = true, .out = sub.rows(1)});
    ops->read(sub.data(), values.data(), values.size());
    return values;
}

Result<Decoder::Probe> DecoderStage::probe(int l, int position) {
    const auto n_experts = static_cast<size_t>(spec().router.n_experts), width = static_cast<size_t>(spec().n_embd);
    if (!expert_outputs && !expert_outputs.allocate(*ops, n_experts, width)) return out_of_memory(n_experts * width * sizeof(float));
    const LayerWeights& w = layer(l);
    attention_block(l, 1, position);
    const Rows in = normed.rows(1);
    const Rows logits = router_linear(l, 1);
    Decoder::Probe probe;
    probe.router_logits.resize(n_experts);
    ops->read(logits.data, probe.router_logits.data(), n_experts);
    const Rows outputs = expert_outputs.rows(spec().router.n_experts);
    ops->all_experts(w.experts, in, outputs);
    probe.expert_outputs.resize(n_experts * width);
    ops->read(outputs.data, probe.expert_outputs.data(), n_experts * width);
    if (spec().router.weigh_input) probe.weighed_output = [this, l](int expert, float weight) { return weighed_expert(l, expert, weight); };
    if (w.shared) {
        const float* gates = shared_gates(l, 1);
        ops->ffn(w.shared, in, sub.rows(1));
        probe.shared_output.resize(width);
        ops->read(sub.data(), probe.shared_output.data(), width);
        if (gates) {
            float gate = 0;
            ops->read(gates, &gate, 1);
            for (float& value : probe.shared_output) value *= gate;
        }
    }
    return probe;
}

void DecoderStage::routed_output(int l, std::span<const float> router_input, std::span<float> out) {
    const int n_rows = static_cast<int>(router_input.size() / static_cast<size_t>(spec().n_embd)), m = moe_row(l);
    ops->write(router_input.data(), normed.data(), router_input.size());
    router_of_normed(l, n_rows);
    RouteCall route = routing.call(m, n_rows);
    route.layer = local(l);
    ops->route(route);
    ops->moe({.x = normed.rows(n_rows), .experts = &layer(l).experts, .ids = route.ids, .weights = route.weights, .n_used = route.n_used, .k_stride = route.k_stride,
              .weigh_input = spec().router.weigh_input, .out = sub.rows(n_rows), .k_most = routing.k[static_cast<size_t>(m)]});
    ops->read(sub.data(), out.data(), out.size());
}

Result<void> Decoder::routed_output(int moe_layer, std::span<const float> router_input, std::span<float> out, const CancelFlag* cancel) {
    Impl& impl = *m_impl;
    const auto width = static_cast<size_t>(impl.spec().n_embd);
    GS_CHECK(moe_layer >= 0 && moe_layer < static_cast<int>(impl.spec().moe_layers.size()), "no such MoE layer");
    GS_CHECK(!out.empty() && out.size() == router_input.size() && out.size() % width == 0 && out.size() / width <= static_cast<size_t>(impl.shared.max_batch),
             "whole rows, at most a batch of them");
    GS_TRY_VOID(poll(cancel));
    const int l = impl.spec().moe_layers[static_cast<size_t>(moe_layer)];
    impl.stage_of(l).routed_output(l, router_input, out);
    return impl.stage_of(l).ops->check();
}

Result<Decoder::Probe> Decoder::probe(int32_t id, int position, int moe_layer, const CancelFlag* cancel) {
    Impl& impl = *m_impl;
    const ModelSpec& s = impl.spec();
    GS_CHECK(moe_layer >= 0 && moe_layer < static_cast<int>(s.moe_layers.size()), "no such MoE layer");
    GS_CHECK(id >= 0 && id < s.n_vocab && position >= 0 && position < impl.shared.n_ctx, "token or position out of range");
    const int l = s.moe_layers[static_cast<size_t>(moe_layer)];
    const Aside aside(impl, position, l + 1);
    impl.choose_divisors(position + 1);
    GS_TRY_VOID(impl.run_layers({.ids = {&id, 1}}, 1, position, 0, l, cancel));
    return impl.stage_of(l).probe(l, position);
}

}  // namespace gs
