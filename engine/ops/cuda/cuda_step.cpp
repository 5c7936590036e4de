// A step: kernel by kernel the first time, which brings weights to the device and lets workspaces grow; captured the second time; from then on one
// launch.
//
// What is captured stays right while memory stays where it is, because kernels read from memory what changes: position and ids from the step block,
// policy and routing from the routers' memory and what they write. Grids for few tokens depend on the shape and on the bucket of the context's length.
//
// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include <algorithm>

#include "engine/core/check.h"
#include "engine/ops/cuda/attention.cuh"
#include "engine/ops/cuda/cuda_ops.h"

namespace gs::cuda {

/// While it lives operations take positions and ids from the step block.
class CudaOps::StepScope {
public:
    StepScope(CudaOps& ops, std::span<const int32_t> ids, int first_position, const StepBlock* block) : m_ops(ops) {
        GS_CHECK(!ops.m_step.block, "a step within a step");
        ops.m_step = {ids, first_position, block};
        ops.forget_angles();
    }
    ~StepScope() {
        m_ops.m_step = {};
        m_ops.forget_angles();   // a graph fills tables without our knowledge
    }
    StepScope(const StepScope&) = delete;
    StepScope& operator=(const StepScope&) = delete;

private:
    CudaOps& m_ops;
};

void CudaOps::step(const StepShape& shape, std::span<const int32_t> ids, int first_position, const std::function<bool()>& calls) {
    use_device();
    StepBlock block{first_position, {}};
    std::byte* place = ids.size() <= kMostStepRows ? m_step_block.at_least(sizeof block) : nullptr;
    if (!place || m_errors.failed()) return void(calls());
    std::copy(ids.begin(), ids.end(), block.ids);
    m_ring.send_to(place, &block, sizeof block);
    const StepScope scope(*this, ids, first_position, reinterpret_cast<const StepBlock*>(place));
    const auto n_rows = static_cast<int>(ids.size());
    const StepKey key{shape, n_rows, context_bucket(first_position + n_rows)};
    const auto is_ready = [&] { return m_graphs[key].exec != nullptr; };
    const auto may_be_captured = [&] { return m_graphs[key].ran && !m_graphs[key].refused; };
    // Times are shared out as they are when kernels are launched one by one, so that has to be measured once.
    if (m_clock.is_running() && !m_graphs[key].times) return run_kernel_by_kernel(key, calls);
    if (!is_ready() && may_be_captured() && !capture(key, calls)) return;
    if (is_ready()) replay(m_graphs[key]);
    else run_kernel_by_kernel(key, calls);
}

void CudaOps::run_kernel_by_kernel(const StepKey& key, const std::function<bool()>& calls) {
    const uint64_t n_passing = m_weights.n_passing();
    const OpTimes before = m_clock.is_running() ? m_clock.settled() : OpTimes{};
    if (!calls()) return;
    StepGraph& graph = m_graphs[key];
    graph.ran = true;
    if (m_clock.is_running()) graph.times = std::make_shared<const OpTimes>(difference(m_clock.settled(), before));
    if (m_weights.n_passing() != n_passing) m_graphs.refuse(key, "not all weights are on the device");
}

/// False: the calls broke off, and there is nothing to run.
bool CudaOps::capture(const StepKey& key, const std::function<bool()>& calls) {
    const ErrorLog before = m_errors;
    const uint64_t host_work = n_host_works();
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    bool is_whole = true;
    cudaError_t error = cudaStreamBeginCapture(m_stream, cudaStreamCaptureModeThreadLocal);
    if (error == cudaSuccess) {
        m_capturing = true;
        m_clock.pause(true);
        is_whole = calls();
        m_clock.pause(false);
        m_capturing = false;
        error = cudaStreamEndCapture(m_stream, &graph);
    }
    const bool host_worked = n_host_works() != host_work;
    std::string why = host_worked ? "the host has work in it" : m_errors.failed() ? m_errors.text() : "";
    if (error == cudaSuccess && is_whole && why.empty()) error = cudaGraphInstantiate(&exec, graph, 0);
    if (graph) (void)cudaGraphDestroy(graph);
    if (error != cudaSuccess && why.empty()) why = cudaGetErrorString(error);
    // What was captured has not run: errors of it are none, and a device that is lost says so again.
    m_errors = before;
    (void)cudaGetLastError();
    if (!is_whole) return false;
    if (exec) {
        m_graphs[key].exec = exec;
        return true;
    }
    m_angles.clear();   // frequencies may have been on their way
    m_graphs.refuse(key, why);
    return true;
}

void CudaOps::replay(const StepGraph& graph) {
    m_clock.begin_step();
    m_errors.ok(cudaGraphLaunch(graph.exec, m_stream), "a step");
    m_clock.end_step(graph.times);
}

uint64_t CudaOps::n_host_works() const { return m_n_host_works + m_ring.n_sent() + m_weights.n_passing() + m_graphs.n_cleared(); }

Position CudaOps::at(int first_position) const {
    if (!m_step.block) return {first_position, nullptr};
    GS_CHECK(first_position == m_step.first_position, "a step is at one position");
    return {0, &m_step.block->first_position};
}

}  // namespace gs::cuda
