#include "engine/ops/cpu/thread_pool.h"

#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gs {
namespace {

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

// About 20 to 60 us: longer than the gaps between the regions of one token, short enough to leave the core to others when idle.
constexpr int kSpinsBeforeSleep = 2000;
constexpr int kSpinsBeforeYield = 500;

// Ticket: 28 bits of epoch, 18 of the end, 18 of the next chunk.
constexpr uint64_t kCountMask = (1u << 18) - 1;
uint64_t epoch_of(uint64_t ticket) { return ticket >> 36; }
uint64_t end_of(uint64_t ticket) { return ticket >> 18 & kCountMask; }
uint64_t next_of(uint64_t ticket) { return ticket & kCountMask; }

}  // namespace

ThreadPool::ThreadPool(int n_threads) : m_lanes(new Lane[static_cast<size_t>(n_threads > 1 ? n_threads : 1)]) {
    m_workers.reserve(static_cast<size_t>(n_threads > 1 ? n_threads - 1 : 0));
    for (int i = 1; i < n_threads; ++i) {
        try {
            m_workers.emplace_back([this, i] { work(i); });
        } catch (const std::system_error&) {  // no more threads to be had: go on with those there are
            break;
        }
        m_n_threads = i + 1;
    }
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(m_mutex);
        m_stop.store(true);
    }
    m_wake.notify_all();
    for (std::thread& worker : m_workers) worker.join();
}

void ThreadPool::fork_join(int n_chunks, Task task, const void* context) {
    m_task.store(task, std::memory_order_relaxed);
    m_context.store(context, std::memory_order_relaxed);
    m_n_done.store(0, std::memory_order_relaxed);
    const uint64_t epoch = (epoch_of(m_lanes[0].ticket.load(std::memory_order_relaxed)) + 1) & 0xfffffffu;
    for (int lane = m_n_threads - 1; lane >= 0; --lane) {
        const auto n = static_cast<uint64_t>(n_chunks), begin = n * static_cast<uint64_t>(lane) / static_cast<uint64_t>(m_n_threads);
        const uint64_t end = n * static_cast<uint64_t>(lane + 1) / static_cast<uint64_t>(m_n_threads);
        m_lanes[static_cast<size_t>(lane)].ticket.store(epoch << 36 | end << 18 | begin, std::memory_order_release);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);  // tickets before the look at sleepers, against their count-then-look
    if (m_n_sleeping.load(std::memory_order_relaxed) > 0) {
        { const std::lock_guard lock(m_mutex); }
        m_wake.notify_all();
    }
    const int n_others = n_chunks - run_all(0, epoch);
    for (int spins = 0; m_n_done.load(std::memory_order_acquire) != n_others; ++spins) {
        if (spins < kSpinsBeforeYield) relax();
        else std::this_thread::yield();  // the thread that has our last chunk may need this core
    }
}

bool ThreadPool::claim(int lane, uint64_t epoch, int& chunk) {
    std::atomic<uint64_t>& ticket = m_lanes[static_cast<size_t>(lane)].ticket;
    uint64_t seen = ticket.load(std::memory_order_acquire);
    do {
        if (epoch_of(seen) != epoch || next_of(seen) >= end_of(seen)) return false;
    } while (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire));
    chunk = static_cast<int>(next_of(seen));
    return true;
}

/// Runs chunks of an epoch until none is left to claim, the thread's own first; how many.
int ThreadPool::run_all(int thread, uint64_t epoch) {
    const Task task = m_task.load(std::memory_order_relaxed);
    const void* context = m_context.load(std::memory_order_relaxed);
    int n_run = 0, chunk = 0;
    for (int i = 0, lane = thread; i < m_n_threads; ++i, lane = lane + 1 < m_n_threads ? lane + 1 : 0)
        for (; claim(lane, epoch, chunk); ++n_run) task(context, chunk, thread);
    return n_run;
}

void ThreadPool::work(int thread) {
    for (uint64_t epoch = 0; wait_for_new(thread, epoch);) {
        epoch = epoch_of(m_lanes[static_cast<size_t>(thread)].ticket.load(std::memory_order_acquire));
        if (const int n_run = run_all(thread, epoch); n_run > 0) m_n_done.fetch_add(n_run, std::memory_order_release);
    }
}

/// Spins, then sleeps until the epoch changes; false when the pool is being destroyed.
bool ThreadPool::wait_for_new(int thread, uint64_t epoch) {
    const std::atomic<uint64_t>& ticket = m_lanes[static_cast<size_t>(thread)].ticket;
    for (int spins = 0; spins < kSpinsBeforeSleep; ++spins) {
        if (epoch_of(ticket.load(std::memory_order_acquire)) != epoch) return true;
        if (m_stop.load(std::memory_order_relaxed)) return false;
        relax();
    }
    std::unique_lock lock(m_mutex);
    m_n_sleeping.fetch_add(1);
    m_wake.wait(lock, [&] { return m_stop.load() || epoch_of(ticket.load()) != epoch; });
    m_n_sleeping.fetch_sub(1);
    return !m_stop.load();
}

}  // namespace gs
