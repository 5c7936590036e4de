// Seconds by operation, between events on the stream: what the device took, not what it cost the host to ask. Begins with the first reset(), because
// events cost a little.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <vector>

#include "engine/ops/ops.h"

namespace gs::cuda {

enum class Op { kEmbed, kNorm, kLinear, kRope, kStoreKv, kAttention, kAdd, kRoute, kFfn, kMoe, kAllExperts, kCount };

class EventClock {
public:
    explicit EventClock(cudaStream_t stream) : m_stream(stream) { clear(); }
    ~EventClock();
    EventClock(const EventClock&) = delete;
    EventClock& operator=(const EventClock&) = delete;

    static const char* name_of(Op op);
    void begin(Op op);
    void end(Op op, size_t weight_bytes, size_t products);
    /// Waits for the device.
    std::vector<Ops::OpTime> times();
    void reset();

private:
    struct Pending {
        Op op;
        cudaEvent_t begin, end;
    };
    void clear();
    cudaEvent_t take_event();
    void settle();

    cudaStream_t m_stream;
    bool m_running = false;
    std::array<Ops::OpTime, static_cast<size_t>(Op::kCount)> m_times;
    std::vector<Pending> m_pending;
    std::vector<cudaEvent_t> m_spare;
};

}  // namespace gs::cuda
