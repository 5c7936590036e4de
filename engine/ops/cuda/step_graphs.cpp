#include "engine/ops/cuda/step_graphs.h"

namespace gs::cuda {

StepGraph& StepGraphs::operator[](const StepKey& key) {
    // A graph holds some kilobytes a launch. A decoder has two or three for each doubling of its context.
    constexpr size_t kMost = 64;
    if (m_graphs.size() >= kMost && !m_graphs.contains(key)) clear();
    return m_graphs[key];
}

void StepGraphs::clear() {
    // One that still runs goes when it is through.
    for (const auto& [key, graph] : m_graphs)
        if (graph.exec) (void)cudaGraphExecDestroy(graph.exec);
    m_graphs.clear();
    ++m_n_cleared;
}

void StepGraphs::refuse(const StepKey& key, const std::string& why) {
    (*this)[key].refused = true;
    if (m_remark.empty()) m_remark = why;
}

}  // namespace gs::cuda
