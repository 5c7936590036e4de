// Norms and products, and what the last of them say.
#include "engine/ops/cuda/cuda_ops.h"
#include "engine/ops/cuda/norm.cuh"
#include "engine/ops/cuda/score.cuh"

namespace gs::cuda {

NormShape CudaOps::on_device(const NormCall& call) {
    NormShape shape{.x = call.x, .out = call.out, .kind = call.kind, .eps = call.eps};
    shape.weight = m_weights.vector(call.weight);
    shape.bias = m_weights.vector(call.bias);
    shape.group = call.group > 0 ? call.group : call.x.n_cols;
    return shape;
}

std::vector<DeviceLinear> CudaOps::on_device(std::span<const LinearCall> calls, int n_rows, Operation& operation) {
    std::vector<DeviceLinear> products;
    for (const LinearCall& call : calls) {
        products.push_back({m_weights.matrix(*call.weight), m_weights.vector(call.bias), call.out});
        if (!products.back().weight.data) return {};
        operation.add_bytes(call.weight->n_bytes());
        operation.add_products(static_cast<size_t>(n_rows) * call.weight->slab_values());
    }
    return products;
}

void CudaOps::norm(const NormCall& call) {
    Operation operation(*this, Op::kNorm);
    normalise(m_stream, on_device(call));
    if (call.weight) operation.add_bytes(call.weight->n_bytes());
}

void CudaOps::linear(Rows x, std::span<const LinearCall> calls) {
    Operation operation(*this, Op::kLinear);
    const std::vector<DeviceLinear> products = on_device(calls, x.n_rows, operation);
    if (products.empty()) return;
    const size_t n_bytes = linear_workspace(x, products, m_precision);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::linear(m_stream, x, products, m_precision, m_device.n_processors, scratch);
}

void CudaOps::norm_linear(const NormCall& before, std::span<const LinearCall> calls) {
    const bool whole_rows = before.group == 0 || before.group == before.x.n_cols;
    // Of many rows the products read them once for every tile: normalising them there would be work over and over.
    if (before.x.n_rows > kDecodeTokens || !whole_rows || before.out.data == before.x.data) return Ops::norm_linear(before, calls);
    Operation operation(*this, Op::kLinear);
    const NormShape norm = on_device(before);
    const std::vector<DeviceLinear> products = on_device(calls, before.x.n_rows, operation);
    if (products.empty()) return;
    cuda::norm_linear(m_stream, norm, products, m_device.n_processors);
    if (before.weight) operation.add_bytes(before.weight->n_bytes());
}

void CudaOps::linear_transposed(Rows x, const Weight& weight, Rows out) {
    Operation operation(*this, Op::kLinear);
    const DeviceMatrix matrix = m_weights.matrix(weight);
    if (matrix.data) cuda::linear_transposed(m_stream, x, matrix, out);
    operation.add_bytes(weight.n_bytes());
}

void CudaOps::score(const ScoreCall& call) {
    Operation operation(*this, Op::kScore);
    const int32_t* ids = m_ring.send(call.ids);
    if (ids) score_rows(m_stream, call.logits, ids, call.divisor, call.cap, call.out);
}

}  // namespace gs::cuda
