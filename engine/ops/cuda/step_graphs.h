// Steps as graphs (Ops::step): which are captured, and how far the others are.
#pragma once

#include <cuda_runtime.h>

#include <compare>
#include <map>
#include <memory>
#include <string>

#include "engine/ops/cuda/event_clock.h"
#include "engine/ops/ops.h"

namespace gs::cuda {

/// What launches depend on beside the memory that they name.
struct StepKey {
    StepShape shape;
    int n_rows = 0, context_bucket = 0;
    std::strong_ordering operator<=>(const StepKey&) const = default;
};

struct StepGraph {
    bool ran = false;                              ///< once to its end: weights are on the device, and what grows has grown
    bool refused = false;                          ///< it cannot be captured
    cudaGraphExec_t exec = nullptr;                ///< null: not captured
    std::shared_ptr<const OpTimes> times;          ///< of one pass, launched kernel by kernel; null: never timed
};

class StepGraphs {
public:
    ~StepGraphs() { clear(); }
    StepGraphs() = default;
    StepGraphs(const StepGraphs&) = delete;
    StepGraphs& operator=(const StepGraphs&) = delete;

    StepGraph& operator[](const StepKey& key);
    /// Forgets all: memory that graphs name is about to go or to move.
    void clear();
    uint64_t n_cleared() const { return m_n_cleared; }

    void refuse(const StepKey& key, const std::string& why);
    /// Why a step is not captured, of the first that was not; empty if none.
    const std::string& remark() const { return m_remark; }

private:
    std::map<StepKey, StepGraph> m_graphs;
    uint64_t m_n_cleared = 0;
    std::string m_remark;
};

}  // namespace gs::cuda
