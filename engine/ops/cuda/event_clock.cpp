#include "engine/ops/cuda/event_clock.h"

namespace gs::cuda {

OpTimes difference(const OpTimes& later, const OpTimes& earlier) {
    OpTimes d = later;
    for (size_t i = 0; i < d.size(); ++i) {
        d[i].seconds -= earlier[i].seconds;
        d[i].calls -= earlier[i].calls;
        d[i].weight_bytes -= earlier[i].weight_bytes;
        d[i].products -= earlier[i].products;
    }
    return d;
}

EventClock::~EventClock() {
    for (const Pending& p : m_pending) m_spare.insert(m_spare.end(), {p.begin, p.end});
    for (const cudaEvent_t event : m_spare)
        if (event) (void)cudaEventDestroy(event);
}

const char* EventClock::name_of(Op op) {
    static constexpr const char* kNames[] = {"embed", "norm", "linear", "rope", "store kv", "attention", "add", "route", "ffn", "moe", "all experts", "score"};
    return kNames[static_cast<size_t>(op)];
}

void EventClock::clear() {
    for (size_t i = 0; i < m_times.size(); ++i) m_times[i] = {name_of(static_cast<Op>(i))};
}

cudaEvent_t EventClock::take_event() {
    cudaEvent_t event = nullptr;
    if (m_spare.empty()) {
        if (cudaEventCreate(&event) != cudaSuccess) return nullptr;
        return event;
    }
    event = m_spare.back();
    m_spare.pop_back();
    return event;
}

void EventClock::start(Op op) {
    constexpr size_t kMostPending = 4096;
    if (m_pending.size() >= kMostPending) settle();
    const Pending p{take_event(), take_event(), op, nullptr};
    if (p.begin) (void)cudaEventRecord(p.begin, m_stream);
    m_pending.push_back(p);
}

void EventClock::stop() {
    if (m_pending.back().end) (void)cudaEventRecord(m_pending.back().end, m_stream);
}

void EventClock::begin(Op op) {
    if (m_running && !m_paused) start(op);
}

void EventClock::end(Op op, size_t weight_bytes, size_t products) {
    if (m_paused) return;
    Ops::OpTime& time = m_times[static_cast<size_t>(op)];
    ++time.calls;
    time.weight_bytes += weight_bytes;
    time.products += products;
    if (m_running) stop();
}

void EventClock::begin_step() {
    if (m_running) start(Op::kCount);
}

void EventClock::end_step(std::shared_ptr<const OpTimes> shares) {
    if (!shares) return;
    for (size_t i = 0; i < m_times.size(); ++i) {
        m_times[i].calls += (*shares)[i].calls;
        m_times[i].weight_bytes += (*shares)[i].weight_bytes;
        m_times[i].products += (*shares)[i].products;
    }
    if (!m_running) return;
    stop();
    m_pending.back().shares = std::move(shares);
}

void EventClock::add(const Pending& p, double seconds) {
    if (!p.shares) {
        m_times[static_cast<size_t>(p.op)].seconds += seconds;
        return;
    }
    double all = 0;
    for (const Ops::OpTime& share : *p.shares) all += share.seconds;
    for (size_t i = 0; i < m_times.size() && all > 0; ++i) m_times[i].seconds += seconds * (*p.shares)[i].seconds / all;
}

void EventClock::settle() {
    (void)cudaStreamSynchronize(m_stream);
    for (const Pending& p : m_pending) {
        float milliseconds = 0;
        if (p.begin && p.end && cudaEventElapsedTime(&milliseconds, p.begin, p.end) == cudaSuccess) add(p, static_cast<double>(milliseconds) * 1e-3);
        for (const cudaEvent_t event : {p.begin, p.end})
            if (event) m_spare.push_back(event);
    }
    m_pending.clear();
}

const OpTimes& EventClock::settled() {
    settle();
    return m_times;
}

std::vector<Ops::OpTime> EventClock::times() {
    settle();
    return {m_times.begin(), m_times.end()};
}

void EventClock::reset() {
    settle();
    clear();
    m_running = true;
}

}  // namespace gs::cuda
