// What frames cost the UI thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace app {

class FrameStats {
public:
    struct Summary {
        uint64_t n_frames = 0;                   ///< drawn since the start
        double min_ms = 0, median_ms = 0, max_ms = 0;  ///< UI thread per frame over the newest kKept: panels and recording, without waiting
    };
    void add(double ui_ms);
    /// Forgets the times, not the count of frames.
    void restart();
    Summary summary() const;

    static constexpr size_t kKept = 512;

private:
    uint64_t m_n_frames = 0;
    size_t m_next = 0;
    std::vector<double> m_ms;
};

}  // namespace app
