// Internal to engine/decode: memory of a back end's, owned.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/ops/ops.h"

namespace gs {

/// Floats owned in the back end's memory.
class OpsBuffer {
public:
    OpsBuffer() = default;
    ~OpsBuffer() { release(); }
    OpsBuffer(const OpsBuffer&) = delete;
    OpsBuffer& operator=(const OpsBuffer&) = delete;

    /// False when there is no memory.
    bool allocate(Ops& ops, size_t n_rows, size_t n_cols);
    float* data() const { return m_data; }
    /// The first n rows.
    Rows rows(int n) const { return {m_data, n, m_cols, m_cols}; }
    explicit operator bool() const { return m_data != nullptr; }

private:
    void release();
    Ops* m_ops = nullptr;
    float* m_data = nullptr;
    int m_cols = 0;
};

/// Routing of a batch in one block of the back end's memory, so that one copy brings it all to the host: a flag, 1 when a router logit was NaN or
/// infinite, then logits [M, n, E], weights and ids [M, n, slots of the layer], n_used [M, n] of the M MoE layers there, 32 bits each, packed for a batch of
/// n rows.
struct BatchRouting {
    std::unique_ptr<Readback> block;
    std::unique_ptr<Routers> routers;
    size_t n_layers = 0, n_experts = 0;
    std::vector<int> k;                   ///< [M] experts of a token under the policy
    std::vector<int> first_slot;          ///< [M + 1] sums of k
    bool flag_is_clear = true;            ///< nothing can have set the flag since it was last seen or written as 0

    /// What the block holds of one MoE layer, on the back end's side or on the host's.
    template <class Float, class Int>
    struct Parts {
        std::span<Float> logits, weights;
        std::span<Int> ids, n_used;
    };
    bool allocate(Ops& ops, size_t moe_layers, size_t n_rows, size_t experts);
    /// Slots of a token at the m-th MoE layer there, and all of the layers before it, in a batch of n rows. A single row has room for every expert: where
    /// it lies does not depend on the policy, so that a step stays the same (Ops::step).
    int slots(int m, int n) const { return n == 1 ? static_cast<int>(n_experts) : k[static_cast<size_t>(m)]; }
    size_t first_slot_of(int m, int n) const {
        const auto layers = static_cast<size_t>(m);
        return n == 1 ? layers * n_experts : static_cast<size_t>(first_slot[layers]) * static_cast<size_t>(n);
    }
    /// What the block holds at most, in floats, of batches of n rows: every expert chosen in every layer.
    static uint64_t most_floats(uint64_t moe_layers, uint64_t n_rows, uint64_t experts);
    /// What a batch of n rows takes of the block, in floats.
    size_t size(int n) const;
    /// Of the m-th MoE layer there in a batch of n rows, in the back end's memory.
    Rows logits_of(int m, int n) const;
    RouteCall call(int m, int n) const;
    /// The same in what block->end() gave.
    Parts<const float, const int32_t> on_host(std::span<const float> values, int m, int n) const;
};

}  // namespace gs
