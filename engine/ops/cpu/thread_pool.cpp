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

// Ticket: 28 bits of epoch, 18 of the number of chunks, 18 of the next chunk.
constexpr uint64_t kCountMask = (1u << 18) - 1;
uint64_t epoch_of(uint64_t ticket) { return ticket >> 36; }
uint64_t count_of(uint64_t ticket) { return ticket >> 18 & kCountMask; }
uint64_t chunk_of(uint64_t ticket) { return ticket & kCountMask; }

}  // namespace

ThreadPool::ThreadPool(int n_threads) {
    m_workers.reserve(static_cast<size_t>(n_threads > 1 ? n_threads - 1 : 0));
    for (int i = 1; i < n_threads; ++i) {
        try {
            m_workers.emplace_back([this, i] { work(i); });
        } catch (const std::system_error&) {  // no more threads to be had: go on with those there are
            break;
        }
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
    const uint64_t epoch = epoch_of(m_ticket.load(std::memory_order_relaxed)) + 1;
    m_ticket.store(epoch << 36 | static_cast<uint64_t>(n_chunks) << 18);  // sequentially consistent, against the sleeper's count-then-look
    if (m_n_sleeping.load() > 0) {
        { const std::lock_guard lock(m_mutex); }
        m_wake.notify_all();
    }
    while (claim_and_run(0, m_ticket.load(std::memory_order_acquire))) {
    }
    for (int spins = 0; m_n_done.load(std::memory_order_acquire) != n_chunks; ++spins) {
        if (spins < kSpinsBeforeYield) relax();
        else std::this_thread::yield();  // the thread that has our last chunk may need this core
    }
}

/// Runs one chunk; false when the epoch of `ticket` has none left.
bool ThreadPool::claim_and_run(int thread, uint64_t ticket) {
    const Task task = m_task.load(std::memory_order_relaxed);
    const void* context = m_context.load(std::memory_order_relaxed);
    const uint64_t epoch = epoch_of(ticket);
    do {
        if (epoch_of(ticket) != epoch) return true;  // a new epoch: look again
        if (chunk_of(ticket) >= count_of(ticket)) return false;
    } while (!m_ticket.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire));
    task(context, static_cast<int>(chunk_of(ticket)), thread);
    m_n_done.fetch_add(1, std::memory_order_release);
    return true;
}

void ThreadPool::work(int thread) {
    for (;;) {
        const uint64_t ticket = m_ticket.load(std::memory_order_acquire);
        if (claim_and_run(thread, ticket)) continue;
        if (!wait_for_new(epoch_of(ticket))) return;
    }
}

/// Spins, then sleeps until the epoch changes; false when the pool is being destroyed.
bool ThreadPool::wait_for_new(uint64_t epoch) {
    for (int spins = 0; spins < kSpinsBeforeSleep; ++spins) {
        if (epoch_of(m_ticket.load(std::memory_order_acquire)) != epoch) return true;
        if (m_stop.load(std::memory_order_relaxed)) return false;
        relax();
    }
    std::unique_lock lock(m_mutex);
    m_n_sleeping.fetch_add(1);
    m_wake.wait(lock, [&] { return m_stop.load() || epoch_of(m_ticket.load()) != epoch; });
    m_n_sleeping.fetch_sub(1);
    return !m_stop.load();
}

}  // namespace gs
