// Gated networks: the experts of a layer, a dense one, all of them.
#include "engine/ops/cuda/cuda_ops.h"
#include "engine/ops/cuda/moe.cuh"

namespace gs::cuda {

bool CudaOps::on_device(const FfnWeights& f, DeviceFfn& net) {
    net = {.gate = m_weights.matrix(f.gate), .up = m_weights.matrix(f.up), .down = m_weights.matrix(f.down)};
    net.gate_bias = m_weights.vector(&f.gate_bias);
    net.up_bias = m_weights.vector(&f.up_bias);
    net.down_bias = m_weights.vector(&f.down_bias);
    net.activation = f.activation;
    return net.gate.data && net.up.data && net.down.data;
}

void CudaOps::ffn(const FfnWeights& weights, Rows x, Rows out) {
    Operation operation(*this, Op::kFfn);
    DeviceFfn net;
    if (x.n_rows <= 0 || !on_device(weights, net)) return;
    const size_t n_bytes = ffn_workspace(net, x, m_precision);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::ffn(m_stream, net, x, out, m_precision, scratch);
    operation.add_bytes(weights.gate.n_bytes() + weights.up.n_bytes() + weights.down.n_bytes());
}

void CudaOps::moe(const MoeCall& call) {
    Operation operation(*this, Op::kMoe);
    DeviceFfn experts, shared;
    if (call.x.n_rows <= 0 || !on_device(*call.experts, experts) || (call.shared && !on_device(*call.shared, shared))) return;
    DeviceMoe moe{.x = call.x, .experts = &experts, .k_stride = call.k_stride, .weigh_input = call.weigh_input};
    moe.ids = m_ring.send(call.ids);
    moe.weights = m_ring.send(call.weights);
    moe.n_used = m_ring.send(call.n_used);
    if (call.shared) moe.shared = &shared;
    if (!call.shared_scale.empty()) moe.shared_scale = m_ring.send(call.shared_scale);
    moe.out = call.out;
    moe.routed = call.routed;
    if (!moe.ids || !moe.weights || !moe.n_used) return;
    const size_t n_bytes = moe_workspace(moe, m_precision);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::moe(m_stream, moe, m_precision, scratch);
    size_t n_used = 0;
    for (const int32_t n : call.n_used) n_used += static_cast<size_t>(n);
    const auto slab_bytes = [](const FfnWeights& f) { return f.gate.slab_bytes() + f.up.slab_bytes() + f.down.slab_bytes(); };
    operation.add_bytes(n_used * slab_bytes(*call.experts) + (call.shared ? slab_bytes(*call.shared) : 0));
}

void CudaOps::all_experts(const FfnWeights& experts, Rows x, Rows out) {
    Operation operation(*this, Op::kAllExperts);
    DeviceFfn net;
    if (!on_device(experts, net)) return;
    const size_t n_bytes = all_experts_workspace(net);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::all_experts(m_stream, net, x, out, scratch);
    operation.add_bytes(experts.gate.n_bytes() + experts.up.n_bytes() + experts.down.n_bytes());
}

}  // namespace gs::cuda
