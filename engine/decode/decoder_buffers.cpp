#include "engine/decode/decoder_buffers.h"

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

}  // namespace gs
