// Host bodies of the runtime calls about streams and events.
#include "tests/cuda_emulation/runtime_state.h"

namespace cuda_emulation {

Stream& stream_of(Stream* stream) { return stream ? *stream : runtime().default_stream; }

namespace {

bool any_capture() {
    Runtime& r = runtime();
    for (Stream* s : r.streams)
        if (s->capturing) return true;
    return r.default_stream.capturing;
}

}  // namespace

bool breaks_capture() {
    if (!any_capture()) return false;
    Runtime& r = runtime();
    for (Stream* s : r.streams)
        if (s->capturing) s->invalidated = true;
    return true;
}

void drain() {
    Runtime& r = runtime();
    while (!r.order.empty()) {
        Work work = std::move(r.order.front().second);
        r.order.pop_front();
        work();
    }
}

cudaError_t enqueue(Stream* stream, Work work) {
    Stream& s = stream_of(stream);
    Runtime& r = runtime();
    if (s.capturing) {
        s.captured.push_back(std::move(work));
    } else if (r.deferred) {
        r.order.emplace_back(stream, std::move(work));
    } else {
        work();
    }
    return cudaSuccess;
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    GS_ALIVE();
    *stream = new Stream;
    runtime().streams.insert(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    drain();
    if (!stream || runtime().streams.erase(stream) == 0) return report(cudaErrorInvalidResourceHandle);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    GS_ALIVE();
    if (stream_of(stream).capturing && breaks_capture()) return report(cudaErrorStreamCaptureUnsupported);
    return runtime().order.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    GS_ALIVE();
    return cudaSuccess;   // work runs in the order of issue across streams
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    GS_ALIVE();
    *event = new Event;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    drain();
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    GS_ALIVE();
    event->captured = stream_of(stream).capturing;
    event->recorded = !event->captured;
    event->reached = false;
    if (event->captured) return cudaSuccess;
    return enqueue(stream, [event] {
        event->time = std::chrono::steady_clock::now();
        event->reached = true;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    GS_ALIVE();
    if (event->captured) return report(cudaErrorCapturedEvent);
    ++runtime().waits;
    if (event->recorded && !event->reached) drain();
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    GS_ALIVE();
    if (event->captured) return report(cudaErrorCapturedEvent);
    return event->recorded && !event->reached ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    GS_ALIVE();
    if (!begin->recorded || !end->recorded) return report(cudaErrorInvalidResourceHandle);
    if (!begin->reached || !end->reached) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return cudaSuccess;
}
