// Internal to engine/decode: memory of a back end's, owned.
#pragma once

#include <cstdint>
#include <memory>
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

/// Routing of a batch in the back end's memory: of every MoE layer there one behind the other, so that one read brings it all to the host.
struct BatchRouting {
    OpsBuffer logits;                     ///< [M, T, E]
    OpsBuffer ids, weights;               ///< [M, T, k of the layer], 32 bits each
    OpsBuffer n_used;                     ///< [M, T], 32 bits each
    OpsBuffer nonfinite;                  ///< [1]: 32 bits, 1 when a router logit was NaN or infinite
    std::unique_ptr<Routers> routers;
    std::vector<int> k;                   ///< [M] slots of a token
    std::vector<int> first_slot;          ///< [M + 1] sums of k
    std::vector<float> host_logits, host_weights;     ///< what the sink is shown, kept between batches for their memory
    std::vector<int32_t> host_ids, host_n_used;

    static int32_t* integers(const OpsBuffer& buffer) { return reinterpret_cast<int32_t*>(buffer.data()); }
    bool allocate(Ops& ops, size_t n_layers, size_t n_rows, size_t n_experts);
    /// Of the m-th MoE layer there in a batch of n rows.
    Rows logits_of(int m, int n, int n_experts) const;
    RouteCall call(int m, int n, int n_experts) const;
};

}  // namespace gs
