// What the host bodies of the runtime calls share. Private to runtime*.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"

namespace cuda_emulation {

Counters fiber_counters();

using Work = std::function<void()>;
struct Stream {
    std::deque<Work> waiting;
    bool capturing = false, invalidated = false;
    std::vector<Work> captured;
};
struct Event {
    std::chrono::steady_clock::time_point time;
    bool recorded = false, reached = false;
    bool captured = false;                 // last recorded while its stream was captured: it is an edge of a graph, and nobody can wait for it
};
struct Graph {
    std::vector<Work> nodes;
};
struct GraphExec {
    std::vector<Work> nodes;
};

struct Runtime {
    std::mutex mutex;
    Device device;
    cudaError_t last_error = cudaSuccess;
    uint64_t calls_left = 0;               // 0: for ever
    bool lost = false, deferred = false;
    std::map<const char*, size_t> device_memory, host_memory;
    size_t in_use = 0;
    uint64_t graphs_made = 0, graph_launches = 0, copies = 0, waits = 0;
    std::map<const void*, int> most_shared;
    std::set<Stream*> streams;
    Stream default_stream;
    std::deque<std::pair<Stream*, Work>> order;   // across streams, as issued
};
Runtime& runtime();

/// The error of a call, kept for cudaGetLastError.
cudaError_t report(cudaError_t error);
/// Every call begins here: a lost device answers nothing any more.
bool alive();
#define GS_ALIVE() \
    if (!alive()) return report(cudaErrorLaunchFailure)

Stream& stream_of(Stream* stream);
/// What may not happen while a stream is captured; the capture is lost then.
bool breaks_capture();
/// Does what waits, in the order of issue: streams here never overtake each other, which events would have to allow for.
void drain();
/// At once, later, or into a graph.
cudaError_t enqueue(Stream* stream, Work work);
/// Of external_memory.cpp. False where it is no buffer in memory of another interface.
bool free_external_buffer(const void* buffer);

}  // namespace cuda_emulation
