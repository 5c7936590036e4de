// Gated networks: the experts of a layer, a dense one, all of them.
#include <algorithm>

#include "engine/ops/cuda/cuda_ops.h"
#include "engine/ops/cuda/device_routers.h"
#include "engine/ops/cuda/device_share.h"
#include "engine/ops/cuda/moe.cuh"
#include "engine/ops/ffn_sizes.h"

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
    if (n_bytes == 0 || scratch) cuda::ffn(m_stream, net, x, out, m_precision, m_device.n_processors, scratch);
    operation.add_bytes(weights.gate.n_bytes() + weights.up.n_bytes() + weights.down.n_bytes());
    operation.add_products(static_cast<size_t>(x.n_rows) * ffn_products(weights));
}

std::unique_ptr<Routers> CudaOps::make_routers() {
    use_device();
    return std::make_unique<DeviceRouters>(m_errors, m_ring, m_graphs, m_device.index);
}

void CudaOps::route(const RouteCall& call) {
    Operation operation(*this, Op::kRoute);
    const DeviceRouter* routers = static_cast<DeviceRouters*>(call.routers)->on_device();
    if (routers) cuda::route(m_stream, routers, call, at(call.first_position));
}

Result<std::unique_ptr<RoutingShare>> CudaOps::share_routing(const std::shared_ptr<RoutingViewer>& viewer, const SharedLayout& layout) {
    use_device();
    // What grows while the engine runs comes first.
    if (layout.n_floats() * sizeof(float) > free_memory().value_or(0) / 2)
        return Error{ErrorKind::kDevice, "not_shared", "Routing is not shared with the window", "the device has little memory left", ""};
    GS_TRY(std::unique_ptr<DeviceShare> share, DeviceShare::open(viewer, layout, m_device.index, m_stream, m_errors));
    return std::unique_ptr<RoutingShare>(std::move(share));
}

void CudaOps::moe(const MoeCall& call) {
    Operation operation(*this, Op::kMoe);
    DeviceFfn experts, shared;
    if (call.x.n_rows <= 0 || !on_device(*call.experts, experts) || (call.shared && !on_device(*call.shared, shared))) return;
    const DeviceMoe moe{.x = call.x, .experts = &experts, .ids = call.ids, .weights = call.weights, .n_used = call.n_used, .k_stride = call.k_stride,
                        .weigh_input = call.weigh_input, .shared = call.shared ? &shared : nullptr, .shared_scale = call.shared_scale, .out = call.out,
                        .routed = call.routed};
    const size_t n_bytes = moe_workspace(moe, m_precision);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::moe(m_stream, moe, m_precision, m_device.n_processors, scratch);
    // How many experts a token used is known on the device only: as many as may be, and no more than there are.
    const int most = call.k_most > 0 ? call.k_most : call.k_stride;
    const size_t n_tokens = static_cast<size_t>(call.x.n_rows), n_pairs = static_cast<size_t>(most) * n_tokens;
    const size_t n_most = std::min(n_pairs, static_cast<size_t>(call.experts->gate.n_slabs));
    operation.add_products(n_pairs * ffn_products(*call.experts) + (call.shared ? n_tokens * ffn_products(*call.shared) : 0));
    operation.add_bytes(n_most * ffn_bytes(*call.experts) + (call.shared ? ffn_bytes(*call.shared) : 0));
}

void CudaOps::all_experts(const FfnWeights& experts, Rows x, Rows out) {
    Operation operation(*this, Op::kAllExperts);
    DeviceFfn net;
    if (!on_device(experts, net)) return;
    const size_t n_bytes = all_experts_workspace(net);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::all_experts(m_stream, net, x, out, m_device.n_processors, scratch);
    operation.add_bytes(experts.gate.n_bytes() + experts.up.n_bytes() + experts.down.n_bytes());
}

}  // namespace gs::cuda
