// The download of the bundled model's dense parent on a worker: one for the whole window, whichever panel asked for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "app/views/view.h"
#include "engine/core/cancel.h"

namespace app {

class DenseFetch {
public:
    /// What brings the file: progress in bytes, polled cancel.
    using Fetcher = std::function<gs::Result<std::filesystem::path>(const std::function<void(uint64_t)>&, const gs::CancelFlag*)>;
    explicit DenseFetch(Fetcher fetcher);
    ~DenseFetch();                             ///< cancels and joins

    void start();
    void cancel() { m_cancel.set(); }
    bool running() const { return m_running; }
    uint64_t bytes() const { return m_bytes; }
    /// Why the last one failed; empty where it did not, or was cancelled.
    std::string problem() const;

private:
    Fetcher m_fetcher;
    gs::CancelFlag m_cancel;
    std::atomic<bool> m_running = false;
    std::atomic<uint64_t> m_bytes = 0;
    mutable std::mutex m_mutex;
    std::string m_problem;
    std::thread m_thread;
};

DenseFetch& dense_fetch();

/// The button that downloads it, with what it is, its size and licence; progress and a way to stop; what went wrong. True once the file is there.
bool draw_dense_fetch(ViewContext& context);

}  // namespace app
