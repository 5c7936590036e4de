// Host bodies of the runtime calls about captures and graphs.
#include "tests/cuda_emulation/runtime_state.h"

using namespace cuda_emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    GS_ALIVE();
    if (!stream || stream->capturing) return report(cudaErrorStreamCaptureUnsupported);   // not on the default stream
    stream->capturing = true;
    stream->invalidated = false;
    stream->captured.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    *graph = nullptr;
    if (!stream || !stream->capturing) return report(cudaErrorInvalidValue);
    stream->capturing = false;
    GS_ALIVE();
    if (stream->invalidated) return report(cudaErrorStreamCaptureInvalidated);
    *graph = new Graph{std::move(stream->captured)};
    stream->captured.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    const Stream& s = stream_of(stream);
    *status = !s.capturing ? cudaStreamCaptureStatusNone : s.invalidated ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    GS_ALIVE();
    *exec = new GraphExec{graph->nodes};
    ++runtime().graphs_made;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    GS_ALIVE();
    ++runtime().graph_launches;
    return enqueue(stream, [exec] {
        for (const Work& node : exec->nodes) node();
    });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    drain();
    delete exec;
    return cudaSuccess;
}
