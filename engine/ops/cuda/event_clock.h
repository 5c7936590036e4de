// Seconds by operation, between events on the stream: what the device took, not what it cost the host to ask. Begins with the first reset(), because
// events cost a little.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <memory>
#include <vector>

#include "engine/ops/ops.h"

namespace gs::cuda {

enum class Op { kEmbed, kNorm, kLinear, kRope, kStoreKv, kAttention, kAdd, kRoute, kFfn, kMoe, kAllExperts, kScore, kCount };

using OpTimes = std::array<Ops::OpTime, static_cast<size_t>(Op::kCount)>;
/// later - earlier
OpTimes difference(const OpTimes& later, const OpTimes& earlier);

class EventClock {
public:
    explicit EventClock(cudaStream_t stream) : m_stream(stream) { clear(); }
    ~EventClock();
    EventClock(const EventClock&) = delete;
    EventClock& operator=(const EventClock&) = delete;

    static const char* name_of(Op op);
    void begin(Op op);
    void end(Op op, size_t weight_bytes, size_t products);
    /// A captured step as a whole. Its seconds go to its operations in proportion to `shares`, what one such step took kernel by kernel; its calls,
    /// bytes and products are those of `shares`. Null, which it may be before the first reset(): nothing is counted.
    void begin_step();
    void end_step(std::shared_ptr<const OpTimes> shares);
    /// While a stream is captured nothing runs that could be timed: begin() and end() do nothing.
    void pause(bool paused) { m_paused = paused; }
    bool is_running() const { return m_running; }

    /// Waits for the device.
    const OpTimes& settled();
    std::vector<Ops::OpTime> times();
    void reset();

private:
    struct Pending {
        cudaEvent_t begin, end;
        Op op;
        std::shared_ptr<const OpTimes> shares;     // of a step; null: all is of one operation
    };
    void start(Op op);
    void stop();
    void add(const Pending& pending, double seconds);
    void clear();
    cudaEvent_t take_event();
    void settle();

    cudaStream_t m_stream;
    bool m_running = false, m_paused = false;
    OpTimes m_times;
    std::vector<Pending> m_pending;
    std::vector<cudaEvent_t> m_spare;
};

}  // namespace gs::cuda
