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

namespace {

constexpr size_t kFlagFloats = 16;     // a line of its own: what follows stays aligned to 64 bytes

/// The parts of one MoE layer in a block that begins at `base`.
template <class Float, class Int>
BatchRouting::Parts<Float, Int> parts_of(const BatchRouting& r, Float* base, int layer, int n_rows) {
    const auto m = static_cast<size_t>(layer), n = static_cast<size_t>(n_rows), slots = static_cast<size_t>(r.slots(layer, n_rows)) * n;
    const size_t before = r.first_slot_of(layer, n_rows), all_slots = r.first_slot_of(static_cast<int>(r.n_layers), n_rows);
    Float* logits = base + kFlagFloats;
    Float* weights = logits + r.n_layers * n * r.n_experts;
    Int* ids = reinterpret_cast<Int*>(weights + all_slots);
    return {.logits = {logits + m * n * r.n_experts, n * r.n_experts}, .weights = {weights + before, slots}, .ids = {ids + before, slots},
            .n_used = {ids + all_slots + m * n, n}};
}

}  // namespace

bool BatchRouting::allocate(Ops& ops, size_t moe_layers, size_t n_rows, size_t experts) {
    n_layers = moe_layers;
    n_experts = experts;
    routers = ops.make_routers();
    block = ops.make_readback(most_floats(n_layers, n_rows, n_experts));
    return block != nullptr;
}

uint64_t BatchRouting::most_floats(uint64_t moe_layers, uint64_t n_rows, uint64_t experts) { return kFlagFloats + moe_layers * n_rows * (3 * experts + 1); }

size_t BatchRouting::size(int n) const {
    return kFlagFloats + static_cast<size_t>(n) * n_layers * (n_experts + 1) + 2 * first_slot_of(static_cast<int>(n_layers), n);
}

Rows BatchRouting::logits_of(int m, int n) const {
    const auto width = static_cast<int>(n_experts);
    return {parts_of<float, int32_t>(*this, block->data(), m, n).logits.data(), n, width, width};
}

RouteCall BatchRouting::call(int m, int n) const {
    const Parts<float, int32_t> parts = parts_of<float, int32_t>(*this, block->data(), m, n);
    return {.routers = routers.get(), .logits = logits_of(m, n), .ids = parts.ids.data(), .weights = parts.weights.data(), .n_used = parts.n_used.data(),
            .k_stride = slots(m, n), .nonfinite = reinterpret_cast<int32_t*>(block->data())};
}

BatchRouting::Parts<const float, const int32_t> BatchRouting::on_host(std::span<const float> values, int m, int n) const {
    return parts_of<const float, const int32_t>(*this, values.data(), m, n);
}

}  // namespace gs
