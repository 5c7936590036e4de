// Seconds and weight bytes by operation.
#pragma once

#include <array>
#include <chrono>
#include <vector>

#include "engine/ops/ops.h"

namespace gs::cpu {

enum class Op { kEmbed, kNorm, kLinear, kRope, kStoreKv, kAttention, kAdd, kRoute, kFfn, kMoe, kAllExperts, kCount };

class OpClock {
public:
    /// Measures until it is destroyed.
    class Span {
    public:
        Span(OpClock& clock, Op op) : m_time(clock.m_times[static_cast<size_t>(op)]), m_start(std::chrono::steady_clock::now()) {}
        ~Span() {
            m_time.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - m_start).count();
            ++m_time.calls;
        }
        Span(const Span&) = delete;
        Span& operator=(const Span&) = delete;
        void add_bytes(size_t n) { m_time.weight_bytes += n; }
        void add_products(size_t n) { m_time.products += n; }

    private:
        Ops::OpTime& m_time;
        std::chrono::steady_clock::time_point m_start;
    };

    OpClock() { reset(); }
    void reset() {
        static constexpr const char* kNames[] = {"embed", "norm", "linear", "rope", "store kv", "attention", "add", "route", "ffn", "moe", "all experts"};
        for (size_t i = 0; i < m_times.size(); ++i) m_times[i] = {kNames[i]};
    }
    std::vector<Ops::OpTime> times() const { return {m_times.begin(), m_times.end()}; }

private:
    std::array<Ops::OpTime, static_cast<size_t>(Op::kCount)> m_times;
};

}  // namespace gs::cpu
