// One token seen by every expert of one layer, for the gating comparison.
#include <utility>

#include "engine/core/check.h"
#include "engine/decode/decoder_state.h"

namespace gs {
namespace {

/// Puts the cache rows of one position back when it goes: a single token may round differently from the batch that it was part of. Sink and
/// tap are away meanwhile.
class Aside {
public:
    Aside(Decoder::Impl& impl, int position, int n_layers)
        : m_impl(impl), m_position(position), m_n_layers(n_layers), m_sink(std::exchange(impl.sink, nullptr)),
          m_tap(std::exchange(impl.tap, nullptr)), m_nonfinite(impl.nonfinite) {
        // A layer's row may have 2^28 floats: no product of it fits an int.
        m_k.resize(static_cast<size_t>(n_layers) * static_cast<size_t>(k_width()));
        m_v.resize(static_cast<size_t>(n_layers) * static_cast<size_t>(v_width()));
        for (int l = 0; l < n_layers; ++l) impl.ops->read_kv(impl.cache, l, position, k_row(l), v_row(l));
    }
    ~Aside() {
        // What was read is exact in the type that the cache keeps.
        for (int l = 0; l < m_n_layers; ++l) {
            const Rows k = m_impl.k.rows(1), v = m_impl.v.rows(1);
            m_impl.ops->write(k_row(l).data, k.data, static_cast<size_t>(k_width()));
            if (v_width() > 0) m_impl.ops->write(v_row(l).data, v.data, static_cast<size_t>(v_width()));
            m_impl.ops->store_kv(m_impl.cache, l, m_position, k, v);
        }
        m_impl.sink = m_sink;
        m_impl.tap = std::move(m_tap);
        m_impl.nonfinite = m_nonfinite;
    }
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;

private:
    int k_width() const { return m_impl.spec().k_width(); }
    int v_width() const { return m_impl.spec().v_width(); }
    Rows k_row(int l) { return {m_k.data() + static_cast<ptrdiff_t>(l) * k_width(), 1, k_width(), k_width()}; }
    Rows v_row(int l) { return {m_v.data() + static_cast<ptrdiff_t>(l) * v_width(), 1, v_width(), v_width()}; }

    Decoder::Impl& m_impl;
    int m_position, m_n_layers;
    RouteSink* m_sink;
    Decoder::TapFunction m_tap;
    bool m_nonfinite;
    std::vector<float> m_k, m_v;
};

}  // namespace

/// One expert alone on `normed`, which it finds multiplied by the weight.
std::vector<float> Decoder::Impl::weighed_expert(int l, int expert, float weight) {
    const int32_t id = expert, one = 1;
    const auto write = [&](const int32_t& value, const OpsBuffer& to) { ops->write(reinterpret_cast<const float*>(&value), to.data(), 1); };
    write(id, routing.ids);
    write(one, routing.n_used);
    ops->write(&weight, routing.weights.data(), 1);
    std::vector<float> values(static_cast<size_t>(spec().n_embd));
    ops->moe({.x = normed.rows(1), .experts = &layer(l).experts, .ids = BatchRouting::integers(routing.ids), .weights = routing.weights.data(),
              .n_used = BatchRouting::integers(routing.n_used), .k_stride = 1, .weigh_input = true, .out = sub.rows(1)});
    ops->read(sub.data(), values.data(), values.size());
    return values;
}

Result<Decoder::Probe> Decoder::probe(int32_t id, int position, int moe_layer, const CancelFlag* cancel) {
    Impl& impl = *m_impl;
    const ModelSpec& s = impl.spec();
    GS_CHECK(moe_layer >= 0 && moe_layer < static_cast<int>(s.moe_layers.size()), "no such MoE layer");
    GS_CHECK(id >= 0 && id < s.n_vocab && position >= 0 && position < impl.n_ctx, "token or position out of range");
    const int l = s.moe_layers[static_cast<size_t>(moe_layer)];
    const auto n_experts = static_cast<size_t>(s.router.n_experts), width = static_cast<size_t>(s.n_embd);
    if (!impl.expert_outputs && !impl.expert_outputs.allocate(*impl.ops, n_experts, width))
        return impl.out_of_memory(n_experts * width * sizeof(float));

    const Aside aside(impl, position, l + 1);
    impl.choose_divisors(position + 1);
    GS_TRY_VOID(impl.run_layers({&id, 1}, position, 0, l, cancel));
    const LayerWeights& w = impl.layer(l);
    impl.attention_block(l, 1, position);
    const Rows in = impl.normed.rows(1);
    impl.ffn_norm(l, 1);
    const Rows logits = impl.router_linear(l, 1);
    Probe probe;
    probe.router_logits.resize(n_experts);
    impl.ops->read(logits.data, probe.router_logits.data(), n_experts);
    const Rows outputs = impl.expert_outputs.rows(s.router.n_experts);
    impl.ops->all_experts(w.experts, in, outputs);
    probe.expert_outputs.resize(n_experts * width);
    impl.ops->read(outputs.data, probe.expert_outputs.data(), n_experts * width);
    if (s.router.weigh_input) probe.weighed_output = [&impl, l](int expert, float weight) { return impl.weighed_expert(l, expert, weight); };
    if (w.shared) {
        const float* gates = impl.shared_gates(l, 1);
        impl.ops->ffn(w.shared, in, impl.sub.rows(1));
        probe.shared_output.resize(width);
        impl.ops->read(impl.sub.data(), probe.shared_output.data(), width);
        if (gates) {
            float gate = 0;
            impl.ops->read(gates, &gate, 1);
            for (float& value : probe.shared_output) value *= gate;
        }
    }
    return probe;
}

}  // namespace gs
