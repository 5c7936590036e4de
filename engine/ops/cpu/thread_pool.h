// Fork-join over chunks. Every thread has a run of neighbouring chunks of its own (memory is read in streams, and the counter it claims from
// stays in its cache); who is done takes from the others, so that a thread that the system has taken off its core holds up at most the chunk
// it is in. The join waits for chunks, not for threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace gs {

class ThreadPool {
public:
    /// n_threads >= 1, the caller's thread included. Fewer when the system gives no more.
    explicit ThreadPool(int n_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int n_threads() const { return m_n_threads; }

    /// Calls task(chunk, thread) for every chunk in 0..n_chunks-1, each once, and returns when all have returned. thread < n_threads().
    template <class F>
    void run(int n_chunks, const F& task) {
        if (n_chunks <= 1 || m_n_threads == 1) {
            for (int c = 0; c < n_chunks; ++c) task(c, 0);
            return;
        }
        for (int first = 0; first < n_chunks; first += kMaxChunks) {
            const Shifted<F> shifted{&task, first};
            fork_join(n_chunks - first < kMaxChunks ? n_chunks - first : kMaxChunks,
                      [](const void* s, int chunk, int thread) {
                          const auto* call = static_cast<const Shifted<F>*>(s);
                          (*call->task)(call->first + chunk, thread);
                      },
                      &shifted);
        }
    }

private:
    using Task = void (*)(const void*, int chunk, int thread);
    template <class F>
    struct Shifted {
        const F* task;
        int first;
    };
    static constexpr int kMaxChunks = (1 << 18) - 1;  // what the ticket has bits for

    void fork_join(int n_chunks, Task task, const void* context);
    void work(int thread);
    int run_all(int thread, uint64_t epoch);
    bool claim(int lane, uint64_t epoch, int& chunk);
    bool wait_for_new(int thread, uint64_t epoch);

    // A lane's ticket is (epoch, end, next chunk). Task and context are written only while no chunk of the last epoch is left, and count for a
    // thread only if its claim (compare-and-swap on a ticket) succeeds: then the epoch it read them in is still on.
    struct alignas(64) Lane {
        std::atomic<uint64_t> ticket{0};
    };
    std::unique_ptr<Lane[]> m_lanes;
    int m_n_threads = 1;
    std::atomic<Task> m_task{nullptr};
    std::atomic<const void*> m_context{nullptr};
    alignas(64) std::atomic<int> m_n_done{0};        // chunks that other threads have run and reported
    alignas(64) std::atomic<int> m_n_sleeping{0};
    std::atomic<bool> m_stop{false};
    std::mutex m_mutex;
    std::condition_variable m_wake;
    std::vector<std::thread> m_workers;
};

}  // namespace gs
